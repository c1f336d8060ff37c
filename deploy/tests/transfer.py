"""Bulk data through a connection, what the kernels at both ends report about it, and the path's delay and loss."""

import contextlib
import hashlib
import itertools
import os
import random
import re
import socket
import subprocess
import threading
import time
from typing import NamedTuple

from story import FAST, PORT, receive_all

MIB = 1 << 20
# Downloads of so many MiB, and uploads of a quarter, in place of the usual amounts.
WHOLE = int(os.environ.get("SYNWARD_TRANSFER_MIB", 0))
# Whether the client has timestamps, and the direction, of the transfers over a bad path. With --fast each occurs once.
PAIRS = ((True, "download"), (False, "upload")) if FAST else tuple(itertools.product((True, False), ("download", "upload")))


class Case(NamedTuple):
    """A transfer over a bad path."""
    rtt: str
    control: str
    stamped: bool
    direction: str

    def __str__(self):
        return f"rtt {self.rtt:4} {self.control:5} {'with' if self.stamped else 'without':7} timestamps {self.direction:8}"


def each_case(lab, synward):
    """Sets up each setting of `rtt` with each congestion control and each of PAIRS. The caller then makes a connection for the
    transfer, which synward has to carry."""
    transfers = 0
    for rtt, control in itertools.product(("fast", "true"), ("cubic", "bbr")):
        if synward.settings["service"] != f'rtt = "{rtt}"':
            synward.stop()
            synward.start(service=f'rtt = "{rtt}"')
            transfers = 0
        congestion_control(lab, control)
        for stamped, direction in PAIRS:
            timestamps(lab, stamped)
            yield Case(rtt, control, stamped, direction)
            transfers += 1
            synward.carried(transfers)


def pseudo_random(mib):
    """`mib` MiB, the same every time, without equal blocks."""
    source = random.Random(mib)
    return b"".join(source.randbytes(MIB) for _ in range(mib))


def part(data, direction):
    """The part of `data` that goes in this direction."""
    return memoryview(data)[: len(data) // 4] if WHOLE and direction == "upload" else data


def timestamps(lab, on):
    """Sets whether the client offers timestamps. Windows does not."""
    lab.run("client", "sysctl", "-qw", f"net.ipv4.tcp_timestamps={int(on)}")


def request_ecn(lab, on):
    """Sets whether the client requests ECN. Linux servers accept it."""
    lab.run("client", "sysctl", "-qw", f"net.ipv4.tcp_ecn={1 if on else 2}")


def congestion_control(lab, name):
    """Sets the congestion control of both ends."""
    for role, gateways in ("client", ("198.51.100.1", "2001:db8:c::1")), ("server", ("192.0.2.1", "2001:db8:5::1")):
        for gateway in gateways:
            family = "-6" if ":" in gateway else "-4"
            lab.run(role, "ip", family, "route", "change", "default", "via", gateway, "congctl", name)


def connection(lab, family, port=PORT, seconds=30):
    """Both ends of a new connection with a longer timeout."""
    client, server = lab.pair(family, port)
    client.settimeout(seconds)
    server.settimeout(seconds)
    return client, server


def send(source, sink, data, meanwhile=None):
    """Sends the data in one direction, closes that direction and checks what arrived. Returns the seconds that it took.

    `meanwhile()` is called once, when half of the data has arrived.
    """
    digest, failures = hashlib.sha256(), []

    def deliver():
        try:
            # In pieces: a timeout applies to a whole call.
            for start in range(0, len(data), MIB):
                source.sendall(data[start : start + MIB])
            source.shutdown(socket.SHUT_WR)
        except OSError as error:
            failures.append(error)

    sender = threading.Thread(target=deliver)
    start = time.monotonic()
    sender.start()
    length = 0
    try:
        while part := sink.recv(1 << 18):
            digest.update(part)
            length += len(part)
            if meanwhile and length > len(data) // 2:
                meanwhile()
                meanwhile = None
    except OSError as error:
        failures.append(error)
    took = time.monotonic() - start
    if failures:
        source.close()
    sender.join()
    assert not failures, f"after {length} of {len(data)} bytes and {took:.1f} s: {failures}"
    assert length == len(data), f"{length} bytes arrived, not {len(data)}"
    assert digest.digest() == hashlib.sha256(data).digest(), "other data arrived than was sent"
    return took


def source_and_sink(direction, client, server):
    """Source and sink of a "download" or an "upload"."""
    return (server, client) if direction == "download" else (client, server)


class End:
    """What `ss -tio` prints for one end of a connection."""

    def __init__(self, lab, role, port):
        side = "sport" if role == "server" else "dport"
        self.role = role
        self.text = lab.run(role, "ss", "-tionH", "state", "connected", side, "=", f":{port}")
        self.words = self.text.split()

    def has(self, word):
        return word in self.words

    def wscale(self):
        """Shift of the other end's windows, shift of this end's windows; None without scaling."""
        found = re.search(r"wscale:(\d+),(\d+)", self.text)
        return (int(found[1]), int(found[2])) if found else None


def both_ends(lab, port=PORT):
    return End(lab, "client", port), End(lab, "server", port)


def negotiated(lab, stamped, port=PORT):
    """Checks that both ends have SACK and scaling, and timestamps if the client offers them."""
    client, server = both_ends(lab, port)
    for end in client, server:
        assert end.has("sack"), f"no SACK at the {end.role}: {end.text}"
        assert end.has("ts") == stamped, f"timestamps at the {end.role}, with the client's {stamped}: {end.text}"
        assert end.wscale(), f"no window scaling at the {end.role}: {end.text}"
    assert client.wscale()[1] == server.wscale()[0], \
        f"the server scales the client's windows by another shift:\n{client.text}{server.text}"
    # In the other direction they may differ: synward shifts a server's windows until it has learned the server's shift.
    return client, server


def counter(lab, role, name):
    """A counter of the kernel's TCP in this namespace, by its nstat name."""
    with lab.inside(role):
        lines = open("/proc/thread-self/net/netstat").read().splitlines()
    for names, values in zip(lines[::2], lines[1::2]):
        table = dict(zip(names.split(), values.split()))
        if name in table:
            return int(table[name])
    raise KeyError(name)


def finished(client, server):
    """Closes both ends, and checks that no more data arrives."""
    for end in client, server:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_WR)
    for end in client, server:
        with end:
            assert receive_all(end) == b""


def sum_of(lab, role, *command):
    """The SHA-256 of a command's output in the role's namespace."""
    with lab.inside(role):
        return sum_of_output(subprocess.Popen(command, stdout=subprocess.PIPE))


def sum_of_output(source):
    """The SHA-256 of what a process writes to its pipe `stdout`."""
    done = subprocess.run(["sha256sum"], stdin=source.stdout, stdout=subprocess.PIPE, text=True, check=True)
    source.stdout.close()
    assert source.wait() == 0, f"{source.args[0]} exited with {source.returncode}"
    return done.stdout.split()[0]
