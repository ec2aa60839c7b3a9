"""The version of chatstash."""

__version__ = "0.1.0"
