"""A program that relays: python -m benchmarks.relaying PORT PORT.

Whoever comes at the first is joined with the second; both are of 127.0.0.1.
"""

import sys

import conduit


async def _handle(f: conduit.flow.Flow, ic: conduit.Input, oc: conduit.Output) -> None:
    there = conduit.client.TCP("127.0.0.1", int(sys.argv[2]))
    async with conduit.connect(there) as joined:
        await conduit.relay((f, ic, oc), joined)


if __name__ == "__main__":
    conduit.run(conduit.serve(conduit.server.TCP(int(sys.argv[1]), ip="127.0.0.1"), _handle))
