"""Reading certificates: as another library reads them, and never more than what is there."""

from __future__ import annotations

import hashlib
import ipaddress
import random
import ssl
import time
import warnings
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conduit.testing import Authority, self_signed
from conduit.tls.certificate import Certificate, DerError
from tests.tls.handshake import client, server, shake
from tests.tls.test_der import value

KEY = ed25519.Ed25519PrivateKey.generate()
CA = Authority()


def signed(builder: x509.CertificateBuilder) -> x509.Certificate:
    return builder.sign(KEY, None)


def builder(subject: x509.Name | None = None, public: object = None) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    return (
        x509.CertificateBuilder()
        .subject_name(name if subject is None else subject)
        .issuer_name(name)
        .public_key(public or KEY.public_key())  # type: ignore[arg-type]
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2030, 1, 1, tzinfo=UTC))
    )


def read(certificate: x509.Certificate) -> Certificate:
    return Certificate.read(certificate.public_bytes(Encoding.DER))


def with_names(*names: x509.GeneralName) -> Certificate:
    return read(signed(builder().add_extension(x509.SubjectAlternativeName(names), critical=False)))


# As the other library reads them ------------------------------------------------------------------

ATTRIBUTES = [
    *(NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME),
    *(NameOID.LOCALITY_NAME, NameOID.STATE_OR_PROVINCE_NAME, NameOID.STREET_ADDRESS),
    *(NameOID.USER_ID, NameOID.TITLE, x509.ObjectIdentifier("1.2.3.4")),
]
# What both libraries write alike: the other one lets control characters through.
TEXT = st.text(
    st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=20
)
NAMES = st.lists(
    st.lists(
        st.builds(x509.NameAttribute, st.sampled_from(ATTRIBUTES), TEXT),
        min_size=1,
        max_size=2,
        unique_by=lambda attribute: attribute.oid,
    ).map(x509.RelativeDistinguishedName),
    max_size=4,
).map(x509.Name)
LABELS = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(9999, 12, 31)).map(
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)
USAGES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
    x509.ObjectIdentifier("1.2.3"): "1.2.3",
}


@given(NAMES, NAMES)
@settings(deadline=None, max_examples=50)
@example(x509.Name([]), x509.Name([]))
@example(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "#a+b=, ")]), x509.Name([]))
@example(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, " ")]), x509.Name([]))
def test_distinguished_names(subject, issuer):
    made = _named(subject, issuer)
    found = read(made)
    # What it reads, since the encoding puts the parts of a set in an order of its own.
    theirs = x509.load_der_x509_certificate(found.der)
    assert found.subject == theirs.subject.rfc4514_string()
    assert found.issuer == theirs.issuer.rfc4514_string()
    assert found.is_self_issued == (subject.public_bytes() == issuer.public_bytes())
    common = theirs.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert found.common_name == (common[-1].value if common else None)


def _named(subject: x509.Name, issuer: x509.Name) -> x509.Certificate:
    return signed(
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2030, 1, 1, tzinfo=UTC))
    )


@given(
    st.lists(HOSTS, max_size=4),
    st.lists(st.ip_addresses(), max_size=4),
    st.lists(HOSTS.map("a@{}".format), max_size=2),
    st.lists(HOSTS.map("spiffe://{}/x".format), max_size=2),
)
@settings(deadline=None, max_examples=50)
def test_alternative_names(hosts, ips, emails, uris):
    names: list[x509.GeneralName] = [
        *map(x509.DNSName, hosts),
        *map(x509.IPAddress, ips),
        *map(x509.RFC822Name, emails),
        *map(x509.UniformResourceIdentifier, uris),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        x509.DirectoryName(x509.Name([])),
        x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
    ]
    random.Random(len(hosts)).shuffle(names)
    found = with_names(*names)
    assert sorted(found.dns_names) == sorted(hosts)
    assert sorted(map(str, found.ip_addresses)) == sorted(map(str, ips))
    assert found.names == (*found.dns_names, *map(str, found.ip_addresses))
    assert sorted(found.emails) == sorted(emails)
    assert sorted(found.uris) == sorted(uris)


