"""The lab of a story: network namespaces for client, edge and server, processes in them, and waiting with a deadline."""

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RELEASE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
# SYNWARD_PROGRAM tests another build, or an installed one.
SYNWARD = Path(os.environ.get("SYNWARD_PROGRAM", RELEASE / "synward"))
BENCH = RELEASE / "bench"
# "fast", "usual" or "full": the options of deploy/test.
SIZE = os.environ.get("SYNWARD_STORY_SIZE", "usual")
FAST, FULL = SIZE == "fast", SIZE == "full"

SERVER = {4: "192.0.2.10", 6: "2001:db8:5::10"}
CLIENT = {4: "198.51.100.2", 6: "2001:db8:c::2"}
FLOOD_SOURCES = {4: "10.0.0.0/8", 6: "2001:db8:f::/48"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
# The server's port for a story's own protocol; nginx listens on 80 and 443.
PORT = 9000
METRICS_PORT = 9470
# Most answers take milliseconds; a SYN that the kernel retransmits takes a second, and a busy machine stops for some.
PATIENCE = 30
# Seconds for a start on a busy machine: the kernel verifies the program, and synward probes firewall and servers.
START = 60


def wait_until(what, condition, seconds=PATIENCE):
    """Polls until `condition()` is true, and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def namespace(name):
    """Moves this thread, and what it starts, to the network namespace. A socket stays where it is created."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{name}") as there:
        enter_namespace(there)
        try:
            yield
        finally:
            enter_namespace(home)


def enter_namespace(file):
    if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Lab:
    """Namespaces client, edge and server, as deploy/lab builds them."""

    def __init__(self, name, *options):
        self.name = name
        self.folder = Path("/run/synward-lab") / name
        self.nginx = self.folder / "nginx"
        self.pins = self.folder / "bpf"
        self.processes = []
        subprocess.run([ROOT / "deploy/lab", "up", name, *options], check=True, stdout=subprocess.DEVNULL)

    def down(self):
        subprocess.run([ROOT / "deploy/lab", "down", self.name], check=True)

    def inside(self, role):
        return namespace(f"sw-{self.name}-{role}")

    def run(self, role, *command):
        """The output of a command, which must succeed. It sees the namespace's network, but not its /sys."""
        with self.inside(role):
            return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout

    def start(self, role, name, *command):
        """Starts a process that sees the namespace in /sys too. Its output goes to NAME.log in the lab's folder."""
        process = Process(self, role, name, command)
        self.processes.append(process)
        return process

    def flood(self, family, port=80, seconds=60, *options):
        """Starts a flood of SYNs at full speed from one core. `report()` stops it and returns its report."""
        host = f"[{SERVER[family]}]" if family == 6 else SERVER[family]
        return self.start(
            "client", "flood", BENCH, "flood", "--interface", "client0", "--destination", f"{host}:{port}",
            "--sources", FLOOD_SOURCES[family], "--core", "0", "--seconds", str(seconds), "--json", *options)

    def listen(self, family=4, port=PORT, role="server", backlog=128):
        """A socket that listens on the role's address."""
        address = (SERVER if role == "server" else CLIENT)[family]
        with self.inside(role):
            listener = socket.socket(FAMILY[family])
        listener.settimeout(PATIENCE)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(backlog)
        return listener

    def connect(self, family=4, port=PORT, role="client"):
        """A socket in the role's namespace that is connected to the server, or from there to the client."""
        address = (SERVER if role == "client" else CLIENT)[family]
        with self.inside(role):
            connection = socket.socket(FAMILY[family])
        connection.settimeout(PATIENCE)
        connection.connect((address, port))
        return connection

    def hears_nothing(self, family=4, port=PORT):
        """Whether a client has no answer when its kernel has sent the SYN again, after a second."""
        with self.inside("client"):
            client = socket.socket(FAMILY[family])
        with client:
            client.setblocking(False)
            before = self.syns_retried()
            client.connect_ex((SERVER[family], port))

            def outcome():
                if select.select([], [client], [], 0)[1]:
                    return "settled"
                return "silence" if self.syns_retried() > before else None
            if wait_until("an answer or a second SYN", outcome) == "silence":
                return True
            if error := client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(error, os.strerror(error))
            return False

    def pair(self, family=4, port=PORT):
        """Both ends of a new connection: the client's and the server's."""
        with self.listen(family, port) as listener:
            client = self.connect(family, port)
            server, _ = listener.accept()
        server.settimeout(PATIENCE)
        return client, server

    def free_server(self):
        """Detaches the program from server0 that passes every frame."""
        self.start("server", "pass", BENCH, "pass", "--interface", "server0", "--detach").wait()

    def kernel_counters(self, role="server"):
        """The counters Tcp and TcpExt, as nstat shows them."""
        counters = {}
        for file, group in ("snmp", "Tcp:"), ("netstat", "TcpExt:"):
            with self.inside(role):
                lines = Path(f"/proc/thread-self/net/{file}").read_text().splitlines()
            names, numbers = (line.split()[1:] for line in lines if line.startswith(group))
            counters |= zip(names, map(int, numbers))
        return counters

    def syns_retried(self, role="client"):
        """How many SYNs the role's kernel has sent again, a second or more after the first: one or its answer was lost."""
        return self.kernel_counters(role)["TCPSynRetrans"]

    def count_at_server(self):
        """Counts what the server receives from now on; `counted_at_server` reads the counters."""
        rules = """
            table inet story {}
            delete table inet story
            table inet story {
                counter flood {}
                counter syns {}
                chain arriving {
                    type filter hook prerouting priority raw;
                    ip saddr 10.0.0.0/8 counter name flood
                    ip6 saddr 2001:db8:f::/48 counter name flood
                    iifname "server0" tcp flags & (syn|ack) == syn counter name syns
                }
            }"""
        with self.inside("server"):
            subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)

    def counted_at_server(self, counter):
        """Packets that the server received: "flood" from the flood's sources, "syns" from any."""
        listing = json.loads(self.run("server", "nft", "-j", "list", "counter", "inet", "story", counter))
        return next(entry["counter"]["packets"] for entry in listing["nftables"] if "counter" in entry)

    def syn_received(self):
        """How many of the server's connections are in SYN-RECV."""
        with self.inside("server"):
            return sum(state_column(f"/proc/thread-self/net/tcp{six}").count("03") for six in ("", "6"))


