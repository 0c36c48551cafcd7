"""Every error the library raises of its own accord.

    ConduitError
    ├── AddressError            (ValueError)       a part of an address that cannot be
    ├── SexpError               (ValueError)       text that is not the s-expression expected
    │   └── NoVariantMatch                         ... since its tag is none of the type's
    ├── ConnectError            (ConnectionError)  no address of the peer could be reached
    │   └── ConnectTimeout      (TimeoutError)     ... within the time allowed
    ├── TLSError                (ConnectionError)  a handshake or record that failed
    │   ├── CertificateError                       a certificate that is not trusted
    │   └── TruncatedError      (EOFError)         the stream ended without the peer's goodbye
    ├── ResolutionError         (OSError)          a name that has no address
    └── UnsupportedTransport    (OSError)          a transport this host or build lacks

Each is also the builtin in brackets (a subclass is what its parent is, too), so a caller may catch
either. `ConnectionError` and `TimeoutError` are both `OSError`. Errors of the system itself, such
as `OSError(EADDRINUSE)`, are passed on as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .sexp import Sexp


class ConduitError(Exception):
    """The base of every error that this library raises of its own accord."""


class AddressError(ConduitError, ValueError):
    """A part of an address that cannot be, or an address that cannot be used as asked.

    message: what cannot be, and what to do. part: the field that was refused when an address was
        made, as its constructor calls it; by default None.
    """

    part: str | None

    def __init__(self, message: str = "", *, part: str | None = None) -> None:
        super().__init__(message)
        self.part = part


class SexpError(ConduitError, ValueError):
    """Text that is no s-expression, or one that does not say the value expected.

    message: what is wrong and where.
    sexp: the sub-expression that is wrong, if the text as a whole could be read; by default None.
    line, column: where it starts in the text that it was read from, both from 1, in characters;
        by default None, as for one that was not read from a text.
    """

    sexp: Sexp | None
    line: int | None
    column: int | None

    def __init__(
        self,
        message: str = "",
        *,
        sexp: Sexp | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(message)
        self.sexp = sexp
        self.line = line
        self.column = column


class NoVariantMatch(SexpError):
    """An s-expression whose tag is none of a type's; that of another type may be tried next."""


class ConnectError(ConduitError, ConnectionError):
    """No address of the peer could be reached; the message lists every attempt.

    message: what was attempted, for example "cannot connect to tcp://db.example:5432".
    attempts: pairs of an address (an `endp`, or anything that `str` shows) and the exception
        that it failed with, in the order tried; by default none.

    `attempts` is the tuple of those pairs. With exactly one, `errno` and `strerror` are those of
    its exception if that is an `OSError`; else both are `None`.
    """

    attempts: tuple[tuple[object, BaseException], ...]

    def __init__(
        self, message: str = "", attempts: Iterable[tuple[object, BaseException]] = ()
    ) -> None:
        # OSError would read a second argument as a strerror, so it is told of the message alone.
        super().__init__(message)
        self.attempts = tuple(attempts)
        if self.attempts:
            self.args = (message, self.attempts)  # what copy and pickle call us with again
        if len(self.attempts) == 1:
            [(_, failure)] = self.attempts
            if isinstance(failure, OSError):
                self.errno, self.strerror = failure.errno, failure.strerror

    def __str__(self) -> str:
        # OSError's own would print "[Errno 111] Connection refused" once errno is set.
        message = str(self.args[0])
        match self.attempts:
            case ():
                return message
            case ((address, failure),):
                # An address that the message has named already is not repeated.
                name = f"{address}: " if str(address) not in message else ""
                return f"{message}: {name}{_reason(failure)}"
            case _:
                lines = (f"\n  {address}: {_reason(failure)}" for address, failure in self.attempts)
                return f"{message}:{''.join(lines)}"


class ConnectTimeout(ConnectError, TimeoutError):
    """The time allowed for connecting ran out; `attempts` has what had failed, or not answered."""


class TLSError(ConduitError, ConnectionError):
    """A TLS handshake or record failed, or TLS was asked for what it cannot do here.

    message: what failed. alert: the name of the alert by which the peer ended the connection, as
        RFC 8446 has it ("unknown_ca"); by default None: it was not the peer that did.
    """

    alert: str | None

    def __init__(self, message: str = "", *, alert: str | None = None) -> None:
        super().__init__(message)
        self.alert = alert


class CertificateError(TLSError):
    """The peer's certificate is not trusted, or is not for the name that was asked for.

    message: which check failed, and for which name.
    chain: the certificates the peer sent, each in DER, its own first; by default none.
    """

    chain: tuple[bytes, ...]

    def __init__(self, message: str = "", *, chain: Iterable[bytes] = ()) -> None:
        super().__init__(message)
        self.chain = tuple(chain)


class TruncatedError(TLSError, EOFError):
    """The stream ended without the peer's close_notify: what was sent may have been cut short.

    message: what was being read.
    partial: the bytes read before the end that the failed call did not return; by default none.
    """

    partial: bytes

    def __init__(self, message: str = "", *, partial: bytes = b"") -> None:
        super().__init__(message)
        self.partial = partial


class ResolutionError(ConduitError, OSError):
    """A name or a service that could not be resolved to an address."""


class UnsupportedTransport(ConduitError, OSError):
    """A transport that this host, this Python or this installation lacks; the message says what."""


def _reason(failure: BaseException) -> str:
    """The failure's message, or its type where it has none (`TimeoutError()`), indented."""
    return (str(failure) or type(failure).__name__).replace("\n", "\n  ")
