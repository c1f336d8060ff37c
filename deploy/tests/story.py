"""What every story needs: a lab, synward in front of its server, sockets at both ends, waiting with a deadline.

A story is an end-to-end test: a file NN_name.py that passes a function to `story()`. `python3 NN_name.py RESPONDER` builds a
lab, starts synward with that responder ("afxdp", "xdp", or "none": the kernel forwards, to try the story itself), calls the
function, stops synward and removes the lab. It exits with 0 if all of that succeeds.

deploy/test runs a story with both responders and alone, unless its file says otherwise: see plan.py.
"""

import contextlib
import ctypes
import http.client
import ipaddress
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import traceback
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
# Most answers take milliseconds; a SYN that the kernel retransmits takes a second.
PATIENCE = 10
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


# ---- the lab

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

    def connects(self, family=4, port=PORT):
        """Whether a client gets a connection before it retransmits its SYN."""
        with self.inside("client"):
            client = socket.socket(FAMILY[family])
        with client:
            client.settimeout(0.8)
            try:
                client.connect((SERVER[family], port))
            except TimeoutError:
                return False
            return True

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


# ---- synward

CONFIGURATION = """\
[appliance]
control = "{control}"
responder = "{responder}"
adopt_seconds = {adopt_seconds}
{appliance}

[cookie]
secret = "{secret}"

{interfaces}

[[service]]
name = "web"
addresses = [{addresses}]
ports = {ports}
handoff = "{handoff}"
mode = "{mode}"
{service}
"""

TWO_ARMS = '[[interface]]\nname = "out0"\nside = "outside"\n\n[[interface]]\nname = "in0"\nside = "inside"'
ONE_ARM = '[[interface]]\nname = "out0"\nside = "both"'
AT_SERVER = '[[interface]]\nname = "server0"\nside = "outside"'
ADDRESSES = '"192.0.2.10", "2001:db8:5::10"'
# The settings of a story that gives no others.
DEFAULTS = {"adopt_seconds": 0, "appliance": "", "interfaces": TWO_ARMS, "addresses": ADDRESSES, "ports": [80, 443, PORT],
         "mode": "always", "handoff": "splice", "service": ""}


class Synward:
    """The appliance at the lab's edge, or at the server."""

    def __init__(self, lab, responder, role="edge", name="synward", **settings):
        self.lab = lab
        self.role = role
        self.name = name
        self.responder = responder
        self.settings = DEFAULTS | settings
        self.control = lab.folder / f"{name}.sock"
        self.secret = lab.folder / "secret"
        self.file = lab.folder / f"{name}.toml"
        self.process = None

    def configure(self, **settings):
        """Writes the configuration file, with these settings changed."""
        if not self.secret.exists():
            self.secret.touch(mode=0o600)
            self.secret.write_text(subprocess.run([SYNWARD, "secret"], check=True, text=True,
                                                  stdout=subprocess.PIPE).stdout)
        self.settings |= settings
        self.file.write_text(CONFIGURATION.format(
            control=self.control, secret=self.secret, responder=self.responder, **self.settings))

    def start(self, **settings):
        """Starts it and waits until it is ready."""
        if self.responder == "none":
            # Frames that XDP transmits reach a veth only if it has an XDP program.
            if self.role == "edge":
                self.lab.start("edge", "pass", BENCH, "pass", "--interface", "out0").wait()
            return
        self.configure(**settings)
        self.process = self.lab.start(self.role, self.name, SYNWARD, "run", "--config", self.file)
        wait_until("synward is ready", self.ready, START)
        # A worker counts as alive from its first heartbeat.
        wait_until("all workers are alive", self.workers_alive, START)

    def workers_alive(self):
        return all(alive for (name, _), alive in self.metrics().items() if name == "synward_worker_alive")

    def ready(self):
        assert self.process.running(), f"synward ended before it was ready:\n{self.process.output()}"
        return re.search(r"\bready\b", self.process.output())

    def stop(self):
        """Stops it, and checks that it ran until then and exits with 0."""
        if self.process is None:
            return
        process, self.process = self.process, None
        assert process.running(), f"synward ended by itself:\n{process.output()}"
        code = process.stop()
        assert code == 0, f"synward stopped with exit code {code}"
        assert "panicked" not in process.output(), "synward panicked: see its log"

    def command(self, *arguments):
        """Runs a command of synward against the running one. Returns exit code and output."""
        done = subprocess.run([SYNWARD, "--control", self.control, *arguments], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    def succeed(self, *arguments):
        """Runs a command of synward that has to exit with 0. Returns its output."""
        code, text = self.command(*arguments)
        assert code == 0, f"synward {' '.join(arguments)}: exit code {code}: {text}"
        return text

    def mode(self, mode):
        if self.responder == "none":
            return
        self.succeed("mode", "web", mode)

    def metrics(self):
        """All samples of the Prometheus endpoint, as {(name, ((label, value), …)): number}."""
        if self.responder == "none":
            return {}
        samples = {}
        for line in self.get("/metrics")[1].splitlines():
            if found := re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line):
                labels = tuple(sorted(re.findall(r'(\w+)="([^"]*)"', found[2] or "")))
                samples[found[1], labels] = float(found[3])
        return samples

    def get(self, path):
        """The status and text of a page of the HTTP endpoint."""
        with self.lab.inside(self.role):
            page = http.client.HTTPConnection("127.0.0.1", METRICS_PORT, timeout=PATIENCE)
            page.connect()
        page.request("GET", path)
        answer = page.getresponse()
        text = answer.read().decode()
        page.close()
        return answer.status, text

    def metric(self, name, **labels):
        """The sum of `synward_NAME` over all samples with these labels."""
        return total(self.metrics(), name, **labels)

    def carried(self, connections):
        """Checks that synward handed over at least so many connections: they did not pass it unnoticed."""
        if self.responder == "none":
            return
        handed = self.metric("handoffs_total", handoff=self.settings["handoff"], result="established")
        assert handed >= connections, f"{handed:.0f} connections were handed over, not {connections}"


