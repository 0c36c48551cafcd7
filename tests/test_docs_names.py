"""Every name of ours that the pages put beside those of other libraries, or in a table, exists."""

import importlib.util
import inspect
import re

import pytest

import conduit
from conduit.channels.facade import TransportFacade
from tests.test_readme import PAGES, ROOT

CODE = re.compile(r"`([^`\n]+)`")
NAME = re.compile(
    r"(?<![\w./-])(?P<root>conduit|client|server|endp|flow|trust|testing|events|resolver|sexp|ic|oc|srv)"
    r"\.(?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?=[^\w:/]|$)"
)
ROOTS = {
    "conduit": conduit,
    "ic": conduit.Input,
    "oc": conduit.Output,
    "srv": conduit.Server,
}

# Any of many, and a file.
NO_NAMES = {"conduit.sexp_of_X", "conduit.X_of_sexp", "server.crt"}


def exists(root: str, path: str) -> bool:
    """Whether there is such a name: an attribute, a module, a field, or an argument."""
    value = ROOTS.get(root) or getattr(conduit, root)
    for part in path.split("."):
        if value is conduit.Output and part == "transport":
            value = TransportFacade
        elif hasattr(value, part):
            value = getattr(value, part)
        elif inspect.ismodule(value):
            name = f"{value.__name__}.{part}"
            if not hasattr(value, "__path__") or importlib.util.find_spec(name) is None:
                return False
            value = importlib.import_module(name)
        else:
            return part in getattr(value, "__annotations__", {}) or (
                callable(value) and part in inspect.signature(value).parameters
            )
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_exist(page):
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    missing = [
        found[0]
        for code in CODE.findall(text)
        for found in NAME.finditer(code)
        if found["path"] != "py"
        and found[0] not in NO_NAMES
        and not exists(found["root"], found["path"])
    ]
    assert missing == []


def test_a_misspelt_one_is_noticed():
    assert exists("client", "TCP")
    assert not exists("client", "TPC")
    assert exists("oc", "transport.abort")
    assert not exists("oc", "transport.abrot")
    assert exists("conduit", "init.src")
    assert not exists("conduit", "init.scr")
