"""From values to s-expressions and back: round trips, what is ours alone, and what is refused."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduit
from conduit import NoVariantMatch, SexpError, client, endp, flow, server, sexp
from conduit.sexp import types
from conduit.sexp.node import shown
from conduit.tls.library import TLSLibrary

from .addresses import VALUES, sexps

KEY = "(Crt_file_path c)(Key_file_path k)No_password"
CHANNEL: Any = object()


def ask(_encrypting: bool) -> str:
    return "secret"


# Round trips --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
def test_value_comes_back(name, data):
    value = data.draw(VALUES[name])
    converter = sexp.converters[name]
    there = converter.to_sexp(value)
    assert converter.of_sexp(there) == value
    for text in (sexp.to_string(there), sexp.to_string_hum(there)):
        assert converter.of_sexp(sexp.of_string(text)) == value
        assert sexp.of_string(text) == there


def test_every_type_has_a_converter_and_functions():
    assert set(VALUES) <= set(sexp.converters)
    for name, converter in sexp.converters.items():
        if "." in name:
            continue  # a second name
        assert converter.name == name
        assert getattr(conduit, f"sexp_of_{name}").__name__ == f"sexp_of_{name}"
        assert getattr(conduit, f"{name}_of_sexp").__name__ == f"{name}_of_sexp"


@pytest.mark.parametrize(("module", "converter"), [(client, "client"), (server, "server")])
def test_every_address_prints(module, converter):
    """So that a new address is not forgotten: it needs a line in types.py, and one above."""
    union = module.Client if module is client else module.Mode
    cases = vars(types)[converter.upper()].cases
    assert {case.of for case in cases if inspect.isclass(case.of)} == set(union.__args__)


# What the reference does not have -----------------------------------------------------------------

ADDITIONS = [
    ("client", client.Host("db.example", 5432), "(Host((Name db.example)(Port 5432)))"),
    ("client", client.Vsock(2, 1024), "(Vsock((Cid 2)(Port 1024)))"),
    (
        "client",
        client.TLSOver("h", client.UnixDomainSocket("/x")),
        "(TLS_over((Hostname h)(Unix_domain_socket(File /x))))",
    ),
    ("endp", endp.Host("db.example", 5432), "(Host(db.example 5432))"),
    ("endp", endp.Vsock(2, 1024), "(Vsock(2 1024))"),
    ("server", server.TCP(80, ip="127.0.0.1"), "(TCP((IP 127.0.0.1)(Port 80)))"),
    (
        "server",
        server.TLS("c", "k", None, 443, ip="::1"),
        f"(TLS({KEY}(Port 443)(IP ::1)))",
    ),
    (
        "server",
        server.OpenSSL("c", "k", None, 443, ip="::1"),
        f"(OpenSSL({KEY}(Port 443)(IP ::1)))",
    ),
    (
        "server",
        server.TLSNative("c", "k", None, 443, ip="::1"),
        f"(TLS_native({KEY}(Port 443)(IP ::1)))",
    ),
    ("server", server.TLSOver(server.TCP(1), "c", "k"), f"(TLS_over((TCP(Port 1)){KEY}))"),
    ("server", server.Vsock(2, 1024), "(Vsock(2 1024))"),
    ("server", server.Systemd(), "Systemd"),
    ("server", server.Systemd("web"), "(Systemd web)"),
    ("server", server.Handover("/x"), "(Handover((File /x)()))"),
    ("server", server.Handover("/x", server.TCP(80)), "(Handover((File /x)((TCP(Port 80)))))"),
    ("server", server.ListeningSocket(3), "(Listening_socket 3)"),
    ("flow", flow.Vsock(2, 1024), "(Vsock((cid 2)(port 1024)))"),
    ("client", client.TCP("fe80::1%eth0", 1), "(TCP((IP fe80::1%eth0)(Port 1)))"),
]


@pytest.mark.parametrize(("name", "value", "text"), ADDITIONS)
def test_addition(name, value, text):
    assert sexp.to_string(sexp.converters[name].to_sexp(value)) == text
    assert sexp.converters[name].of_sexp(sexp.of_string(text)) == value


def test_each_addition_is_in_the_documentation():
    page = Path(__file__).parents[2] / "docs" / "s-expressions.md"
    documented = page.read_text("utf-8")
    assert all(text in documented for _, _, text in ADDITIONS)


def test_both_source_addresses_of_a_ctx_print():
    ctx = conduit.Context(src=(client.TCP("127.0.0.1", 0).ip, client.TCP("::1", 0).ip))
    printed = sexp.to_string(conduit.sexp_of_ctx(ctx))
    assert printed == '(("ADDR_INET(127.0.0.1,0)""ADDR_INET(::1,0)")None)'


# What cannot be read ------------------------------------------------------------------------------

OPAQUE = [
    ("server", server.TCP(server.Socket(3)), "(TCP(Socket <opaque>))"),
    (
        "client",
        client.TLSTunnel("h", CHANNEL, CHANNEL),
        "(TLS_tunnel((Hostname h)<opaque> <opaque>))",
    ),
    ("flow", flow.Tunnel("h", CHANNEL, CHANNEL), "(Tunnel h <opaque> <opaque>)"),
    (
        "server",
        server.TLS("c", "k", ask, 1),
        "(TLS((Crt_file_path c)(Key_file_path k)(Password <fun>)(Port 1)))",
    ),
    (
        "tls_own_key",
        conduit.OwnKey("c", "k", ask),
        "(TLS((Crt_file_path c)(Key_file_path k)(Password <fun>)))",
    ),
    ("ic", CHANNEL, "<opaque>"),
    ("ctx", conduit.Context(), "(()None)"),
]


@pytest.mark.parametrize(("name", "value", "text"), OPAQUE)
def test_what_has_no_text_prints_as_a_sign_and_is_not_read(name, value, text):
    converter = sexp.converters[name]
    assert sexp.to_string(converter.to_sexp(value)) == text
    with pytest.raises(SexpError, match=r"cannot be read"):
        converter.of_sexp(sexp.of_string(text))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client", server.TCP(80)),
        ("client", None),
        ("client", []),
        ("tls_own_key", "None"),
        ("conduit_endp", endp.TLSTunnel("h", CHANNEL, CHANNEL)),
        ("client_tls_config", 3),
        ("vchan_flow", None),
        ("service", object()),
        ("client", client.VchanDomainSocket("\ud800", "p")),
        ("client", client.VchanDirect(1 << 62, "p")),
        ("client", client.VchanDirect(10**5000, "p")),
    ],
)
def test_what_is_no_value_of_the_type_does_not_print(name, value):
    with pytest.raises(SexpError):
        sexp.converters[name].to_sexp(value)


# Errors -------------------------------------------------------------------------------------------

MISTAKES = [
    ("client", "(TCP((IP 127.0.0.1)\n  (Port 70000)))", "70000", (2, 9), "outside 0..65535"),
    ("client", '(TLS((Hostname "")(IP ::1)(Port 1)))', '""', (1, 16), "empty"),
    ("client", "(TC((IP ::1)(Port 1)))", "(TC((IP ::1)(Port 1)))", (1, 1), "did you mean TCP?"),
    ("client", "(tcp((IP ::1)(Port 1)))", None, (1, 1), "did you mean TCP?"),
    ("client", "\n\n TCP ", "TCP", (3, 2), r"TCP takes a value: \(TCP ...\)"),
    ("client", "(TCP #;(x) a b)", "(TCP a b)", (1, 1), "takes 1 value, which is a list"),
    ("client", "(TCP(#;(x) (IP ::1) x))", "x", (1, 21), r"\(Port ...\) is expected"),
    ("client", "(TCP(#|\n|#(IP a.b)(Port 1)))", "a.b", (2, 7), "this is no IP address"),
    ("server", "(TCP(Port 8O))", "8O", (1, 11), "no integer"),
    ("server", "(TCP(Port 0x10000))", "0x10000", (1, 11), "outside 0..65535"),
    ("endp", "(TLS(h(TCP(::1 -1))))", "-1", (1, 16), "outside 0..65535"),
    ("endp", "(Vchan_direct(-1 p))", "-1", (1, 15), "negative"),
    ("endp", '(Unix_domain_socket "\\000x")', '"\\000x"', (1, 21), "NUL"),
    ("service", "((name a)(port 1)(prt 1))", None, (1, 1), "no such field: prt"),
    ("server", "(TCP((IP ::1)(Port 70000)))", "70000", (1, 20), "^server.TCP: port 70000"),
    ("service", "((name a)(port 1))", None, (1, 1), "missing: tls"),
    ("service", "((name a)(name b)(port 1))", None, (1, 1), "given twice: name"),
    ("service", "((name a)(port 1)(tls yes))", "yes", (1, 23), "neither true nor false"),
    ("service", "((name a)(port 70000)(tls true))", "70000", (1, 16), "outside"),
]


@pytest.mark.parametrize(("name", "text", "wrong", "place", "words"), MISTAKES)
def test_mistake_is_shown_with_its_place(name, text, wrong, place, words):
    if wrong is None:
        wrong = sexp.to_string(sexp.of_string(text))
    with pytest.raises(SexpError, match=words) as caught:
        sexp.converters[name].of_sexp(sexp.of_string(text))
    error = caught.value
    assert sexp.to_string(error.sexp or "") == wrong
    assert (error.line, error.column) == place
    assert f"at line {place[0]}, column {place[1]}" in str(error)
    assert wrong in str(error)


def test_mistake_in_a_part_of_a_file_has_its_place_in_the_file():
    file = sexp.of_string("(here\n (there (TCP((IP 127.0.0.1)(Port x)))))")
    assert isinstance(file, sexp.List)
    inner = file[1]
    with pytest.raises(SexpError) as caught:
        conduit.client_of_sexp(inner[1])
    assert (caught.value.line, caught.value.column) == (2, 34)


def test_mistake_in_what_was_made_by_hand_has_no_place():
    by_hand = sexp.List(["TCP", sexp.List([sexp.List(["IP", "::1"]), "x"])])
    with pytest.raises(SexpError, match=r": x$") as caught:
        conduit.client_of_sexp(by_hand)
    assert (caught.value.line, caught.value.column) == (None, None)
    assert caught.value.sexp == "x"


@pytest.mark.parametrize("name", ["client", "service", "flow", "tls_own_key"])
def test_long_mistake_is_shown_in_short(name):
    long = sexp.List(["x" * 100_000, "y" * 100_000])
    for wrong in (long, sexp.List([long] * 1000)):
        with pytest.raises(SexpError) as caught:
            sexp.converters[name].of_sexp(wrong)
        assert len(str(caught.value)) < 600


def test_program_that_only_reads_a_file_does_without_contexts():
    program = """
