"""What may happen to TLS records on their way: mutated, lost, doubled, torn, and worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

_HEADER = 5


@dataclass(frozen=True)
class Fault:
    """Something that happens to one record.

    at: which record of the direction. how: one of `HOWS`. place, value: where and what, within what
    the record has.
    """

    at: int
    how: str
    place: int
    value: int
    garbage: bytes


def _flip(record: bytes, fault: Fault) -> list[bytes]:
    changed = bytearray(record)
    changed[fault.place % len(record)] ^= fault.value or 1
    return [bytes(changed)]


def _header(record: bytes, fault: Fault) -> list[bytes]:
    changed = bytearray(record)
    # What came before may have left less than a header.
    changed[fault.place % min(_HEADER, len(record))] = fault.value
    return [bytes(changed)]


HOWS: dict[str, Callable[[bytes, Fault], list[bytes]]] = {
    "flip": _flip,
    "header": _header,
    "drop": lambda record, fault: [],
    "double": lambda record, fault: [record, record],
    "cut": lambda record, fault: [record[: fault.place % len(record)]],
    "garbage before": lambda record, fault: [fault.garbage, record],
    "garbage within": lambda record, fault: [
        record[: fault.place % len(record)] + fault.garbage + record[fault.place % len(record) :]
    ],
    "empty record": lambda record, fault: [bytes([fault.value, 3, 3, 0, 0]), record],
    "alert": lambda record, fault: [bytes([21, 3, 3, 0, 2, 1 + fault.value % 2, fault.value])],
    "other type": lambda record, fault: [
        bytes([20 + fault.value % 6, 3, 3]) + len(fault.garbage).to_bytes(2) + fault.garbage,
        record,
    ],
}

faults = st.builds(
    Fault,
    at=st.integers(0, 12),
    how=st.sampled_from(sorted(HOWS)),
    place=st.integers(0, 2000),
    value=st.integers(0, 255),
    garbage=st.binary(min_size=1, max_size=40),
)

plans = st.lists(faults, max_size=3).map(tuple)
"""What happens in one direction; nothing at all, sometimes."""


class Mangler:
    """One direction: gives what arrives of what was sent.

    pieces: the sizes in which it arrives, in turn; nothing for whole.
    """

    def __init__(self, plan: tuple[Fault, ...], pieces: tuple[int, ...] = ()) -> None:
        self._plan = plan
        self._pieces = pieces
        self._seen = 0

    def __call__(self, data: bytes) -> list[bytes]:
        arriving: list[bytes] = []
        for record in records_of(data):
            parts = [record]
            for fault in self._plan:
                if fault.at == self._seen:
                    parts = [
                        each for part in parts if part for each in HOWS[fault.how](part, fault)
                    ]
            self._seen += 1
            arriving += parts
        joined = b"".join(arriving)
        if not self._pieces:
            return [joined] if joined else []
        cut: list[bytes] = []
        while joined:
            size = self._pieces[len(cut) % len(self._pieces)]
            cut.append(joined[:size])
            joined = joined[size:]
        return cut


def records_of(data: bytes) -> list[bytes]:
    """The records of a stream; what an honest side has sent is always whole ones."""
    found: list[bytes] = []
    while data:
        size = _HEADER + int.from_bytes(data[3:5])
        found.append(data[:size])
        data = data[size:]
    return found
