"""Adapters say which extra brings the library that they are for."""

from __future__ import annotations

import contextlib
from collections.abc import Generator


@contextlib.contextmanager
def needs(extra: str) -> Generator[None]:
    """Around the imports of an adapter: let an ImportError say how to get the library.

    extra: the name of the adapter, which is that of its extra.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"conduit.ext.{extra} needs a package that cannot be imported ({error}): "
            f"pip install 'conduit-net[{extra}]'",
            name=error.name,
            path=error.path,
        ) from error
