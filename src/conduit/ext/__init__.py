"""Adapters: other libraries over the flows of this one, each by one line in their code.

Each module here is for one library and needs it: `pip install "conduit-net[NAME]"` brings the
library that `conduit.ext.NAME` is for. `protocols` needs none. Nothing else in the package imports
them, and none is imported before a program asks for it.
"""
