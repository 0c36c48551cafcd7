"""A copy of tlslite-ng of our own, and what is replaced in it.

tlslite-ng is written in Python alone: its arithmetic takes a time that depends on secrets, it reads
certificates with no limit, and it does more than is wanted here. What has to be different is
replaced in a second copy of its modules, which is loaded from the same files under another name. So
the library stays as it is for everybody else who imports it in the same process.

Each replacement leans on how exactly the library is written. So the version is pinned, and another
one is refused.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import import_module, metadata
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from ...errors import UnsupportedTransport
from . import primitives
from .transcript import Transcript

__all__ = [
    "INSTALL",
    "VERSION",
    "defragmenter",
    "errors",
    "messages",
    "recordlayer",
    "settings",
    "tlsconnection",
    "x509certchain",
]

VERSION = "0.8.2"
"""The one version of tlslite-ng that the replacements are made for."""

INSTALL = 'pip install "conduit-net[native]"'

_NAME = f"{__name__}._tlslite"

# Modules of the library that ours stand in for, with the names that others import from them.
_STAND_INS: dict[str, dict[str, object]] = {
    # The ciphers, which are neither fast nor of constant time in Python. All but two are left out:
    # what is never offered fails, rather than being used by mistake.
    "utils.cipherfactory": {
        "createAESGCM": primitives.aes_gcm,
        "createCHACHA20": primitives.chacha20,
        "createAES": primitives.unavailable,
        "createAESCCM": primitives.unavailable,
        "createAESCCM_8": primitives.unavailable,
        "createRC4": primitives.unavailable,
        "createTripleDES": primitives.unavailable,
        "tripleDESPresent": False,
    },
    # Its reader of certificates knows few kinds, and computes with numbers of Python; it is no part
    # of the decision whom to trust. Ours keeps the bytes, and lets `cryptography` read the key.
    "x509": {"X509": primitives.PeerCertificate},
    # It hashes all that is said six times over, for suites that are not offered.
    "handshakehashes": {"HandshakeHashes": Transcript},
    # It refuses names that are in use, such as those with an underscore.
    "utils.dns_utils": {"is_valid_hostname": primitives.is_server_name},
    # An experiment of old, which whoever has its package installed must not turn on.
    "utils.tackwrapper": {"tackpyLoaded": False},
}


def _load() -> None:
    """Make a package of the library's files, without running its __init__, which names itself."""
    try:
        installed = metadata.version("tlslite-ng")
        spec = find_spec("tlslite")
    except (ImportError, ValueError):
        installed, spec = "", None
    if spec is None or not spec.submodule_search_locations:
        raise UnsupportedTransport(f"the native TLS stack is not installed: {INSTALL}")
    if installed != VERSION:
        raise UnsupportedTransport(
            f"the native TLS stack needs tlslite-ng {VERSION}, and {installed} is installed: "
            f"{INSTALL}"
        )
    package = ModuleType(_NAME)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[_NAME] = package
    for name, contents in _STAND_INS.items():
        module = ModuleType(f"{_NAME}.{name}")
        module.__dict__.update(contents)
        sys.modules[module.__name__] = module


def _module(name: str) -> Any:
    return import_module(f"{_NAME}.{name}")


_load()
constants = _module("constants")
defragmenter = _module("defragmenter")
errors = _module("errors")
messages = _module("messages")
recordlayer = _module("recordlayer")
settings = _module("handshakesettings")
tlsconnection = _module("tlsconnection")
x509certchain = _module("x509certchain")
_keyexchange = _module("keyexchange")
_handshakehelpers = _module("handshakehelpers")


class _ECDH(primitives.KeyExchange):
    """As of the key exchange that it stands in for: a bad share is told by its exception."""

    invalid: type[Exception] = errors.TLSIllegalParameterException


def _put(name: str, value: object, *modules: Any) -> None:
    """Replace a name in the modules that have imported it."""
    for module in modules:
        assert hasattr(module, name), f"tlslite-ng has no {name} in {module.__name__}"
        setattr(module, name, value)


# The key exchange, for the same reason as the ciphers; and the others, which are not offered: by
# RSA, in finite fields, with passwords, and with keys after quantum computers.
_put("ECDHKeyExchange", _ECDH, _keyexchange, tlsconnection)
for _name in ("FFDHKeyExchange", "KEMKeyExchange"):
    _put(_name, primitives.unavailable, _keyexchange, tlsconnection)
for _name in ("RSAKeyExchange", "DHE_RSAKeyExchange", "ADHKeyExchange", "SRPKeyExchange"):
    _put(_name, primitives.unavailable, tlsconnection)

# The same functions, at a fraction of the time.
_put("HKDF_expand_label", primitives.HKDF_expand_label, tlsconnection, recordlayer)
_put("HKDF_expand_label", primitives.HKDF_expand_label, _handshakehelpers)
_put("derive_secret", primitives.derive_secret, tlsconnection, _handshakehelpers)
_put("secureHMAC", primitives.secureHMAC, tlsconnection, _handshakehelpers)

# It goes through all names, and all suites, in each handshake, a dozen times.
_names = constants.TLSEnum.toRepr.__func__
_suites = constants.CipherSuite._filterSuites


@lru_cache(1024)
def _name_of(enum: Any, value: Any, blacklist: tuple[str, ...]) -> Any:
    return _names(enum, value, list(blacklist))


def _to_repr(enum: Any, value: Any, blacklist: Any = None) -> Any:
    """As the library's own."""
    return _name_of(enum, value, tuple(blacklist or ()))


def _filter_suites(suites: list[int], settings: Any, version: Any = None) -> list[int]:
    """As the library's own; `settings` do not change once they are made."""
    key = (id(suites), version)
    found: list[int] | None = settings.filtered.get(key)
    if found is None:
        # AES first, as OpenSSL: processors have it built in. The library begins with ChaCha20.
        found = sorted(_suites(suites, settings, version), key=_is_chacha20)
        settings.filtered[key] = found
    return found


def _is_chacha20(suite: int) -> bool:
    return suite in constants.CipherSuite.chacha20Suites


constants.TLSEnum.toRepr = classmethod(_to_repr)
constants.CipherSuite._filterSuites = staticmethod(_filter_suites)
