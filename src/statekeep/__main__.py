"""The command line: ``python -m statekeep``."""

from .cli import main

if __name__ == "__main__":
    main()
