"""TLS in front of a server that speaks none.

    python tls_proxy.py 'tls://*:8443?crt=web.crt&key=web.key' tcp://127.0.0.1:8080

It prints a line for each connection. Renewed certificates are read again within a minute. Both
addresses may be any: tls+systemd:web?crt=..., unix:/run/app.sock, vsock://3:8080.
"""

import sys
import time

import conduit
from conduit import Input, Output, flow


class Proxy:
    """Passes clients on to a target."""

    def __init__(self, target: str) -> None:
        self.target = target

    async def handle(self, f: flow.Flow, ic: Input, oc: Output) -> None:
        started = time.monotonic()
        try:
            async with conduit.connect(self.target, timeout=10) as there:
                sent, received = await conduit.relay((f, ic, oc), there)
        except BaseException:
            # A client must not take a failure for the end of an answer.
            oc.transport.abort()
            raise
        tls = oc.get_extra_info("tls")
        print(
            conduit.endp_of_flow(f),
            f"{tls.version} for {tls.sni or 'no name'}" if tls else "no TLS",
            f"{sent} B in, {received} B out, {time.monotonic() - started:.3f} s",
            flush=True,
        )


def complain(error: BaseException) -> None:
    print("failed:", error, file=sys.stderr)


async def main(listen: str, target: str) -> None:
    async with conduit.listen(
        listen,
        Proxy(target).handle,
        on_exn=complain,
        max_active=1000,
        idle_timeout=300,
        reload_interval=60,
    ) as srv:
        for where in srv.endps:
            print("listening on", where, flush=True)
        await srv.wait_stopped()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    conduit.run(main(*sys.argv[1:]))
