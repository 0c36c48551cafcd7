"""Members of etcd on loopback, each of which can be killed and started again."""

import contextlib
import signal
import subprocess

from tests.peers.programs import port_of_its_own, until_listening


class Cluster:
    """members: where they are, as clients are told. more: arguments; with a certificate for TLS."""

    def __init__(self, etcd, directory, ports, more=()):
        self._more = more
        self._etcd = etcd
        self._directory = directory
        self._ports = ports
        self._running = {}
        self.members = [f"127.0.0.1:{port}" for port, _ in ports]

    def start(self, at):
        port, peer = self._ports[at]
        cluster = ",".join(
            f"m{at}=http://127.0.0.1:{peer}" for at, (_, peer) in enumerate(self._ports)
        )
        scheme = "https" if "--cert-file" in self._more else "http"
        here, there = f"{scheme}://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        # A program that is killed takes its members along.
        command = [
            "setpriv",
            "--pdeathsig",
            "SIGKILL",
            self._etcd,
            "--name",
            f"m{at}",
            "--data-dir",
            str(self._directory / f"m{at}"),
        ]
        command += ["--listen-client-urls", here, "--advertise-client-urls", here]
        command += ["--listen-peer-urls", there, "--initial-advertise-peer-urls", there]
        command += ["--initial-cluster", cluster, "--heartbeat-interval", "50"]
        command += ["--election-timeout", "500", *self._more]
        self._running[at] = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self, at):
        """Kill -9: no goodbye to anybody."""
        process = self._running.pop(at, None)
        if process is not None:
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def frozen(self, at):
        """It answers no more, and holds its connections."""
        self._running[at].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._running[at].send_signal(signal.SIGCONT)

    async def healthy(self):
        await until_listening(*(port for port, _ in self._ports))


@contextlib.asynccontextmanager
async def cluster(program, directory, count=3, more=()):
    with contextlib.ExitStack() as stack:
        pair = port_of_its_own, port_of_its_own
        ports = [tuple(stack.enter_context(one()) for one in pair) for _ in range(count)]
        made = Cluster(program("etcd"), directory, ports, more)
        try:
            for at in range(count):
                made.start(at)
            await made.healthy()
            yield made
        finally:
            for at in range(count):
                made.kill(at)
