"""Bulk data through a connection, what the kernels at both ends say of it, and the path's weather."""

import contextlib
import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time

from story import BENCH, PORT, receive_all, wait_until

MIB = 1 << 20
# Downloads of so many MiB, and uploads of a quarter, in place of the usual amounts.
WHOLE = int(os.environ.get("SYNWARD_TRANSFER_MIB", 0))


def pseudo_random(mib):
    """So many MiB, the same every time, no two blocks alike."""
    source = random.Random(mib)
    return b"".join(source.randbytes(MIB) for _ in range(mib))


def part(data, direction):
    """What of `data` goes in a direction."""
    return memoryview(data)[: len(data) // 4] if WHOLE and direction == "upload" else data


def timestamps(lab, on):
    """Whether the client offers timestamps from now on. Windows does not."""
    lab.run("client", "sysctl", "-qw", f"net.ipv4.tcp_timestamps={int(on)}")


def asks_for_ecn(lab, on):
    """Whether the client asks for ECN from now on. Linux servers agree when asked."""
    lab.run("client", "sysctl", "-qw", f"net.ipv4.tcp_ecn={1 if on else 2}")


def congestion_control(lab, name):
    """Both ends' congestion control from now on."""
    for role, gateways in ("client", ("198.51.100.1", "2001:db8:c::1")), ("server", ("192.0.2.1", "2001:db8:5::1")):
        for gateway in gateways:
            family = "-6" if ":" in gateway else "-4"
            lab.run(role, "ip", family, "route", "change", "default", "via", gateway, "congctl", name)


def weather(lab, delay_ms, loss=0, reorder=0):
    """The delay line starts anew: MS in each direction, shares of lost and overtaken frames."""
    for pid in lab.run("client", "ip", "netns", "pids", f"sw-{lab.name}-line").split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTERM)
    wait_until("the old line ends", lambda: not lab.run("client", "ip", "netns", "pids", f"sw-{lab.name}-line"))
    line = lab.start("line", "line", BENCH, "delay", "--near", "near", "--far", "far", "--delay-ms", str(delay_ms),
                     "--loss", str(loss), "--reorder", str(reorder))
    wait_until("the line is ready", lambda: "ready" in line.output())


def connection(lab, family, port=PORT, seconds=30):
    """Both ends of a new connection that may take its time."""
    client, server = lab.pair(family, port)
    client.settimeout(seconds)
    server.settimeout(seconds)
    return client, server


def send(source, sink, data, meanwhile=None):
    """Sends all of the data one way and closes that way; gives the seconds that took. The data arrives unharmed.

    `meanwhile()` is called once, when some of the data has arrived.
    """
    digest, failures = hashlib.sha256(), []

    def deliver():
        try:
            # In pieces: a time-out counts for all of a call.
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


def way(direction, client, server):
    """Source and sink of a "download" or an "upload"."""
    return (server, client) if direction == "download" else (client, server)


class End:
    """What `ss -tio` says of one end of a connection."""

    def __init__(self, lab, role, port):
        side = "sport" if role == "server" else "dport"
        self.role = role
        self.text = lab.run(role, "ss", "-tionH", "state", "connected", side, "=", f":{port}")
        self.words = self.text.split()

    def has(self, word):
        return word in self.words

    def wscale(self):
        """Shift of what the other end announces, shift of what this end does; nothing without scaling."""
        found = re.search(r"wscale:(\d+),(\d+)", self.text)
        return (int(found[1]), int(found[2])) if found else None


def both_ends(lab, port=PORT):
    return End(lab, "client", port), End(lab, "server", port)


def negotiated(lab, stamped, port=PORT):
    """Sees to it that both ends have SACK and scaling, and timestamps as the client offers them."""
    client, server = both_ends(lab, port)
    for end in client, server:
        assert end.has("sack"), f"no SACK at the {end.role}: {end.text}"
        assert end.has("ts") == stamped, f"timestamps at the {end.role}, with the client's {stamped}: {end.text}"
        assert end.wscale(), f"no window scaling at the {end.role}: {end.text}"
    assert client.wscale()[1] == server.wscale()[0], \
        f"the server takes the client's windows for others:\n{client.text}{server.text}"
    # The other way they may differ: synward shifts a server's windows until it has learned what the server does.
    return client, server


def counter(lab, role, name):
    """A counter of the kernel's TCP in this namespace, as nstat calls it."""
    with lab.inside(role):
        lines = open("/proc/thread-self/net/netstat").read().splitlines()
    for names, values in zip(lines[::2], lines[1::2]):
        table = dict(zip(names.split(), values.split()))
        if name in table:
            return int(table[name])
    raise KeyError(name)


def finished(client, server):
    """Both close, and nothing more comes."""
    for end in client, server:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_WR)
    for end in client, server:
        with end:
            assert receive_all(end) == b""


def sum_of(lab, role, *command):
    """The sha256 of what a command in the role's namespace prints."""
    with lab.inside(role):
        source = subprocess.Popen(command, stdout=subprocess.PIPE)
    done = subprocess.run(["sha256sum"], stdin=source.stdout, stdout=subprocess.PIPE, text=True, check=True)
    source.stdout.close()
    assert source.wait() == 0, f"{command[0]} exited with {source.returncode}"
    return done.stdout.split()[0]
