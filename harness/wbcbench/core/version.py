"""The version, in one place; nothing else is imported here."""

__version__ = "0.1.0"
