"""The certificates of the tests: one authority, and keys in files, made once and shared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from conduit import OwnKey
from conduit.testing import Authority, Issued

T = TypeVar("T")


class Certificates:
    """An authority, and what it has issued, in files below a directory.

    `trusted` is for `trust.ca`. A test may call everything on the loop: keys are made and written
    in a thread, as conduit itself would have to.
    """

    def __init__(self, directory: Path) -> None:
        self.ca = Authority()
        self.other_ca = Authority("another authority")
        self.trusted = self.ca.pem
        self._directory = directory
        self._made: dict[object, OwnKey] = {}

    def key(self, *names: str, **options: Any) -> OwnKey:
        """The files of a certificate for these names (default: localhost and its addresses).

        options: as of `Authority.issue`. The same arguments give the same files.
        """
        names = names or ("localhost", "127.0.0.1", "::1")
        wanted = names, tuple(options.items())
        if wanted not in self._made:
            issued = in_thread(lambda: self.ca.issue(*names, **options))
            self._made[wanted] = self.write(issued, self._directory, f"key{len(self._made)}")
        return self._made[wanted]

    @staticmethod
    def write(issued: Issued, directory: Path, name: str = "own") -> OwnKey:
        """Put a certificate and its key into files."""
        return in_thread(lambda: issued.write(directory, name))


def in_thread(call: Callable[[], T]) -> T:
    """Do what blocks, away from the loop."""
    result: list[T] = []
    thread = threading.Thread(target=lambda: result.append(call()))
    thread.start()
    thread.join()
    [found] = result
    return found
