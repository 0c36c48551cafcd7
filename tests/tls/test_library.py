"""Which TLS stack an address means: by the environment, by the program, and where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent

import pytest

import conduit
from conduit import TLSLibrary, client, server
from conduit.tls.library import stack_of
from tests.endpoints import port_of


def python(program: str, word: str | None = None) -> str:
    """What a program prints in a process of its own. word: CONDUIT_TLS there."""
    environment = {k: v for k, v in os.environ.items() if k != "CONDUIT_TLS"}
    if word is not None:
        environment["CONDUIT_TLS"] = word
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", dedent(program)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert result.stderr == ""
    return result.stdout.strip()


ASK = "import conduit; print(conduit.tls_library().name)"

# Every word in one process: the first answer is kept, so it is made to forget.
ASK_ALL = """
    import os
    from conduit.tls import library

    words = "openssl", "libressl", "native", "none", "notls", "OpenSSL", "NoTLS", " NONE ", ""
    for word in words:
        os.environ["CONDUIT_TLS"] = word
        library._chosen = None
        print(library.tls_library().name)
"""


def test_words_of_the_environment():
    names = ["OPENSSL", "OPENSSL", "NATIVE", "NO_TLS", "NO_TLS", "OPENSSL", "NO_TLS", "NO_TLS"]
    assert python(ASK_ALL).splitlines() == [*names, "OPENSSL"]


def test_it_is_the_first_value_that_counts():
    program = """
        import os, conduit
        print(conduit.tls_library().name)
        os.environ["CONDUIT_TLS"] = "openssl"
        print(conduit.tls_library().name)
    """
    assert python(program, "none").split() == ["NO_TLS", "NO_TLS"]


def test_without_the_variable_it_is_openssl():
    assert python(ASK) == "OPENSSL"


WRONG = """
    import asyncio, conduit

    async def nothing(f, ic, oc):
        pass

    async def main():
        for use in (
            lambda: conduit.connect(conduit.client.TLS("localhost", "127.0.0.1", 1)),
            lambda: conduit.serve(conduit.server.TLS("c", "k", None, 0), nothing),
        ):
            try:
                await use()
            except Exception as error:
                print(type(error).__name__, error)

    try:
        conduit.tls_library()
    except Exception as error:
        print(type(error).__name__, error)
    asyncio.run(main())
"""


def test_wrong_word_is_an_error_wherever_tls_is_needed():
    lines = python(WRONG, "gnutls").splitlines()
    assert len(lines) == 3
    said = "CONDUIT_TLS='gnutls' names no TLS library: it is one of openssl, libressl, native, none"
    for line in lines:
        assert line.startswith("TLSError ")
        assert said in line
    assert "127.0.0.1:1" in lines[1]


OTHERS = """
    import asyncio, conduit

    async def main():
        async def hello(f, ic, oc):
            oc.write(b"hello")

        async with conduit.listen(conduit.server.TCP(0, ip="127.0.0.1"), hello) as srv:
            async with conduit.connect(srv.endps[0]) as (f, ic, oc):
                print(await ic.read())

    asyncio.run(main())
