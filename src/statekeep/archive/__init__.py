"""Backups: all that is kept, in one file of JSON lines, and into any backend.

>>> import io, statekeep
>>> from statekeep import archive
>>> file = io.BytesIO()
>>> with statekeep.connect("memory:") as keep:
...     keep.checkpoints.put(statekeep.Checkpoint(thread_id="t"))
...     archive.export(keep, file).threads
1
"""

from .operations import aexport, arestore, export, restore, verify
from .report import ArchiveProgress

__all__ = ["ArchiveProgress", "aexport", "arestore", "export", "restore", "verify"]
