"""A service that systemd starts for its first client, and that ends when nobody has come for long.

    systemd-socket-activate -l 127.0.0.1:8080 python activated.py

systemd keeps the socket meanwhile, so the next client waits until it has been started again, and
none is ever refused. Another address may be given, to try it without systemd, and seconds to wait:

    python activated.py tcp://127.0.0.1:8080 60
"""

import asyncio
import sys
from datetime import UTC, datetime

import conduit
from conduit import Input, Output, flow


class Clock:
    """Tells the time, in any number of lines a client asks for; `idle` is set when nobody has."""

    def __init__(self, patience: float) -> None:
        self.idle = asyncio.Event()
        self._patience = patience
        self._clients = 0
        self._wait()

    async def handle(self, f: flow.Flow, ic: Input, oc: Output) -> None:
        self._clients += 1
        self._timer.cancel()
        try:
            async for _ in ic:
                await oc.write(f"{datetime.now(UTC):%H:%M:%S}\n".encode())
        finally:
            self._clients -= 1
            if not self._clients:
                self._wait()

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._patience, self.idle.set)


async def main(address: str = "systemd:", patience: str = "60") -> None:
    clock = Clock(float(patience))
    # Who comes while it stops is still served: what the kernel holds is accepted first.
    async with conduit.listen(address, clock.handle, stop=clock.idle) as srv:
        print("serving", *srv.endps, flush=True)
        await srv.wait_stopped()
    print("nobody has come for", patience, "seconds" if clock.idle.is_set() else "(stopped)")


if __name__ == "__main__":
    if len(sys.argv) > 3:
        sys.exit(__doc__)
    try:
        conduit.run(main(*sys.argv[1:]))
    except conduit.UnsupportedTransport as error:
        sys.exit(f"{error}\n{__doc__}")
