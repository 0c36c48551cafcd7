"""Where vchans meet, and what cannot stand there: no hypervisor is needed to say that."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit import AddressError
from conduit.transports.vchan import paths

DOMIDS = st.integers(0, 0x7FEF)
PORTS = st.text("abcXYZ019_-", min_size=1, max_size=60)


@given(DOMIDS, DOMIDS, PORTS)
def test_path_fits_into_the_librarys_64_bytes_or_is_refused(server, client, port):
    whole = f"/local/domain/{server}/data/vchan/{client}/{port}"
    if len(f"{whole}/event-channel") + 1 <= 64:  # with its final NUL
        assert paths.direct(server, client, port, "x") == whole
    else:
        with pytest.raises(AddressError, match=f"the port has {len(port)} characters"):
            paths.direct(server, client, port, "x")


@given(DOMIDS, PORTS)
def test_what_is_refused_early_is_refused_for_every_domain(domid, port):
    try:
        paths.check_direct(domid, port, "x")
    except AddressError:
        with pytest.raises(AddressError):
            paths.direct(domid, 0, port, "x")


@given(st.text())
def test_words_are_made_of_these_characters_alone(word):
    allowed = re.fullmatch(r"[A-Za-z0-9_-]+", word) is not None
    for check in (paths.check_port, paths.check_name):
        if allowed and len(word) <= 256:
            check(word, "x")
        else:
            with pytest.raises(AddressError, match=r"\Ax: "):
                check(word, "x")


@pytest.mark.parametrize(
    ("check", "value", "complaint"),
    [
        (paths.check_port, "", "a: the port is empty"),
        (paths.check_port, "a/b", "a: the port 'a/b' holds '/'; a vchan's is made of"),
        (paths.check_port, "a\n", r"a: the port 'a\n' holds '\n'"),
        (paths.check_name, "db.xen", "a: the name 'db.xen' holds '.'"),
        (paths.check_name, "x" * 257, "a: a name of 257 characters; 256 are allowed"),
        (paths.check_domid, 0x7FF0, "a: there is no domain 32752, they go from 0 to 32751"),
        (paths.check_domid, 10**30, "a: there is no domain 1000000000000000000000000000000"),
    ],
)
def test_complaints(check, value, complaint):
    with pytest.raises(AddressError, match=re.escape(complaint)):
        check(value, "a")
