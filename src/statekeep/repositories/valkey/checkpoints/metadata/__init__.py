"""Indexes of threads by the metadata of their checkpoints.

They are where the index of threads is, so the request that notes a thread there notes its values, too. They may name
too many threads, never too few: a listing looks at the checkpoints themselves. What an index does not know, because it
was put before there was one, or by others that keep none, is found out by the times of the threads' last updates.
"""
