"""One of several processes of a program: what `conduit.run_workers` starts."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ._run import run_and_tell
from .transports import lent
from .transports.lender import Lender
from .transports.turns import Turns


def work(line: int, lifeline: int, counts: int, mine: int, count: int) -> None:
    """Do what the parent says, and end with the process.

    line: the descriptor of a socket to the parent. lifeline: of a pipe that ends with it. counts:
    of the memory for turns. mine, count: which worker this is, of how many.
    """
    _die_with_the_parent(lifeline)
    for descriptor in (line, lifeline, counts):
        os.set_inheritable(descriptor, False)
    with socket.socket(fileno=line) as sock:
        with os.fdopen(os.dup(line), "rb") as told:
            order = json.loads(told.readline())
        sys.argv[:] = order["arguments"]
        # As of sd_listen_fds(3): what was handed to the parent is for each of us.
        os.environ.update({name: str(os.getpid()) for name in order["for me"]})
        lent.lender = Lender(sock, Turns(counts, mine, count))
        _run(order["main"], lent.lender)


def _run(target: str, lender: Lender) -> None:
    try:
        main = _find(target)
        lender.tell({"imported": True})
        told_to_end = run_and_tell(main, lender.keep)[1]
    except KeyboardInterrupt:
        raise
    except SystemExit as ended:
        if not ended.code:
            lender.tell({"done": True})
        raise
    except BaseException as error:
        why = "".join(traceback.format_exception_only(error)).strip()
        lender.tell({"failed": why, "traceback": traceback.format_exc()})
        sys.exit(1)
    if not told_to_end:
        lender.tell({"done": True})


def _die_with_the_parent(lifeline: int) -> None:
    """Let the kernel kill this process when the pipe ends, also one that hangs: fcntl(2)."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    if select.select([lifeline], [], [], 0)[0]:
        os.kill(os.getpid(), signal.SIGKILL)  # It has gone before.


def _find(target: str) -> Callable[[], Any]:
    """The function of a name such as "package.module:main"."""
    module, _, name = target.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{target} is {found!r}, and must be an async function without arguments")
    main: Callable[[], Any] = found
    return main
