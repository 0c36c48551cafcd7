"""The public surface: what `import conduit` gives, and that all of it is explained."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import conduit

MODULES = [
    *(
        "client",
        "endp",
        "events",
        "discovery",
        "flow",
        "proxies",
        "resolver",
        "server",
        "sexp",
        "testing",
        "text",
    ),
    *("transports", "trust"),
]

# Said by the design, and others rely on it; a name more is no error here.
PROMISED = [
    "AddressError",
    "CertificateError",
    "ConduitError",
    "ConnectError",
    "ConnectTimeout",
    "Context",
    "Input",
    "Output",
    "OwnKey",
    "ResolutionError",
    "SexpError",
    "TLSError",
    "TruncatedError",
    "UnsupportedTransport",
    "Verify",
    "client",
    "connect",
    "default_ctx",
    "endp",
    "endp_of_flow",
    "endp_to_client",
    "endp_to_server",
    "flow",
    "init",
    "listen",
    "resolver",
    "run",
    "serve",
    "server",
    "set_max_active",
    "set_tls_library",
    "start_tls",
    "tls_library",
    "trust",
    "TLSLibrary",
]


def python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )


# Names --------------------------------------------------------------------------------------------


def test_all_is_in_order_and_complete():
    assert sorted(conduit.__all__) == conduit.__all__
    assert len(set(conduit.__all__)) == len(conduit.__all__)
    assert set(PROMISED) <= set(conduit.__all__)


@pytest.mark.parametrize("name", conduit.__all__)
def test_every_name_is_there(name):
    value = getattr(conduit, name)
    if name in MODULES:
        home = "conduit.tls" if name == "trust" else "conduit"
        assert value is importlib.import_module(f"{home}.{name}")
    elif name != "__version__":
        assert value.__name__ == name
    # The second time it is found without asking.
    assert vars(conduit)[name] is value


def test_names_told_to_type_checkers_are_the_public_ones():
    """Without its import under TYPE_CHECKING, a name would be unknown to every editor."""
    tree = ast.parse(Path(conduit.__file__).read_text("utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If) and _is_for_types(node)]
    told = {alias.name for node in block.body for alias in getattr(node, "names", [])}
    assert told | {"__version__"} == set(conduit.__all__)


def _is_for_types(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def test_dir_lists_every_name():
    listed = python("import conduit; print(*dir(conduit))").stdout.split()
    assert set(conduit.__all__) <= set(listed)
    assert sorted(listed) == listed


def test_star_import_gives_every_name():
    given = python("before = {*globals()}\nfrom conduit import *\nprint(*globals())").stdout.split()
    assert set(conduit.__all__) <= set(given)
    assert "__getattr__" not in given


def test_each_name_can_be_the_first_that_is_imported():
    """Whichever comes first, no circle of imports is met."""
    by_home = {conduit._HOME.get(name, "") or name: name for name in conduit.__all__}
    program = f"""
import sys
for name in {[*by_home.values()]!r}:
    for module in [m for m in sys.modules if m.split(".")[0] == "conduit"]:
        del sys.modules[module]
    exec(f"from conduit import {{name}}")
"""
    python(program)


def test_names_are_imported_when_they_are_used():
    program = """
