"""How the C library's heap is kept from shrinking and growing with every large chunk."""

from __future__ import annotations

# Larger than any chunk of input.
_BLOCK = 4 * 1024 * 1024

_kept = False


def keep_heap() -> None:
    """Let freed chunks stay in the process, to be used again: called when bulk data comes in.

    glibc gives memory back to the kernel as soon as 128 KiB at the end of its heap are free, and
    takes blocks from there of more than 128 KiB one by one. A chunk of input is that large: each
    costs as many page faults as it has pages, which doubles the price of moving it. When a larger
    block is freed both limits rise, up to twice its size (mallopt(3), M_MMAP_THRESHOLD); so one is
    made, whose pages are never touched. Other C libraries do not mind.
    """
    global _kept
    if not _kept:
        _kept = True
        bytearray(_BLOCK)
