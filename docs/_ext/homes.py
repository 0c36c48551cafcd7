"""Finds the page of a name that is written in a file of its own and imported from another.

`conduit.Context` is defined in `conduit.context`, and that is what annotations say.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import stringify_annotation

PUBLIC = [
    "conduit",
    *(
        f"conduit.{name}"
        for name in (
            *("client", "server", "endp", "flow", "events", "trust", "text", "sexp", "resolver"),
            *("discovery", "testing", "transports", "proxies"),
        )
    ),
]


def _module(name: str) -> Any:
    return import_module(name.replace("conduit.trust", "conduit.tls.trust"))


@cache
def homes() -> dict[str, str]:
    """From where a name is defined to where it is public; also from the name alone, if only one."""
    known: dict[str, str] = {}
    alone: dict[str, list[str]] = {}
    for module in PUBLIC:
        names = getattr(_module(module), "__all__", None)
        for name in names or [name for name in vars(_module(module)) if name[:1] != "_"]:
            public = f"{module}.{name}"
            value = getattr(_module(module), name)
            home = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
            if names is None and home[0] != module:
                continue  # It is imported there.
            if all(isinstance(part, str) for part in home):
                known.setdefault(".".join(map(str, home)), public)
            alone.setdefault(name, []).append(public)
    known |= {name: places[0] for name, places in alone.items() if len(places) == 1}
    return known


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element
) -> nodes.Element | None:
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    module = node.get("py:module") or "conduit"
    python = env.get_domain("py")
    name = target.removeprefix("conduit.")
    for public in (
        target,
        homes().get(target),
        f"{module}.{name}",
        f"conduit.{name}",
        homes().get(name.rpartition(".")[2]) if "." in target else None,
    ):
        if public and public in python.objects:
            return python.resolve_xref(
                env, node["refdoc"], app.builder, "obj", public, node, contnode
            )
    return None


@cache
def unions() -> dict[str, str]:
    """From how a union of many classes is written in a signature, to its name."""
    names = ("client.Client", "server.Mode", "endp.Endp", "flow.Flow")
    return {
        stringify_annotation(getattr(_module(f"conduit.{module}"), name), "smart"): (
            f"~conduit.{module}.{name}"
        )
        for module, name in (name.split(".") for name in names)
    }


def _shorten(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, args: str | None, result: str | None
) -> tuple[str | None, str | None]:
    if getattr(obj, "_is_protocol", False):
        return "", None  # Nobody makes one.
    for union, short in unions().items():
        args = args.replace(union, short) if args else args
        result = result.replace(union, short) if result else result
    return args, result


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", _shorten)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True}
