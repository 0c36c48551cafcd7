"""The command `conduit`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    argv: its arguments, without its name (default: those of the process).

    Returns the exit status: 0 if all went well, 1 if not, 2 for arguments that make no sense, 128
    and the signal's number when one ended it. Never raises for what a user may do.
    """
    name = "conduit"
    _open_what_is_closed()
    try:
        from .arguments import parse

        args = sys.argv[1:] if argv is None else list(argv)
        command = parse(args)
        if isinstance(command, int):
            status = command
        else:
            if args[0] != "demo":
                name = f"conduit {args[0]}"
            status = command()
        sys.stdout.flush()  # so that a pipe that has gone is noticed here
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BrokenPipeError:
        # Whoever read has seen enough (`| head`). Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        import logging

        from .terminal import complain

        logging.getLogger("conduit").debug("the command failed", exc_info=True)
        complain(f"{name}: {_said(error)}")
        return 1
    return status


def _open_what_is_closed() -> None:
    """Let standard streams that were closed (`>&-`) lead nowhere.

    Their descriptors would be given to sockets and the like, and uvloop aborts the process when it
    closes such a one.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            if os.open(os.devnull, os.O_RDWR) != fd:  # pragma: no cover: it is the lowest free one
                return
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _said(error: Exception) -> str:
    """What an error says; its class, too, where the message was not written for readers."""
    from ..errors import ConduitError

    if isinstance(error, ConduitError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        about = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{about}{error.strerror}"
    return f"{type(error).__name__}: {error}"