import sys, conduit
conduit.sexp.converters["client"].of_sexp(conduit.sexp.of_string("(TCP((IP ::1)(Port 1)))"))
assert "conduit.context" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


@given(sexps)
def test_what_an_error_shows_is_the_start_of_what_it_is_about(value):
    text = sexp.to_string(value)
    shortened = shown(value)
    assert shortened == text if len(text) <= 60 else shortened == f"{text[:60]}..."


def test_what_is_no_sexp_is_a_type_error():
    with pytest.raises(TypeError, match=r"str or a conduit\.sexp\.List, not tuple"):
        conduit.client_of_sexp(("TCP", ()))  # type: ignore[arg-type]


# NoVariantMatch -----------------------------------------------------------------------------------

MATCHING = {
    "client": conduit.__client_of_sexp__,
    "server": conduit.__server_of_sexp__,
    "endp": conduit.__endp_of_sexp__,
    "tcp_config": conduit.__tcp_config_of_sexp__,
    "tls_own_key": conduit.__tls_own_key_of_sexp__,
}
GOOD = {
    "client": "(Unix_domain_socket(File f))",
    "server": "(Launchd l)",
    "endp": "(TLS(h(Unknown x)))",
    "tcp_config": "(Port 80)",
    "tls_own_key": "None",
}


