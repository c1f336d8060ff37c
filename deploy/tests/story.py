"""What every story needs: synward in front of the server of a lab (netns_lab.py), and words between the ends of a connection.

A story is an end-to-end test: a file NN_name.py that passes a function to `story()`. `python3 NN_name.py RESPONDER` builds a
lab, starts synward with that responder ("afxdp", "xdp", or "none": the kernel forwards, to try the story itself), calls the
function, stops synward and removes the lab. It exits with 0 if all of that succeeds.

deploy/test runs a story with both responders and alone, unless its file says otherwise: see plan.py.
"""

import contextlib
import http.client
import ipaddress
import json
import os
import re
import signal
import subprocess
import sys
import traceback

# Stories import these from here, too.
from netns_lab import (  # noqa: F401
    BENCH, CLIENT, FAMILY, FAST, FLOOD_SOURCES, FULL, METRICS_PORT, PATIENCE, PORT, RELEASE, ROOT, SERVER, START,
    SYNWARD, Lab, libc, namespace, wait_until)

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

    def __init__(self, lab, responder, role="edge", name="synward", options=(), **settings):
        """`options` are those of the command line."""
        self.lab = lab
        self.role = role
        self.name = name
        self.responder = responder
        self.options = options
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
        self.process = self.lab.start(self.role, self.name, SYNWARD, "run", "--config", self.file, *self.options)
        wait_until("synward is ready", self.ready, START)
        # A worker counts as alive from its first heartbeat.
        wait_until("all workers are alive", self.workers_alive, START)

    def workers_alive(self):
        return all(alive for (name, _), alive in self.metrics().items() if name == "synward_worker_alive")

    def ready(self):
        assert self.process.running(), f"synward ended before it was ready:\n{self.process.output()}"
        return re.search(r"\bready\b", self.process.output())

    def refusal(self, *prefix):
        """The line with which it refuses to start. `prefix` is a command that runs it."""
        process = self.lab.start(self.role, "refused", "env", "SYNWARD_LOG=error", *prefix, SYNWARD, "run", "--config", self.file)
        try:
            code = process.wait(START)
        except subprocess.TimeoutExpired:
            process.stop()
            raise AssertionError(f"synward runs, though it should refuse:\n{process.output()}") from None
        text = process.output().strip()
        assert code == 1, f"exit code {code}, not 1: {text}"
        assert len(text.splitlines()) == 1, f"more than one line: {text}"
        return text

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

    def status(self):
        """What `status --json` shows, whatever its exit code is."""
        return json.loads(self.command("status", "--json")[1])

    def queues(self, name):
        """The queues of an interface, those with a socket if there are workers."""
        now = self.status()
        interface = next(one for one in now["interfaces"] if one["name"] == name)
        return [one["queue"] for one in interface["queues"] if not now["workers"] or one["zero_copy"] is not None]

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
