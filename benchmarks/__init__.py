"""Conduit measured against other ways to write the same program; see README.md."""