@pytest.mark.parametrize("name", MATCHING)
def test_unknown_tag_is_no_match(name):
    match, read = MATCHING[name], sexp.converters[name].of_sexp
    good = sexp.of_string(GOOD[name])
    assert match(good) == read(good)
    for text in ("Bogus", "(Bogus 1)", "(bogus)"):
        with pytest.raises(NoVariantMatch):
            match(sexp.of_string(text))
        with pytest.raises(SexpError) as caught:
            read(sexp.of_string(text))
        assert type(caught.value) is SexpError


@pytest.mark.parametrize(
    "text", ["()", "(())", "TCP", "(TCP)", "(TLS(h Bogus))", "(TLS(h (Bogus 1)))"]
)
def test_other_mistakes_are_general_ones(text):
    with pytest.raises(SexpError) as caught:
        conduit.__endp_of_sexp__(sexp.of_string(text))
    assert type(caught.value) is SexpError


def test_unions_can_be_composed():
    def target(given: sexp.Sexp) -> object:
        try:
            return conduit.__tls_own_key_of_sexp__(given)
        except NoVariantMatch:
            return conduit.server_of_sexp(given)

    assert target("None") is None
    assert target(sexp.of_string("(Launchd x)")) == server.Launchd("x")


# Names --------------------------------------------------------------------------------------------


def test_ordinary_variants_may_start_small():
    for text in ("Native", "native"):
        assert conduit.tls_lib_of_sexp(text) is TLSLibrary.NATIVE
    assert conduit.tls_lib_of_sexp("openSSL") is TLSLibrary.OPENSSL


def test_types_of_one_name_are_told_apart():
    tunnel = endp.TLSTunnel("h", CHANNEL, CHANNEL)
    text = "(TLS_tunnel(h <opaque> <opaque>))"
    assert sexp.to_string(conduit.sexp_of_endp(tunnel)) == text
    with pytest.raises(SexpError, match="cannot be read"):
        conduit.endp_of_sexp(sexp.of_string(text))
    with pytest.raises(SexpError, match="has no constructor"):
        conduit.conduit_endp_of_sexp(sexp.of_string(text))
    assert sexp.converters["Conduit.endp"] is sexp.converters["conduit_endp"]
    assert sexp.converters["Conduit_lwt_unix.endp"] is sexp.converters["endp"]
    assert sexp.converters["Resolver.service"] is sexp.converters["service"]


# Depth --------------------------------------------------------------------------------------------


def test_layers_of_tls_have_a_limit():
    def layers(count: int) -> sexp.Sexp:
        return sexp.of_string("(TLS(h" * count + "(Unknown x)" + "))" * count)

    deepest = conduit.endp_of_sexp(layers(100))
    assert sexp.to_string(conduit.sexp_of_endp(deepest)).count("TLS") == 100
    repr(deepest)
    for count in (102, 50_000):
        with pytest.raises(SexpError, match="nested more than 100 deep"):
            conduit.endp_of_sexp(layers(count))


def test_value_nested_without_end_is_refused():
    value: endp.Endp = endp.Unknown("x")
    for _ in range(20_000):
        value = endp.TLS("h", value)
    with pytest.raises(SexpError, match="nested too deep"):
        conduit.sexp_of_endp(value)
