"""Where text is taken for an address: which text is an s-expression, and what it says."""

import pytest

from conduit import SexpError, client, endp, server, sexp


@pytest.mark.parametrize(
    "text",
    [
        "(TCP((IP ::1)(Port 1)))",
        " \n\t(x",
        "; a comment\n(x)",
        "#| a |# (x)",
        "#;a (x)",
        '"Systemd"',
        "Systemd",
        " Systemd\n",
        "TCP",
        "Host",
    ],
)
def test_text_that_is_meant_for_an_s_expression(text):
    assert sexp.is_sexp(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "tcp://h:80", "unix:/(x)", "Systemd:", "systemd:", "https://h/", "/x", "#x", "Bogus"],
)
def test_text_that_is_not(text):
    assert not sexp.is_sexp(text)


def test_each_reads_its_own():
    assert sexp.client_of_text("(TCP((IP ::1)(Port 1)))") == client.TCP("::1", 1)
    assert sexp.server_of_text("Systemd") == server.Systemd()
    assert sexp.endp_of_text("(TCP(::1 1))") == endp.TCP("::1", 1)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("(TCP((IP ::1)(Port 1)))", client.TCP("::1", 1)),
        ("(TCP(::1 1)) ; it", endp.TCP("::1", 1)),
        ("(TLS(h(TCP(::1 1))))", endp.TLS("h", endp.TCP("::1", 1))),
        ("(Unknown x)", endp.Unknown("x")),
        ("(Vchan_direct((Domid 1)(Port p)))", client.VchanDirect(1, "p")),
        ("(Vchan_direct(1 p))", endp.VchanDirect(1, "p")),
    ],
)
def test_target_is_a_client_or_an_endpoint(text, target):
    assert sexp.target_of_text(text) == target


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("(TCP(Port 1))", server.TCP(1)),
        ("(TCP((IP ::1)(Port 1)))", server.TCP(1, ip="::1")),
        ("(TCP(::1 1))", endp.TCP("::1", 1)),
        ("(Vchan_direct(1 p))", server.VchanDirect(1, "p")),
        ("Systemd", server.Systemd()),
    ],
)
def test_mode_is_a_server_or_an_endpoint(text, mode):
    assert sexp.mode_of_text(text) == mode


def test_no_text_is_read_both_ways_as_a_target():
    """So that it does not matter which is tried first."""
    shared = [tag for tag in sexp.converters["client"].tags if tag in sexp.converters["endp"].tags]
    assert len(shared) == 8  # TLS_tunnel is another, which neither reads
    values = [
        endp.TCP("::1", 1),
        endp.Host("h", 1),
        endp.UnixDomainSocket("x"),
        endp.VchanDirect(1, "p"),
        endp.VchanDomainSocket("Domain_name", "Port"),
        endp.Vsock(1, 2),
        endp.TLS("Hostname", endp.Unknown("x")),
    ]
    for value in values:
        with pytest.raises(SexpError):
            sexp.converters["client"].of_sexp(sexp.converters["endp"].to_sexp(value))


def test_error_is_of_the_only_type_that_knows_the_tag():
    with pytest.raises(SexpError, match=r"^a string is an atom.*line 1, column 10") as caught:
        sexp.target_of_text("(Unknown (x))")
    assert caught.value.column == 10
    with pytest.raises(SexpError, match=r"^a list of 3 is expected"):
        sexp.target_of_text("(OpenSSL x)")
    with pytest.raises(SexpError, match=r"^client has no constructor 'Bogus'"):
        sexp.target_of_text("(Bogus x)")


def test_error_tells_of_both_readings_the_further_one_first():
    with pytest.raises(SexpError) as caught:
        sexp.target_of_text("(TCP(127.0.0.1 70000))")
    assert str(caught.value).startswith("as endp: endp.TCP: port 70000 is outside 0..65535: 70000")
    assert "; as client: " in str(caught.value)
    assert caught.value.sexp == "70000"
    assert (caught.value.line, caught.value.column) == (1, 16)
    with pytest.raises(SexpError) as caught:
        sexp.target_of_text("(TCP((IP 127.0.0.1)(Port 70000)))")
    assert str(caught.value).startswith("as client: ")
    assert caught.value.sexp == "70000"


def test_text_that_cannot_be_read_is_told_so():
    for read in (sexp.client_of_text, sexp.target_of_text, sexp.mode_of_text):
        with pytest.raises(SexpError, match="line 1, column 1: this list is not closed"):
            read("(TCP")