import sys
def loaded(): return {m for m in sys.modules if m.startswith("conduit.")}
import conduit
before = loaded()
conduit.client
assert "conduit.client" in loaded() - before, loaded()
print(*before)
conduit.connect
assert "conduit._connect" in loaded()
assert "conduit.testing" not in loaded()
"""
    assert set(python(program).stdout.split()) <= {"conduit._version", "conduit._debug"}


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'conduit' has no attribute 'conect'"):
        conduit.conect  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'conect' from 'conduit'"):
        from conduit import conect  # type: ignore[attr-defined]  # noqa: F401
    assert not hasattr(conduit, "_HOMELESS")


def test_version_is_the_distributions():
    assert conduit.__version__ == importlib.metadata.version("conduit-net")


def test_package_says_that_it_is_typed():
    assert Path(conduit.__file__).with_name("py.typed").exists()


# Docstrings ---------------------------------------------------------------------------------------


def public_modules() -> Iterator[ModuleType]:
    """Conduit itself, the modules it exports, and the parts of those that are packages."""
    yield conduit
    for name in MODULES:
        module = getattr(conduit, name)
        yield module
        for part in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{module.__name__}."):
            if not part.name.rpartition(".")[2].startswith("_"):
                yield importlib.import_module(part.name)


def public_things() -> Iterator[tuple[str, Any]]:
    """All that needs a docstring, by its full name: modules, functions, classes, their members."""
    seen: set[int] = set()
    for module in public_modules():
        yield module.__name__, module
        names = getattr(module, "__all__", None) or [n for n in vars(module) if n[0] != "_"]
        for name in names:
            value = getattr(module, name)
            if not inspect.isclass(value) and not inspect.isfunction(value):
                continue
            if value.__module__.split(".")[0] != "conduit" or id(value) in seen:
                continue
            seen.add(id(value))
            yield f"{module.__name__}.{name}", value
            if inspect.isclass(value):
                yield from members(f"{module.__name__}.{name}", value)


def members(prefix: str, cls: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(cls).items():
        if name.startswith("_"):
            continue
        if inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod):
            # By way of the class, so that one that overrides another has that one's docstring.
            value = member if isinstance(member, property) else getattr(cls, name)
            yield f"{prefix}.{name}", value


THINGS = dict(public_things())


def test_things_are_found():
    """So that the tests below cannot pass because there is nothing to test."""
    assert {
        "conduit",
        "conduit.client",
        "conduit.client.TLS",
        "conduit.connect",
        "conduit.Output.write",
        "conduit.Input.limit",
        "conduit.Server.endps",
        "conduit.Context.src_for",
        "conduit.transports.unix",
    } <= THINGS.keys()


def test_docstrings_start_with_one_sentence():
    firsts = {name: (inspect.getdoc(THINGS[name]) or "").partition("\n\n")[0] for name in THINGS}
    assert not {name: first for name, first in firsts.items() if not is_sentence(first)}


def is_sentence(text: str) -> bool:
    return text.endswith(".") and (text[0].isupper() or text[0] in "`'\"")


# Most of their parameters are those of `serve`, which the tests below see to.
LIKE_SERVE = ("listen", "forward")


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in conduit.__all__
        if inspect.isfunction(getattr(conduit, name)) and name not in LIKE_SERVE
    ],
)
def test_docstring_of_a_function_explains_each_parameter(name):
    function = getattr(conduit, name)
    for parameter in inspect.signature(function).parameters:
        assert f"{parameter}:" in function.__doc__, f"{name}: {parameter}"


def test_listen_and_serve_take_the_same():
    assert list(inspect.signature(conduit.listen).parameters.values()) == list(
        inspect.signature(conduit.serve).parameters.values()
    )


def test_forward_takes_what_serve_does_and_explains_what_differs():
    of_serve = inspect.signature(conduit.serve).parameters
    of_forward = inspect.signature(conduit.forward).parameters
    assert of_serve.keys() - {"handler"} == of_forward.keys() - {"target", "target_ctx"}
    for name in ("mode", "target", "ctx", "target_ctx", "timeout"):
        assert f"{name}:" in (conduit.forward.__doc__ or "")


# CONDUIT_DEBUG ------------------------------------------------------------------------------------

SERVE_AND_CONNECT = """
import asyncio, conduit

async def echo(f, ic, oc):
    oc.write(await ic.readline())

async def main():
    async with conduit.listen(conduit.server.TCP(0, ip="127.0.0.1"), echo) as srv:
        async with conduit.connect(srv.endps[0]) as (f, ic, oc):
            oc.write(b"hello\\n")
            print(srv.endps[0].port, (await ic.readline()).decode())

asyncio.run(main())
"""


@pytest.mark.parametrize("value", ["1", "yes"])
def test_debug_logs_to_standard_error(value):
    result = python(SERVE_AND_CONNECT, CONDUIT_DEBUG=value)
    port, hello = result.stdout.split()
    assert hello == "hello"
    lines = result.stderr.splitlines()
    assert all(" conduit DEBUG: " in line for line in lines), result.stderr
    where = f"tcp://127.0.0.1:{port}"
    assert any(f"serving {where}" in line for line in lines), result.stderr
    for event in ("Attempt", "Connected", "Accepted", "Closed"):
        assert any(event in line for line in lines), f"{event} is not in {result.stderr}"


def test_debug_tells_each_thing_once():
    lines = python(SERVE_AND_CONNECT, CONDUIT_DEBUG="1").stderr.splitlines()
    assert sum("Connected" in line for line in lines) == 1
    assert sum("serving" in line for line in lines) == 1


def test_debug_leaves_the_log_of_the_program_alone():
    """Only what conduit says is shown, and a program's own settings for the rest stay."""
    program = f"""
import logging
{SERVE_AND_CONNECT}
logging.getLogger("another").debug("not this")
logging.getLogger().debug("nor this")
assert logging.getLogger().level == logging.WARNING
assert not logging.getLogger().handlers
"""
    assert "this" not in python(program, CONDUIT_DEBUG="1").stderr


@pytest.mark.parametrize("value", [None, ""])
def test_without_debug_nothing_is_written(monkeypatch, value):
    monkeypatch.delenv("CONDUIT_DEBUG", raising=False)
    environment = {} if value is None else {"CONDUIT_DEBUG": value}
    assert python(SERVE_AND_CONNECT, **environment).stderr == ""
