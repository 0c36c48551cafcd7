"""The TLS stacks that the tests of this directory are run on: a second one is an entry here."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, TypeAlias
from unittest.mock import patch

from conduit import TLSLibrary, client, server, set_tls_library, tls_library
from conduit.tls import openssl_contexts
from conduit.tls.engine import Stack as Loader
from conduit.tls.library import stack_of

Version: TypeAlias = Literal["TLSv1.2", "TLSv1.3"]
VERSIONS: tuple[Version, ...] = ("TLSv1.2", "TLSv1.3")


@dataclass(frozen=True)
class Stack:
    """A stack: the addresses by which it is asked for by name, and what `TLS` means then.

    only: while its block runs, what the stack loads speaks one version alone.
    """

    name: str
    client: type[client.OpenSSL] | type[client.TLSNative]
    server: type[server.OpenSSL] | type[server.TLSNative]
    library: TLSLibrary
    only: Callable[[Version], AbstractContextManager[None]]

    @property
    def loader(self) -> Loader:
        """What makes its engines."""
        return stack_of(self.library)

    @contextmanager
    def used(self) -> Iterator[None]:
        """While the block runs, `TLS` addresses mean this stack."""
        before = tls_library()
        set_tls_library(self.library)
        try:
            yield
        finally:
            set_tls_library(before)


@contextmanager
def _openssl_only(version: Version) -> Generator[None]:
    bare = openssl_contexts._bare

    def bare_of_one_version(*given: Any) -> ssl.SSLContext:
        context = bare(*given)
        one = ssl.TLSVersion.TLSv1_2 if version == "TLSv1.2" else ssl.TLSVersion.TLSv1_3
        context.minimum_version = context.maximum_version = one
        return context

    with patch.object(openssl_contexts, "_bare", bare_of_one_version):
        yield


STACKS = [
    Stack("openssl", client.OpenSSL, server.OpenSSL, TLSLibrary.OPENSSL, _openssl_only),
]

PAIRS = list(product(STACKS, STACKS))
"""Each stack as a client of each."""