"""


@pytest.mark.parametrize("word", ["gnutls", "none", "native"])
def test_what_needs_no_tls_does_not_mind(word):
    assert python(OTHERS, word) == "b'hello'"


# Chosen by the program ----------------------------------------------------------------------------


@pytest.fixture
def chosen():
    """Lets a test choose, and takes it back."""
    before = conduit.tls_library()
    yield conduit.set_tls_library
    conduit.set_tls_library(before)


def test_program_chooses(chosen):
    for library in TLSLibrary:
        chosen(library)
        assert conduit.tls_library() is library


@pytest.mark.parametrize("wrong", ["openssl", None, 1])
def test_what_is_no_library_is_a_type_error(chosen, wrong):
    with pytest.raises(TypeError, match=r"must be a conduit\.TLSLibrary, not"):
        chosen(wrong)


async def nothing(f, ic, oc):
    pass


async def connect(target):
    # Not by the default context, which may have loaded what it needs before.
    async with conduit.connect(target, ctx=await conduit.init()):
        pytest.fail("connected")


async def listen(mode):
    async with conduit.listen(mode, nothing):
        pytest.fail("listening")


@pytest.mark.parametrize(
    ("library", "advice"),
    [
        (TLSLibrary.NO_TLS, "set CONDUIT_TLS=openssl"),
        (TLSLibrary.NATIVE, r'pip install "conduit-net\[native\]"'),
    ],
)
async def test_a_stack_that_is_not_there_fails_at_once_and_says_what_to_do(
    chosen, library, advice, monkeypatch
):
    """Before anything else is tried: no port is listened on, and nobody is connected to."""
    monkeypatch.setattr("conduit.tls.library._OF_NATIVE", ("cryptography", "no_such_package"))
    chosen(library)
    targets = [
        client.TLS("localhost", "127.0.0.1", 1),
        client.TLSOver("localhost", client.UnixDomainSocket("/nowhere")),
    ]
    for target in targets:
        with pytest.raises(conduit.UnsupportedTransport, match=advice) as caught:
            await connect(target)
        assert str(caught.value).startswith(f"{target}: ")
    for mode in (
        server.TLS("c", "k", None, 0),
        server.TLSOver(server.UnixDomainSocket("/nowhere"), "c", "k"),
    ):
        with pytest.raises(conduit.UnsupportedTransport, match=advice) as caught:
            await listen(mode)
        assert str(mode) in str(caught.value)


async def test_an_address_that_names_its_stack_does_not_ask(chosen, certificates):
    chosen(TLSLibrary.NO_TLS)
    key = certificates.key()
    ctx = await conduit.init(tls_authenticator=conduit.trust.ca(certificates.trusted))
    mode = server.OpenSSL(key.crt_file, key.key_file, None, 0, ip="127.0.0.1")
    async with conduit.listen(mode, nothing) as srv:
        target = client.OpenSSL("localhost", "127.0.0.1", port_of(srv))
        async with conduit.connect(target, ctx=ctx) as (_, ic, oc):
            assert await ic.read() == b""
            assert oc.get_extra_info("tls").library == "openssl"


async def test_start_tls_asks_as_well(chosen):
    chosen(TLSLibrary.NO_TLS)
    (f, ic, oc), right = conduit.testing.memory_pair()
    with pytest.raises(conduit.UnsupportedTransport, match=r"^start_tls on .*CONDUIT_TLS=openssl"):
        await conduit.start_tls(f, ic, oc, hostname="localhost")
    # The flow is as it was.
    await oc.write(b"hello")
    assert await right.ic.readexactly(5) == b"hello"
    oc.close()
    await right.oc.close()


def test_python_without_openssl_says_so():
    program = """
        import sys
        sys.modules["ssl"] = sys.modules["_ssl"] = None
        from conduit import tls_library
        from conduit.tls.library import TLSLibrary, stack_of
        print(tls_library().name)
        for library in (TLSLibrary.OPENSSL, TLSLibrary.NO_TLS):
            try:
                stack_of(library)
            except Exception as error:
                print(type(error).__name__, error)
    """
    found, openssl, none = python(program).splitlines()
    assert found == "NATIVE"
    without = 'import sys; sys.modules["tlslite"] = None'
    assert python(without + dedent(program)).splitlines()[0] == "NO_TLS"
    assert openssl.startswith("UnsupportedTransport this Python was built without OpenSSL")
    assert none.startswith("UnsupportedTransport there is no TLS")


def test_native_stack_of_another_version_is_refused():
    """What is changed in the library fits one version alone."""
    program = """
        import importlib.metadata
        importlib.metadata.version = lambda name: "0.9.0"
        from conduit.tls.engine import ClientSettings
        from conduit.tls.library import TLSLibrary, stack_of
        try:
            stack_of(TLSLibrary.NATIVE).load_client(ClientSettings())
        except Exception as error:
            print(type(error).__name__, error)
    """
    said = python(program)
    assert said.startswith("UnsupportedTransport the native TLS stack needs tlslite-ng 0.8.2, and ")
    assert said.endswith('0.9.0 is installed: pip install "conduit-net[native]"')


def test_stack_of_openssl_is_its_module():
    from conduit.tls import openssl

    assert stack_of(TLSLibrary.OPENSSL) is openssl