@given(MOMENTS, MOMENTS, st.integers(1, 2**159 - 1))
@settings(deadline=None)
def test_dates_and_serial(one, other, serial):
    certificate = signed(
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(serial)
        .not_valid_before(min(one, other))
        .not_valid_after(max(one, other))
    )
    found = read(certificate)
    assert (found.not_before, found.not_after) == (min(one, other), max(one, other))
    assert found.serial == serial


@given(
    st.lists(st.sampled_from(list(USAGES)), unique=True),
    st.lists(st.booleans(), min_size=9, max_size=9),
)
@settings(deadline=None)
def test_usages(usages, flags):
    made = builder()
    if usages:
        made = made.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    flags = [*flags[:7], flags[4] and flags[7], flags[4] and flags[8]]
    made = made.add_extension(x509.KeyUsage(*flags), critical=True)
    found = read(signed(made))
    assert found.usages == tuple(USAGES[usage] for usage in usages)
    named = [
        *("digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment"),
        *("keyAgreement", "keyCertSign", "cRLSign", "encipherOnly", "decipherOnly"),
    ]
    assert found.key_usages == tuple(n for n, flag in zip(named, flags, strict=True) if flag)


@pytest.mark.parametrize("length", [None, 0, 3])
def test_authority(length):
    authority = read(Authority(path_length=length).certificate)
    assert authority.is_authority
    assert authority.path_length == length
    assert authority.key_usages == ("digitalSignature", "keyCertSign", "cRLSign")
    own = Certificate.read(CA.issue("a").der)
    assert not own.is_authority
    assert own.path_length is None


def test_name_constraints():
    made = builder().add_extension(
        x509.NameConstraints(
            [
                x509.DNSName("example"),
                x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),
                x509.IPAddress(ipaddress.ip_network("fd00::/8")),
                x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "b")])),
                x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
            ],
            [x509.DNSName("bad.example"), x509.RFC822Name("bad.example")],
        ),
        critical=True,
    )
    found = read(signed(made))
    assert found.permitted == ("example", "10.0.0.0/8", "fd00::/8", "CN=b", "another kind of name")
    assert found.excluded == ("bad.example", "bad.example")


