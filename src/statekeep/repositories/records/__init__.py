"""Records of services that keep texts instead of fields.

How they are framed and ordered.
"""
