"""The version of this package.

It is in code: the package's metadata are files, which an event loop must not wait for.
"""

from typing import Final

VERSION: Final = "0.2.0"
