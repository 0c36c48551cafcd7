"""A fuzz target for the reader, the printers and the converters: any bytes are read or refused.

    python -m tests.sexp.fuzz [SECONDS]

tries random changes of good texts for so long (default 10) and prints what fails.
"""

from __future__ import annotations

import random
import sys
import time

from conduit import SexpError, sexp

CORPUS = [
    b"(TCP((IP 127.0.0.1)(Port 80)))",
    b"(TLS((Hostname h)(IP ::1)(Port 443)))",
    b"(TLS(h(TLS(i(TCP(::1 1))))))",
    b"(TLS((Crt_file_path a)(Key_file_path b)No_password(Port 1)(IP ::1)))",
    b"(TLS_over((Systemd web)(Crt_file_path a)(Key_file_path b)No_password))",
    b"((name http)(port 80)(tls false))",
    b"(Vchan((domid 1)(port p)))",
    b'#| a "|#" |# ("\\065\\x41\\n\\\n  b" #;(c) d\r\n) ; e\n',
]
WORDS = [*(b'()";#|\\ \n\r\t\f\v\0aZ09\xc3\xa9\xff'[at : at + 1] for at in range(21))]
WORDS += [b"#|", b"|#", b"#;", b"\\0", b"\\x", b"Port", b"-1", b"0x", b"::", b"%", b'"\n"']


def one_input(data: bytes) -> None:
    """Read bytes in every way; raises what no user must see."""
    try:
        found = sexp.of_bytes_many(data)
    except SexpError as error:
        check_place(error)
        found = []
    for one in found:
        for text in (sexp.to_string(one), sexp.to_string_hum(one)):
            assert sexp.of_string(text) == one
        for converter in sexp.converters.values():
            _convert(converter, one)
    try:
        only = sexp.of_bytes(data)
    except SexpError:
        return
    assert found == [only]


def check_place(error: SexpError) -> None:
    """Reading says where a mistake is."""
    assert str(error).startswith(f"line {error.line}, column {error.column}: ")
    assert error.sexp is None


def _convert(converter: sexp.Converter, one: sexp.Sexp) -> None:
    try:
        value = converter.of_sexp(one)
    except SexpError:
        return
    assert converter.of_sexp(converter.to_sexp(value)) == value


def changed(data: bytes, chance: random.Random) -> bytes:
    """A text with a few changes."""
    for _ in range(chance.randint(1, 4)):
        at, end = sorted(chance.choices(range(len(data) + 1), k=2))
        match chance.randrange(4):
            case 0:
                data = data[:at] + chance.choice(WORDS) + data[at:]
            case 1:
                data = data[:at] + data[min(end, at + 3) :]
            case 2:
                data = data[:at] + data[at:end] + data[at:]
            case _:
                data = data[:at] + chance.choice(CORPUS)[at:end] + data[at:]
    return data


def main(seconds: float) -> int:
    chance = random.Random()
    limit, count = time.monotonic() + seconds, 0
    while time.monotonic() < limit:
        data = changed(chance.choice(CORPUS), chance)
        count += 1
        try:
            one_input(data)
        except Exception as error:
            print(f"{data!r}: {error!r}")
            return 1
    print(f"{count} inputs, no failure")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 10))
