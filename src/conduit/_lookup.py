"""Asking the system for the addresses of a name, without blocking the loop or anything else.

`getaddrinfo` blocks, and it cannot be stopped: while a name server is silent, it takes as long as
the system's own settings say. So it runs in threads of our own, a limited number. Were they the
loop's, silent name servers would soon hold up all else that the program does in threads (uvloop
has four); and they are daemons, so that none delays the end of the program. A caller who gives up
is free at once; what he asked for is forgotten if it has not begun, and ignored when it ends.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from threading import Condition, Lock, Thread
from typing import Any, NamedTuple, TypeAlias

Infos: TypeAlias = list[tuple[Any, Any, int, str, Any]]
"""As `socket.getaddrinfo` gives them: family, type, protocol, canonical name, socket address."""

_MOST_THREADS = 32
_IDLE_SECONDS = 5.0


class _Question(NamedTuple):
    host: str | None
    port: int | str
    flags: int
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Infos]


class _Threads:
    """Threads that answer questions in order, and end when there have been none for a while."""

    def __init__(self) -> None:
        self._news = Condition(Lock())
        self._questions: deque[_Question] = deque()
        self._running = 0
        self._idle = 0

    def ask(self, question: _Question) -> None:
        with self._news:
            self._questions.append(question)
            if self._idle >= len(self._questions):
                self._news.notify()
                return
            if self._running == _MOST_THREADS:
                return
            self._running += 1
        try:
            Thread(target=self._work, name="conduit-lookup", daemon=True).start()
        except RuntimeError as error:
            self._no_thread(error)

    def _no_thread(self, error: RuntimeError) -> None:
        """The system has no more. One of ours that runs will come to it; or there is none."""
        with self._news:
            self._running -= 1
            left = [] if self._running else [*self._questions]
            if left:
                self._questions.clear()
        for question in left:
            _tell(question, OSError(errno.EAGAIN, str(error)))

    def _work(self) -> None:
        while (question := self._next()) is not None:
            _answer(question)
            del question  # it holds the answer

    def _next(self) -> _Question | None:
        with self._news:
            while not self._questions:
                self._idle += 1
                told = self._news.wait(_IDLE_SECONDS)
                self._idle -= 1
                if not told and not self._questions:
                    self._running -= 1
                    return None
            return self._questions.popleft()


def _answer(question: _Question) -> None:
    if question.answer.cancelled():
        return  # nobody waits for it any more
    try:
        found = socket.getaddrinfo(
            question.host, question.port, type=socket.SOCK_STREAM, flags=question.flags
        )
    except Exception as error:
        _tell(question, error.with_traceback(None))
    else:
        _tell(question, found)


def _tell(question: _Question, outcome: Infos | Exception) -> None:
    try:
        question.loop.call_soon_threadsafe(_settle, question.answer, outcome)
    except RuntimeError:
        pass  # The loop has ended, and whoever asked with it.


def _settle(answer: asyncio.Future[Infos], outcome: Infos | Exception) -> None:
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


_threads = _Threads()


def _forget_threads() -> None:
    # A forked child has none of them, and the lock may be one that nobody will ever release.
    global _threads
    _threads = _Threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


async def getaddrinfo(host: str | None, port: int | str, *, flags: int = 0) -> Infos:
    """`socket.getaddrinfo` for TCP, in a thread.

    host: a name or an IP address; None for this machine. port: of the socket addresses, or the name
    of a service, which has one. flags: AI_PASSIVE and the like.

    Raises what `socket.getaddrinfo` does: `socket.gaierror`, an OSError; UnicodeError for a name
    that cannot be one in DNS.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Infos] = loop.create_future()
    _threads.ask(_Question(host, port, flags, loop, answer))
    try:
        return await answer
    finally:
        del answer  # an error that it holds has this frame in its traceback
