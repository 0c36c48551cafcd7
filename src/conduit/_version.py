"""The version of the library, said once: the build reads it from here."""

__version__ = "0.1.0"