def state_column(path):
    return [line.split()[3] for line in Path(path).read_text().splitlines()[1:]]


class Process:
    """A program in a namespace of the lab, started by deploy/lab exec."""

    def __init__(self, lab, role, name, command):
        self.name = name
        self.log = lab.folder / f"{name}.log"
        number = lab.folder / f"{name}.pid"
        number.unlink(missing_ok=True)
        # The shell writes its process number down and then becomes the program.
        launch = 'echo $$ >"$1.new" && mv "$1.new" "$1" && shift && exec "$@"'
        with open(self.log, "wb") as log:
            self.launcher = subprocess.Popen(
                [ROOT / "deploy/lab", "exec", lab.name, role, "sh", "-c", launch, "sh", number, *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        wait_until(f"{name} starts", number.exists, START)
        self.pid = int(number.read_text())

    def output(self):
        return self.log.read_text(errors="replace")

    def running(self):
        return self.launcher.poll() is None

    def wait(self, seconds=PATIENCE):
        """The exit code, once the program has exited."""
        return self.launcher.wait(seconds)

    def stop(self, number=signal.SIGTERM, seconds=PATIENCE):
        """Sends the signal; returns the exit code."""
        if self.running():
            os.kill(self.pid, number)
        return self.wait(seconds)

    def report(self):
        """Stops a flood and returns its report."""
        code = self.stop(signal.SIGINT)
        assert code == 0, f"{self.name} exited with {code}: {self.output()}"
        return self.json()

    def json(self):
        """The last line of the output."""
        return json.loads(self.output().splitlines()[-1])

    def cpu_time(self):
        """Seconds on a CPU, those of softirqs that interrupted it included (unless the kernel accounts for these apart)."""
        files = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(file.read_text().split()[0]) for file in files) / 1e9

    def memory(self):
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10