@pytest.mark.parametrize(("private", "kind", "bits", "shown"), [
    (rsa.generate_private_key(65537, 2048), "RSA", 2048, "RSA 2048"),
    (rsa.generate_private_key(65537, 1024), "RSA", 1024, "RSA 1024"),
    (ec.generate_private_key(ec.SECP256R1()), "EC", 256, "EC P-256"),
    (ec.generate_private_key(ec.SECP521R1()), "EC", 521, "EC P-521"),
    (ec.generate_private_key(ec.SECP256K1()), "EC", 256, "EC secp256k1"),
    (ed25519.Ed25519PrivateKey.generate(), "Ed25519", 256, "Ed25519"),
    (ed448.Ed448PrivateKey.generate(), "Ed448", 456, "Ed448"),
    (dsa.generate_private_key(1024), "DSA", 1024, "DSA 1024"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_keys(private, kind, bits, shown):
    found = read(signed(builder(public=private.public_key())))
    assert (found.key.kind, found.key.bits, str(found.key)) == (kind, bits, shown)


@pytest.mark.parametrize(("key", "digest", "shown"), [
    (rsa.generate_private_key(65537, 2048), hashes.SHA256(), "SHA-256 with RSA"),
    (ec.generate_private_key(ec.SECP256R1()), hashes.SHA384(), "SHA-384 with ECDSA"),
    (KEY, None, "Ed25519"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_signatures(key, digest, shown):
    assert read(builder().sign(key, digest)).signature == shown


def test_of_the_operating_systems_anchors_all_can_be_read():
    """Real ones, of many hands and decades."""
    anchors = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not anchors:
        pytest.skip("this host has no anchors")
    # Some have a serial number that the other library thinks little of.
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    for der in anchors:
        found, theirs = Certificate.read(der), x509.load_der_x509_certificate(der)
        assert found.serial == theirs.serial_number
        assert found.not_after == theirs.not_valid_after_utc
        assert found.is_authority
        assert found.is_self_issued == (theirs.subject == theirs.issuer)
        assert not found.key.kind[0].isdigit()
        assert not found.signature[0].isdigit()


def test_it_is_compared_hashed_and_shown_in_short():
    der = CA.issue("db.example").der
    found = Certificate.read(der)
    assert found == Certificate.read(der)
    assert found != Certificate.read(CA.issue("db.example").der)
    assert hash(found) == hash(Certificate.read(der))
    assert found.der == der
    assert found.sha256 == hashlib.sha256(der).hexdigest()
    assert "'CN=db.example' by 'CN=conduit test authority' until " in repr(found)
    assert len(repr(found)) < 300


# Bytes of whoever wants to be believed ------------------------------------------------------------

HOSTILE = "a\n\r\x00\x1b[2J\u202e\u2028\x85\x7f"


def test_no_control_character_comes_through():
    subject = x509.Name([
        x509.NameAttribute(NameOID.COMMON_NAME, HOSTILE),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, HOSTILE),
    ])  # fmt: skip
    made = _named(subject, subject)
    hostile = "a\n\x00\x1b\x7f"
    found = with_names(
        x509.DNSName(hostile), x509.RFC822Name(hostile), x509.UniformResourceIdentifier(hostile)
    )
    texts = [*found.names, *found.emails, *found.uris, read(made).subject, read(made).issuer]
    texts += [read(made).common_name or "", repr(read(made))]
    assert len(texts) == 7
    for text in texts:
        assert text.isprintable(), ascii(text)
        assert "0A" in text
    assert found.dns_names == ("a\\0A\\00\\1B\\7F",)


@pytest.mark.parametrize(("tag", "data", "shown"), [
    (0x0C, "bücher".encode(), "CN=bücher"),
    (0x0C, b"\xff", "CN=#0c01ff"),
    (0x13, b"a", "CN=a"),
    (0x13, b"\xff", "CN=#1301ff"),
    (0x14, "bücher".encode("latin-1"), "CN=bücher"),
    (0x1E, "bücher".encode("utf-16-be"), "CN=bücher"),
    (0x1E, b"\xd8\x00", "CN=#1e02d800"),
    (0x1E, b"a", "CN=#1e0161"),
    (0x1C, "bücher".encode("utf-32-be"), "CN=bücher"),
    (0x04, b"a", "CN=#040161"),
])  # fmt: skip
def test_strings_of_every_kind(tag, data, shown):
    der = CA.issue("db.example", common_name="x" * 40, alternative_names=False).der
    # Put in place of the usual one, together with all the lengths around it.
    usual = value(0x31, value(0x30, b"\x06\x03\x55\x04\x03" + value(0x0C, b"x" * 40)))
    other = value(0x31, value(0x30, b"\x06\x03\x55\x04\x03" + value(tag, data)))
    assert usual in der
    found = Certificate.read(with_inside_replaced(der, value(0x30, usual), value(0x30, other)))
    assert found.subject == shown


def with_inside_replaced(der: bytes, old: bytes, new: bytes) -> bytes:
    """A certificate with a part of what is signed replaced, and the lengths right again."""
    from conduit.tls.der import Reader

    outer = Reader(der).read(0x30)
    body, algorithm, signature = (outer.element() for _ in range(3))
    inside = Reader(body).read(0x30).rest.replace(old, new)
    return value(0x30, value(0x30, inside) + algorithm + signature)


SAMPLES = [
    Authority(permitted=["example", "10.0.0.0/8"], path_length=2).der,
    CA.issue("db.example", "127.0.0.1", "::1").der,
    CA.issue("db.example", key="rsa").der,
    self_signed("db.example", key="ed25519").der,
]


@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4),
    st.sampled_from(["change", "insert", "remove"]),
)
@settings(deadline=None, max_examples=300)
def test_mutated_ones_are_read_or_refused(der, changes, how):
    data = bytearray(der)
    for at, byte in changes:
        at %= len(data)
        match how:
            case "change":
                data[at] = byte
            case "insert":
                data.insert(at, byte)
            case "remove":
                del data[at]
    try_all(bytes(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try_all(data)
    try_all(value(0x30, data))
    try_all(value(0x30, value(0x30, data) + b"\x30\x05\x06\x03\x2b\x65\x70\x03\x01\x00"))


def try_all(data: bytes) -> None:
    """Read it, and use all of it if it can be read."""
    try:
        found = Certificate.read(data)
    except DerError:
        return
    assert found.der == data
    for text in (found.subject, found.issuer, found.common_name or "", repr(found), *found.names):
        assert text.isprintable()
    found.matches("db.example")
    found.matches("127.0.0.1")
    found.is_for("server")


@pytest.mark.parametrize("der", SAMPLES)
def test_cut_short_or_with_more_behind_is_refused(der):
    for end in range(len(der)):
        with pytest.raises(DerError):
            Certificate.read(der[:end])
    with pytest.raises(DerError):
        Certificate.read(der + b"\0")


def test_a_second_extension_of_a_kind_is_refused():
    made = signed(builder().add_extension(x509.SubjectAlternativeName([x509.DNSName("a")]), False))
    der = made.public_bytes(Encoding.DER)
    one = value(0x30, b"\x06\x03\x55\x1d\x11" + value(0x04, value(0x30, b"\x82\x01a")))
    assert one in der
    doubled = with_inside_replaced(
        der, value(0xA3, value(0x30, one)), value(0xA3, value(0x30, one + one))
    )
    with pytest.raises(DerError, match="a second time"):
        Certificate.read(doubled)


def test_the_largest_is_refused_at_once():
    with pytest.raises(DerError, match="a certificate of 1000000 bytes"):
        Certificate.read(bytes(1_000_000))


@pytest.mark.alone
@pytest.mark.parametrize("part", ["names", "subject", "nesting", "oid"])
def test_time_grows_with_the_size_and_no_faster(part):
    def made(size: int) -> bytes:
        usual = value(0x30, b"\x82\x01a")
        match part:
            case "names":
                new = value(0x30, b"\x82\x01b" * (size // 3))
            case "nesting":
                new = b"\x30\x00"
                for _ in range(size // 5):
                    new = value(0x30, new)
            case "oid":
                new = value(0x30, value(0x88, b"\x81" * size + b"\x01"))
            case _:
                new = usual
        der = read(signed(builder().add_extension(
            x509.SubjectAlternativeName([x509.DNSName("a")]), critical=False))).der  # fmt: skip
        old = value(0x30, b"\x06\x03\x55\x1d\x11" + value(0x04, usual))
        other = value(0x30, b"\x06\x03\x55\x1d\x11" + value(0x04, new))
        if part == "subject":
            attribute = value(0x31, value(0x30, b"\x06\x03\x55\x04\x03" + value(0x0C, b"\n" * 30)))
            name = value(0x30, value(0x31, value(0x30, b"\x06\x03\x55\x04\x03\x0c\x01a")))
            return with_inside_replaced(der, name, value(0x30, attribute * (size // 43)))
        return with_inside_replaced(
            der, value(0xA3, value(0x30, old)), value(0xA3, value(0x30, other))
        )

    def seconds(der: bytes) -> float:
        started = time.process_time()
        try:
            for _ in range(2):
                Certificate.read(der).matches("db.example")
        except DerError:
            pass
        return time.process_time() - started

    small, large = made(8_000), made(64_000)
    assert len(large) > 6 * len(small)
    ratio = min(seconds(large) for _ in range(3)) / min(seconds(small) for _ in range(5))
    assert ratio < 24, "eight times the size"


# For which name -----------------------------------------------------------------------------------


def matches(names, hostname: str) -> bool:
    return Certificate.read(CA.issue(*names).der).matches(hostname)


@pytest.mark.parametrize(("name", "hostname"), [
    ("db.example", "db.example"),
    ("DB.example", "db.EXAMPLE"),
    ("db.example", "db.example."),
    ("db", "db"),
    ("_srv.example", "_srv.example"),
    ("*.db.example", "a.db.example"),
    ("*.db.example", "A.DB.EXAMPLE"),
    ("*.db.example", "xn--bcher-kva.db.example"),
    ("xn--bcher-kva.example", "bücher.example"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("127.0.0.1", "127.0.0.1"),
    ("::1", "0:0:0:0:0:0:0:1"),
    ("fe80::1", "fe80::1%eth0"),
])  # fmt: skip
def test_matches(name, hostname):
    assert matches([name], hostname)
    assert matches(["other.example", "192.0.2.1", name], hostname)


@pytest.mark.parametrize(("name", "hostname"), [
    ("db.example", "db.example.org"),
    ("db.example", "a.db.example"),
    ("db.example", "xdb.example"),
    ("db.example", ""),
    ("db.example", "."),
    ("db.example", ".db.example"),
    ("db.example", "db..example"),
    ("db.example.", "db.example"),
    ("db.example", "db.example.."),
    ("db.example", "db.example\0"),
    ("db.example", " db.example"),
    ("*.db.example", "db.example"),
    ("*.db.example", "a.b.db.example"),
    ("*.db.example", ".db.example"),
    ("*.db.example", "*.db.example"),
    ("a*.db.example", "ab.db.example"),
    ("*a.db.example", "ba.db.example"),
    ("a.*.example", "a.b.example"),
    ("**.db.example", "a.db.example"),
    ("*.*.example", "a.b.example"),
    ("*.example", "a.example"),
    ("*.-db.example", "a.-db.example"),
    ("*.db-.example", "a.db-.example"),
    ("*.db.example", "_a.db.example"),
    ("*", "db"),
    ("*.", "db."),
    ("127.0.0.1", "127.0.0.2"),
    ("::1", "127.0.0.1"),
    ("::ffff:127.0.0.1", "127.0.0.1"),
    ("*.0.0.1", "127.0.0.1"),
    ("127.1", "127.1"),
    ("127.0.0.1", "[127.0.0.1]"),
    ("127.0.0.1", "127.0.0.1%eth0"),
    ("db.example", "a" * 64 + ".example"),
    ("db.example", "ü" * 300),
    ("db.example", "\ud800"),
])  # fmt: skip
def test_does_not_match(name, hostname):
    assert not matches([name], hostname)


def test_an_address_is_not_looked_for_among_the_names_nor_the_other_way():
    found = with_names(x509.DNSName("127.0.0.1"), x509.DNSName("::1"), x509.DNSName("*.0.0.1"))
    assert not found.matches("127.0.0.1")
    assert not found.matches("::1")
    assert not matches(["127.0.0.1"], "localhost")


def test_common_name_does_not_count():
    found = Certificate.read(CA.issue("db.example", alternative_names=False).der)
    assert found.common_name == "db.example"
    assert not found.matches("db.example")


def test_a_name_with_a_nul_matches_no_part_of_itself():
    found = with_names(x509.DNSName("db.example\0.evil.example"))
    for hostname in ("db.example", "db.example\0.evil.example", "evil.example"):
        assert not found.matches(hostname)


PIECES = st.sampled_from(
    ["a", "_", "-a", "a-", "A", "b", "xn--a", "*", "a*", "example", "1", "-", "a-b", ""]
)
DOTTED = st.lists(PIECES, min_size=1, max_size=4).map(".".join)


@given(DOTTED, DOTTED)
@settings(deadline=None, max_examples=50)
@example("*.b.example", "a.b.example")
@example("*.example", "a.example")
@example("a.example", "A.example")
@example("a.example", "a.example.")
def test_what_matches_here_matches_for_openssl_too(name, hostname):
    """And the other way, but for names that are none at all."""
    try:
        issued = CA.issue(name, common_name="someone else")
        # Whoever connects by OpenSSL takes the dot of a complete name away first.
        near, _ = shake(server(issued), client(CA.pem), hostname.removesuffix("."))
    except (ValueError, UnicodeError):
        return  # no such certificate, or no such host
    ours = Certificate.read(issued.der).matches(hostname)
    labels = hostname.split(".")
    if "*" in hostname or "" in labels or labels[-1].isdigit():
        assert not ours or near.done
    elif name.startswith("*.") and any(map(_is_odd, name.split(".")[1:])):
        # OpenSSL takes no wildcard above a label of such a kind.
        assert ours or not near.done
    else:
        assert ours == near.done


def _is_odd(label):
    return label.startswith(("-", "xn--")) or label.endswith("-")


# For which peer -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("usages", "peers"), [
    (["server"], {"server"}),
    (["client"], {"client"}),
    (["server", "client"], {"server", "client"}),
    (["code_signing"], set()),
    ([], {"server", "client"}),
])  # fmt: skip
def test_is_for(usages, peers):
    found = Certificate.read(CA.issue("a", usages=usages).der)
    assert {peer for peer in ("server", "client") if found.is_for(peer)} == peers


def test_a_key_that_may_not_sign_is_for_nobody():
    flags = [False] * 9
    flags[6] = True  # cRLSign
    found = read(signed(builder().add_extension(x509.KeyUsage(*flags), critical=True)))
    assert not found.is_for("server")
    assert not found.is_for("client")
