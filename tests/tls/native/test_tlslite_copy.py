"""The copy of tlslite-ng: what is changed in it, and that nobody else's is."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from textwrap import dedent

import ecdsa  # type: ignore[import-untyped]
import pytest

from conduit.tls.native import primitives, tlslite_copy
from tests.tls.attacker import NATIVE
from tests.tls.engines import VERSIONS
from tests.tls.identities import KINDS
from tests.tls.session import load


def test_the_version_is_the_one_that_the_changes_are_made_for():
    assert metadata.version("tlslite-ng") == tlslite_copy.VERSION == "0.8.2"


def test_the_extra_asks_for_that_version():
    wanted = metadata.requires("conduit-net") or []
    assert any(one.startswith(f"tlslite-ng=={tlslite_copy.VERSION}") for one in wanted)


def python(program: str) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.stderr == ""
    return result.stdout.strip()


def test_the_library_itself_is_neither_loaded_nor_changed():
    program = """
        import hashlib, sys
        def state(package):
            found = {}
            for name, module in sorted(sys.modules.items()):
                if name.split(".")[0] == package:
                    for key, value in vars(module).items():
                        found[name, key] = id(value)
                        if isinstance(value, type):
                            found |= {(name, key, k): id(v) for k, v in vars(value).items()}
            return found
        import conduit.tls.native
        print([name for name in sys.modules if name.split(".")[0] == "tlslite"])
        import tlslite
        before = state("tlslite")
        from conduit.tls.native import credentials
        credentials.handshake_settings()
        print(state("tlslite") == before, len(before) > 1000)
        print(tlslite.TLSConnection in conduit.tls.native.connection.Connection.__mro__)
    """
    assert python(program).splitlines() == ["[]", "True True", "False"]


def test_a_library_that_was_loaded_before_stays_as_it_was():
    program = """
        import tlslite
        from tlslite import recordlayer, tlsconnection
        before = recordlayer.createAESGCM, tlsconnection.ECDHKeyExchange, tlslite.X509
        import conduit.tls.native
        print((recordlayer.createAESGCM, tlsconnection.ECDHKeyExchange, tlslite.X509) == before)
    """
    assert python(program) == "True"


@pytest.fixture
def no_arithmetic(monkeypatch):
    """Fails whenever a secret, or anything else, is computed with in Python."""

    def computed(*_: object, **__: object) -> None:
        pytest.fail("this was computed in Python")

    for name in ("sign_digest", "sign", "generate", "from_secret_exponent"):
        monkeypatch.setattr(ecdsa.keys.SigningKey, name, computed)
    for name in ("verify_digest", "verify", "from_der", "from_string"):
        monkeypatch.setattr(ecdsa.keys.VerifyingKey, name, computed)
    monkeypatch.setattr(ecdsa.ellipticcurve.PointJacobi, "__mul__", computed)
    names = {
        "powMod", "invMod", "x25519", "x448", "isPrime", "getRandomPrime", "bytesToNumber",
        "numberToByteArray",
    }  # fmt: skip
    for name, module in list(sys.modules.items()):
        if name.startswith("conduit.tls.native.tlslite_copy._tlslite"):
            for one in names & set(vars(module)):
                monkeypatch.setattr(module, one, computed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_secret_is_computed_in_python(no_arithmetic, identities, kind, version):
    session = load(
        (NATIVE, NATIVE),
        version,
        identities.server(kind),
        identities.trust,
        client_key=identities.client(kind),
        client_auth="required",
    ).session()
    session.run()
    assert session.client.failure is session.server.failure is None
    session.client.say(b"hello")
    session.run()
    assert session.server.read() == b"hello"


def test_ciphers_of_the_library_are_not_there():
    loaded = [name for name in sys.modules if "tlslite_copy._tlslite.utils" in name]
    assert not any(name.endswith(("rijndael", "python_aes", "python_rsakey")) for name in loaded)
    for make in (tlslite_copy.recordlayer.createAES, tlslite_copy.tlsconnection.RSAKeyExchange):
        assert make is primitives.unavailable
        with pytest.raises(ValueError, match="not offered"):
            make(b"key", b"nonce")


@pytest.mark.parametrize(
    ("group", "share"),
    [
        (29, bytes(32)),  # a point of order one: the secret would be known to all
        (29, bytes(31)),
        (29, b"\x01" + bytes(31)),
        (23, b"\x04" + bytes(64)),  # not on the curve
        (23, b"\x02" + bytes(32)),  # compressed, which was not offered
        (23, b""),
        (24, b"\x04" + b"\xff" * 96),
        (25, b"\x00"),
    ],
)
def test_shares_that_are_none(group, share):
    exchange = tlslite_copy.tlsconnection.ECDHKeyExchange(group, (3, 4))
    private = exchange.get_random_private_key()
    with pytest.raises(tlslite_copy.errors.TLSIllegalParameterException):
        exchange.calc_shared_key(private, share)


@pytest.mark.parametrize("group", [0, 19, 30, 256, 4588])
def test_groups_that_are_not_offered(group):
    with pytest.raises(tlslite_copy.errors.TLSIllegalParameterException):
        tlslite_copy.tlsconnection.ECDHKeyExchange(group, (3, 4))


@pytest.mark.parametrize("group", [23, 24, 25, 29])
def test_both_sides_of_an_exchange_have_one_secret(group):
    ours, theirs = (primitives.KeyExchange(group, (3, 4)) for _ in range(2))
    near, far = ours.get_random_private_key(), theirs.get_random_private_key()
    secret = ours.calc_shared_key(near, theirs.calc_public_value(far))
    assert secret == theirs.calc_shared_key(far, ours.calc_public_value(near))


def test_keys_are_derived_as_rfc_8448_has_it():
    """Its section 3: the secret of the handshake, and the server's traffic in it."""
    early = bytes.fromhex("33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a")
    derived = primitives.derive_secret(early, b"derived", None, "sha256")
    assert derived.hex() == "6f2615a108c702c5678f54fc9dbab69716c076189c48250cebeac3576c3611ba"
    assert (
        primitives.secureHMAC(bytes(32), bytes(32), "sha256").hex()
        == "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a"
    )
