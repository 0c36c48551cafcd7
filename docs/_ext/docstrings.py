"""Turns docstrings, as they are written in src/, into what Sphinx makes lists and blocks of.

A docstring there is plain text: `name: what it is.` says what an argument is, one after the other
or in a paragraph of its own, and a block that is indented is a program. Nobody who reads the source
has to see fields and directives; here they are put in.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# Where an argument may begin: with a paragraph, or after the end of a sentence.
_ARGUMENT = re.compile(r"(?:^|(?<=[.:;)\]\"`] ))(?P<names>\w+(?:(?:, | and )`?\w+`?)*): ")


def names_of(obj: Any) -> set[str]:
    """The arguments of a function or a class, and the fields of a dataclass."""
    known: set[str] = set()
    if dataclasses.is_dataclass(obj):
        known |= {field.name for field in dataclasses.fields(obj)}
    try:
        known |= set(inspect.signature(obj).parameters)
    except (TypeError, ValueError):
        pass
    return known


def blocks_of(lines: list[str]) -> list[list[str]]:
    """The paragraphs of a text; what is indented after an empty line is one, too."""
    blocks: list[list[str]] = []
    for line in lines:
        if line.strip() and blocks and blocks[-1]:
            blocks[-1].append(line)
        elif line.strip():
            if blocks:
                blocks[-1] = [line]
            else:
                blocks.append([line])
        elif blocks and blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _is_program(block: list[str]) -> bool:
    return all(line.startswith("    ") for line in block)


def _language(block: list[str]) -> str:
    """Python, unless it is a tree, a table, or leaves something out."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    text = textwrap.dedent("\n".join(block))
    try:
        compile(text + ("\n    pass" if text.endswith(":") else ""), "", "exec", flags=flags)
    except SyntaxError:
        return "none"
    return "python"


def _as_it_stands(text: str) -> str:
    """The text in which a star is a star, and a word in double quotes is code."""
    parts = re.split(r"(`[^`]*`+|\"[^\"\s]+\")", text)
    parts[1::2] = [f"``{part}``" if part[0] == '"' else part for part in parts[1::2]]
    parts[::2] = [part.replace("*", r"\*") for part in parts[::2]]
    return "".join(parts)


def _is_list(block: list[str]) -> bool:
    return block[0].startswith(("- ", "* ", ".. ", "1. ", ":"))


def arguments_of(text: str, known: set[str]) -> tuple[str, list[tuple[str, str]]]:
    """What stands before the first argument of a paragraph, and each argument with its text."""
    starts = [
        found
        for found in _ARGUMENT.finditer(text)
        if all(name in known for name in re.findall(r"\w+", found["names"].replace(" and ", " ")))
    ]
    if not starts:
        return text, []
    ends = [found.start() for found in starts[1:]] + [len(text)]
    pairs = [
        # Sphinx takes the first of two words for a type.
        (
            ",".join(re.findall(r"\w+", found["names"].replace(" and ", " "))),
            text[found.end() : end].strip(),
        )
        for found, end in zip(starts, ends, strict=True)
    ]
    return text[: starts[0].start()].strip(), pairs


def rewritten(lines: list[str], known: set[str]) -> list[str]:
    """The docstring as Sphinx wants it."""
    result: list[str] = []
    fields: list[str] = []
    for block in blocks_of(lines):
        if _is_program(block):
            result += [f".. code-block:: {_language(block)}", "", *block, ""]
        elif _is_list(block):
            result += [*block, ""]
        else:
            text = _as_it_stands(" ".join(line.strip() for line in block))
            before, pairs = arguments_of(text, known)
            if before:
                result += [before, ""]
            fields += [f":param {names}: {text}" for names, text in pairs]
            if fields and not pairs:
                # What comes after the arguments (errors, what is returned) stays after them.
                text, result = result[-2:], result[:-2]
                result += [*fields, "", *text]
                fields = []
    return [*result, *fields, ""]


def _process(
    app: Sphinx, what: str, name: str, obj: Any, options: object, lines: list[str]
) -> None:
    lines[:] = rewritten(lines, names_of(obj) if what != "module" else set())


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True}
