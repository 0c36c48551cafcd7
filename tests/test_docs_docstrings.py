"""What the documentation makes of a docstring: lists of its arguments, and programs."""

import importlib.util
import inspect

import conduit
from tests.test_readme import ROOT

_SPEC = importlib.util.spec_from_file_location(
    "docstrings", ROOT / "docs" / "_ext" / "docstrings.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
docstrings = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(docstrings)


def rewritten(text: str, *known: str) -> list[str]:
    return [line for line in docstrings.rewritten(text.splitlines(), set(known)) if line]


def test_arguments_become_a_list():
    text = """Do it.

left, right: two of them. much: how often
    (default: no).
it: is no argument here.

Raises OSError."""
    assert rewritten(text, "left", "right", "much") == [
        "Do it.",
        ":param left,right: two of them.",
        ":param much: how often (default: no). it: is no argument here.",
        "Raises OSError.",
    ]


def test_what_is_indented_is_a_program_if_it_is_one():
    text = "Do it.\n\n    async with x as y:\n        await y\n\nElse:\n\n    a ── b\n"
    assert rewritten(text) == [
        "Do it.",
        ".. code-block:: python",
        "    async with x as y:",
        "        await y",
        "Else:",
        ".. code-block:: none",
        "    a ── b",
    ]


def test_stars_and_quoted_words_stand_as_they_are():
    text = 'Of *all*, "tcp://*:80" and `**kwargs` and "two words".'
    assert rewritten(text) == [r'Of \*all\*, ``"tcp://*:80"`` and `**kwargs` and "two words".']


def test_every_argument_of_serve_is_found():
    text = inspect.getdoc(conduit.serve) or ""
    lines = docstrings.rewritten(text.splitlines(), docstrings.names_of(conduit.serve))
    found = {line.split()[1].rstrip(":") for line in lines if line.startswith(":param")}
    assert found == docstrings.names_of(conduit.serve)
