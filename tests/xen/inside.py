"""What domain 0 does: runs the tests that were chosen, one node id a line in `/work/chosen`."""

from __future__ import annotations

import os
import sys
import termios
import tty
from pathlib import Path

import pytest

# The machine is emulated, and one is enough that hangs.
_SECONDS = 120


def main() -> int:
    with open(os.environ["CONDUIT_REPORTS"], "wb") as line:
        # Nothing is to be made of a line's end but that.
        tty.setraw(line.fileno(), termios.TCSANOW)
    chosen = Path("/work/chosen").read_text("utf-8").splitlines()
    options = ["-q", "-p", "tests.xen.reports", "-p", "no:cacheprovider", "--durations=15"]
    return int(
        pytest.main(
            [*options, "-o", f"timeout={_SECONDS}", "-o", "faulthandler_timeout=60", *chosen]
        )
    )


if __name__ == "__main__":
    sys.exit(main())
