"""Which TLS stack a plain `TLS` address means."""

from __future__ import annotations

import os
from enum import Enum
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from ..errors import TLSError, UnsupportedTransport

if TYPE_CHECKING:
    from .engine import (
        ClientCredentials,
        ClientSettings,
        ServerCredentials,
        ServerSettings,
        Stack,
    )

__all__ = ["TLSLibrary", "set_tls_library", "stack_of", "tls_library"]

_VARIABLE = "CONDUIT_TLS"

_OF_NATIVE = ("cryptography", "tlslite")  # as they are imported


class TLSLibrary(Enum):
    """A TLS stack, or none."""

    OPENSSL = "openssl"
    NATIVE = "native"
    NO_TLS = "none"


_WORDS = {
    "openssl": TLSLibrary.OPENSSL,
    "libressl": TLSLibrary.OPENSSL,
    "native": TLSLibrary.NATIVE,
    "none": TLSLibrary.NO_TLS,
    "notls": TLSLibrary.NO_TLS,
}

_chosen: TLSLibrary | None = None


def tls_library() -> TLSLibrary:
    """The stack that `TLS` addresses use now.

    The first value is what the environment variable CONDUIT_TLS says ("openssl", "libressl",
    "native", "none" or "notls", in any case); without it OpenSSL if this Python has it, else the
    native stack, else none.

    Raises TLSError for a CONDUIT_TLS that is none of these words.
    """
    global _chosen
    if _chosen is None:
        _chosen = _from_environment()
    return _chosen


def set_tls_library(library: TLSLibrary) -> None:
    """Choose the stack that `TLS` addresses use from now on; open connections keep theirs.

    library: which. That it is not installed is told when it is needed. Raises TypeError for
    anything else.
    """
    global _chosen
    if type(library) is not TLSLibrary:
        raise TypeError(f"the library must be a conduit.TLSLibrary, not {library!r}")
    _chosen = library


def stack_of(library: TLSLibrary) -> Stack:
    """The module of a stack. Raises UnsupportedTransport where it is missing, saying what to do."""
    if library is TLSLibrary.NO_TLS:
        raise UnsupportedTransport(
            "there is no TLS: CONDUIT_TLS or set_tls_library has turned it off, or this Python has "
            "no ssl module; set CONDUIT_TLS=openssl, with a Python that has OpenSSL, or "
            'CONDUIT_TLS=native, after pip install "conduit-net[native]"'
        )
    if library is TLSLibrary.NATIVE:
        return _native()
    if not _has_openssl():
        raise UnsupportedTransport(
            "this Python was built without OpenSSL (it has no ssl module): install one that has it"
        )
    return cast("Stack", import_module("conduit.tls.openssl"))


def _from_environment() -> TLSLibrary:
    word = os.environ.get(_VARIABLE, "").strip()
    if word:
        try:
            return _WORDS[word.lower()]
        except KeyError:
            raise TLSError(
                f"{_VARIABLE}={word!r} names no TLS library: it is one of {', '.join(_WORDS)}"
            ) from None
    if _has_openssl():
        return TLSLibrary.OPENSSL
    return TLSLibrary.NATIVE if _has_native() else TLSLibrary.NO_TLS


def _native() -> Stack:
    missing = [name for name in _OF_NATIVE if not _is_there(name)]
    if missing:
        raise UnsupportedTransport(
            f"the native TLS stack is not installed ({' and '.join(missing)} missing): "
            'pip install "conduit-net[native]"'
        )
    return _Native()


class _Native:
    """The native stack, which is imported when something is loaded: off the loop.

    It reads two hundred files, which takes a third of a second.
    """

    def load_client(self, settings: ClientSettings) -> ClientCredentials:
        """As of every stack. Raises UnsupportedTransport for packages of other versions."""
        return self._stack.load_client(settings)

    def load_server(self, settings: ServerSettings) -> ServerCredentials:
        """As `load_client`."""
        return self._stack.load_server(settings)

    @property
    def _stack(self) -> Stack:
        return cast("Stack", import_module("conduit.tls.native"))


def _has_native() -> bool:
    return all(map(_is_there, _OF_NATIVE))


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:
        return False


def _has_openssl() -> bool:
    try:
        import_module("ssl")
    except ImportError:
        return False
    return True
