"""The converters of every type, by the names that the types have in OCaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

from ..errors import SexpError
from . import types
from .node import Node
from .scalars import OPAQUE, Shape
from .value import Atom, Sexp, checked
from .variants import Variant

__all__ = ["Converter", "converters"]

T = TypeVar("T")


class Converter(Generic[T]):
    """From the values of a type to s-expressions, and back.

    name: the name of the type. shape: how its values are written.
    """

    __slots__ = ("_shape", "name")

    def __init__(self, name: str, shape: Shape[T]) -> None:
        self.name: Final = name
        self._shape = shape

    def __repr__(self) -> str:
        return f"<converter of {self.name}>"

    @property
    def tags(self) -> list[str]:
        """The tags of the type's constructors, for one that has any."""
        return self._shape.tags if isinstance(self._shape, Variant) else []

    def to_sexp(self, value: T) -> Sexp:
        """The s-expression of a value.

        value: a value of the type. What has no text prints as a sign: a function as `<fun>`, a
            socket or a channel as `<opaque>`.

        Raises SexpError for what is no value of the type.
        """
        try:
            return self._shape.to_sexp(value)
        except RecursionError:
            raise SexpError(f"this {self.name} is nested too deep for an s-expression") from None
        except (AttributeError, TypeError, ValueError) as error:
            if isinstance(error, SexpError):
                raise
            raise SexpError(f"{value!r:.100} is no {self.name}") from error

    def of_sexp(self, sexp: Sexp) -> T:
        """The value that an s-expression stands for.

        sexp: as it was read by `of_string`, or made by hand.

        Raises SexpError for one that stands for none, also since our addresses refuse what it
        says; its `sexp` is the part that is wrong, `line` and `column` say where that was read.
        """
        return self._shape.of_sexp(_node(sexp))

    def match_sexp(self, sexp: Sexp) -> T:
        """The value that an s-expression stands for, if its tag is one of the type's.

        sexp: as it was read by `of_string`, or made by hand.

        Raises NoVariantMatch if it is not, so that another type can be tried; SexpError for all
        else that is wrong, as `of_sexp` does.
        """
        return self._shape.match(_node(sexp))


def _node(sexp: Sexp) -> Node:
    return Node(sexp if isinstance(sexp, Atom) else checked(sexp))


CLIENT = Converter("client", types.CLIENT)
CLIENT_TLS_CONFIG = Converter("client_tls_config", types.CLIENT_TLS_CONFIG)
SERVER = Converter("server", types.SERVER)
SERVER_TLS_CONFIG = Converter("server_tls_config", types.SERVER_TLS_CONFIG)
TCP_CONFIG = Converter("tcp_config", types.TCP_CONFIG)
TLS_OWN_KEY = Converter("tls_own_key", types.TLS_OWN_KEY)
TLS_SERVER_KEY = Converter("tls_server_key", types.TLS_OWN_KEY)
FLOW = Converter("flow", types.FLOW)
TCP_FLOW = Converter("tcp_flow", types.TCP_FLOW)
DOMAIN_FLOW = Converter("domain_flow", types.DOMAIN_FLOW)
VCHAN_FLOW = Converter("vchan_flow", types.VCHAN_FLOW)
CTX = Converter("ctx", types.CTX)
IC = Converter("ic", OPAQUE)
OC = Converter("oc", OPAQUE)
ENDP = Converter("endp", types.ENDP)
CONDUIT_ENDP = Converter("conduit_endp", types.CONDUIT_ENDP)
TLS_LIB = Converter("tls_lib", types.TLS_LIB)
SERVICE = Converter("service", types.SERVICE)

_ALL: tuple[Converter[Any], ...] = (
    CLIENT,
    CLIENT_TLS_CONFIG,
    SERVER,
    SERVER_TLS_CONFIG,
    TCP_CONFIG,
    TLS_OWN_KEY,
    TLS_SERVER_KEY,
    FLOW,
    TCP_FLOW,
    DOMAIN_FLOW,
    VCHAN_FLOW,
    CTX,
    IC,
    OC,
    ENDP,
    CONDUIT_ENDP,
    TLS_LIB,
    SERVICE,
)

converters: Mapping[str, Converter[Any]] = {
    **{converter.name: converter for converter in _ALL},
    # As OCaml tells apart what has the same name.
    "Conduit.endp": CONDUIT_ENDP,
    "Conduit_lwt_unix.endp": ENDP,
    "Resolver.service": SERVICE,
}
"""The converter of each type, by the type's name in OCaml."""
