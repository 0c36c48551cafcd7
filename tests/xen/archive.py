"""Archives as Linux takes them for its first file system: cpio, in the "newc" format."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


def write(root: Path, to: BinaryIO) -> None:
    """Write a tree; all of it belongs to root. Several archives in a row are one to the kernel."""
    number = 0
    for directory, subdirectories, files in os.walk(root):
        subdirectories.sort()
        for name in sorted([*subdirectories, *files]):
            path = Path(directory, name)
            number += 1
            _write_entry(to, number, str(path.relative_to(root)), path)
        # A link to a directory is listed as one, and is not followed.
    _write_header(to, "TRAILER!!!", 0, 0, 0)


def _write_entry(to: BinaryIO, number: int, name: str, path: Path) -> None:
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        data = os.readlink(path).encode()
    elif stat.S_ISREG(info.st_mode):
        data = path.read_bytes()
    else:
        data = b""
    _write_header(to, name, number, info.st_mode, len(data))
    to.write(data)
    to.write(bytes(-len(data) % 4))


def _write_header(to: BinaryIO, name: str, number: int, mode: int, size: int) -> None:
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    to.write(header + encoded)
    to.write(bytes(-(len(header) + len(encoded)) % 4))
