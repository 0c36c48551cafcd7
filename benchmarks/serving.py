"""A program that echoes, in one process or several: python -m benchmarks.serving WORKERS.

Each says its port in a line.
"""

import asyncio
import sys

import conduit

from .peers import reader_writer
from .peers.interface import BACKLOG


async def _handle(f: conduit.flow.Flow, ic: conduit.Input, oc: conduit.Output) -> None:
    await reader_writer.echo(ic, oc)


async def main() -> None:
    mode = conduit.server.TCP(0, ip="127.0.0.1")
    async with conduit.listen(mode, _handle, backlog=BACKLOG) as srv:
        [where] = srv.endps
        assert isinstance(where, conduit.endp.TCP)
        print(where.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    workers = int(sys.argv[1])
    if workers == 1:
        conduit.run(main)
    else:
        conduit.run_workers(f"{__package__}.serving:main", workers)
