"""Programs that a test kills, or talks to: the other end of a vchan in a process of its own."""

# Sends numbers without end, and takes what comes, as one of the two sides.
BUSY = """
    import asyncio, sys
    import conduit
    from conduit import client, server

    async def busy(f, ic, oc):
        async def read():
            while await ic.read(65536):
                pass
        async def write():
            while True:
                await oc.write(bytes(30000))
        await asyncio.gather(read(), write())

    async def main():
        role, port = sys.argv[1:3]
        if role == "server":
            async with conduit.listen(server.VchanDirect(0, port), busy):
                await asyncio.Event().wait()
        else:
            await busy(*await conduit.connect(client.VchanDirect(0, port)))

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
"""

# A server as other programs would make it, which knows nothing of our rules.
FOREIGN_SERVER = """
    import sys
    from conduit.transports.vchan import libxenvchan
    from conduit.transports.vchan.libxenstore import Store

    with Store() as store:
        store.write(sys.argv[1], "")
    end = libxenvchan.serve(0, sys.argv[1])
    print("listening", flush=True)
    sys.stdin.readline()
    end.close()
"""
