"""Programs for those who work on Statekeep; no part of the package."""