def total(samples, name, **labels):
    """The sum of `synward_NAME` over all samples with these labels."""
    wanted = set(labels.items())
    return sum(number for (full, found), number in samples.items()
               if full == f"synward_{name}" and wanted <= set(found))


# ---- running a story


class Skip(Exception):
    """The story cannot run on this machine, and why."""


SKIPPED = 77


def local_story(run, *lab, **settings):
    """A story of a service on the machine that synward runs on, with a direct link to the client."""
    def with_synward(lab, synward):
        if synward.responder != "none":
            lab.free_server()
        synward.start()
        run(lab, synward)

    options = ("--file-mib", "1", "--arms", "none", *lab)
    story(with_synward, options, start=False, role="server", interfaces=AT_SERVER, handoff="local", **settings)


def story(run, lab=("--file-mib", "1"), start=True, **settings):
    """Runs a story as the command line asks: calls `run(lab, synward)`."""
    responder = sys.argv[1] if len(sys.argv) > 1 else "xdp"
    assert responder in ("afxdp", "xdp", "none"), f"no responder {responder}"
    exit_on_signals()
    place = Lab(lab_name(), *lab)
    synward = Synward(place, responder, **settings)
    try:
        if start:
            synward.start()
        run(place, synward)
        synward.stop()
    except Skip as reason:
        print(reason)
        sys.exit(SKIPPED)
    except Exception:
        print_state(place, synward)
        traceback.print_exc(file=sys.stdout)
        sys.exit(1)
    finally:
        place.down()


def lab_name():
    return os.environ.get("SYNWARD_STORY_LAB", f"story{os.getpid()}")


def exit_on_signals():
    """A signal raises SystemExit, so that `finally` removes the lab."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def print_state(lab, synward):
    """Prints what helps to understand a failure while the lab still exists."""
    if synward.process and synward.process.running():
        with contextlib.suppress(Exception):
            print("---- synward's metrics")
            for (name, labels), number in sorted(synward.metrics().items()):
                if number:
                    print(name, *(f"{key}={value}" for key, value in labels), number)
            print("---- synward status:", *synward.command("status"))
    for role in "client", "server":
        with contextlib.suppress(Exception):
            print(f"---- connections and TCP counters of the {role}")
            print(*lab.run(role, "ss", "-Htaonie").splitlines()[:40], sep="\n")
            print({name: count for name, count in lab.kernel_counters(role).items() if count})
    for process in lab.processes:
        print(f"---- the last lines of {process.name}.log")
        print(*process.output().splitlines()[-25:], sep="\n")
    print("---- the failure")


def receive_all(connection):
    """All bytes until the other end's FIN."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def receive(connection, length):
    """Exactly `length` bytes."""
    parts = b""
    while len(parts) < length:
        part = connection.recv(length - len(parts))
        assert part, f"the connection ended after {len(parts)} of {length} bytes"
        parts += part
    return parts


def talk(client, server, words=b"hello"):
    """Sends words in both directions, and receives them."""
    for one, other in (client, server), (server, client):
        one.sendall(words)
        assert receive(other, len(words)) == words


def same_address(one, other):
    return ipaddress.ip_address(one) == ipaddress.ip_address(other)
