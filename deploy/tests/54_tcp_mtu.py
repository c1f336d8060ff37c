"""Path MTU discovery works through a splice: with a link of 1300 bytes behind the client, behind the server, and at the edge
itself; bulk data both ways, IPv4 and IPv6."""

import contextlib
import hashlib
import socket
import subprocess
import threading
import time

from story import FAMILY, PATIENCE, PORT, SERVER, namespace, story, wait_until
from transfer import finished, pseudo_random

# A spliced connection does not depend on who answered its SYN.
ONCE = "xdp"
BESIDE_OTHERS = True
SMALL = 1300
DATA = pseudo_random(4)
FAR_CLIENT = {4: "203.0.113.2", 6: "2001:db8:c2::2"}
FAR_SERVER = {4: "198.18.1.10", 6: "2001:db8:e::10"}
# linux/in.h, linux/in6.h
MTU = {4: (socket.IPPROTO_IP, 14), 6: (socket.IPPROTO_IPV6, 24)}

SERVICE = f"""
[[service]]
name = "far"
addresses = ["{FAR_SERVER[4]}", "{FAR_SERVER[6]}"]
ports = [{PORT}]
handoff = "splice"
"""


def run(lab, synward):
    with behind(lab, "client", 1, FAR_CLIENT, ("198.51.100.2", "2001:db8:c::2")) as far:
        for family in 4, 6:
            carry(lab, family, SERVER, client=far, small={"server"}, where="behind the client")
    with behind(lab, "server", 2, FAR_SERVER, ("192.0.2.10", "2001:db8:5::10")) as far:
        for family in 4, 6:
            carry(lab, family, FAR_SERVER, server=far, small={"client"}, where="behind the server")
    at_the_edge(lab, synward)
    synward.carried(8)


def namespace_of(lab, role):
    return f"sw-{lab.name}-{role}"


def ip(lab, role, *words):
    with namespace(namespace_of(lab, role)):
        subprocess.run(["ip", *words], check=True)


@contextlib.contextmanager
def behind(lab, host, number, addresses, host_addresses):
    """Makes a router of one of the lab's hosts: it has a small link to another router, and that one a link to a new host."""
    middle, far = f"{host}mid", f"{host}far"
    near_net, far_net = f"172.31.{number}", addresses[4].rsplit(".", 1)[0]
    near_net6, far_net6 = f"2001:db8:b{number}:", addresses[6].split("::")[0] + ":"
    try:
        for role in middle, far:
            subprocess.run(["ip", "netns", "add", namespace_of(lab, role)], check=True)
            ip(lab, role, "link", "set", "lo", "up")
        cable(lab, host, "small0", middle, "up0", SMALL)
        cable(lab, middle, "down0", far, "far0", 1500)
        for role, device, four, six in (
            (host, "small0", f"{near_net}.1/24", f"{near_net6}:1/64"),
            (middle, "up0", f"{near_net}.2/24", f"{near_net6}:2/64"),
            (middle, "down0", f"{far_net}.1/24", f"{far_net6}:1/64"),
            (far, "far0", f"{addresses[4]}/24", f"{addresses[6]}/64"),
        ):
            ip(lab, role, "addr", "add", four, "dev", device)
            ip(lab, role, "addr", "add", six, "dev", device, "nodad")
        for role in host, middle:
            with lab.inside(role):
                subprocess.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"], check=True)
        for four, six, device in (f"{near_net}.0/24", f"{near_net6}:/64", None), (f"{far_net}.0/24", f"{far_net6}:/64", 1):
            ip(lab, "edge", "route", "add", four, "via", host_addresses[0])
            ip(lab, "edge", "route", "add", six, "via", host_addresses[1])
            if device:
                ip(lab, host, "route", "add", four, "via", f"{near_net}.2")
                ip(lab, host, "route", "add", six, "via", f"{near_net6}:2")
        for role, four, six in (middle, f"{near_net}.1", f"{near_net6}:1"), (far, f"{far_net}.1", f"{far_net6}:1"):
            ip(lab, role, "route", "add", "default", "via", four)
            ip(lab, role, "route", "add", "default", "via", six)
        yield far
    finally:
        for role in middle, far:
            subprocess.run(["ip", "netns", "del", namespace_of(lab, role)], check=False)


def cable(lab, one, device, other, peer, mtu):
    ip(lab, one, "link", "add", device, "mtu", str(mtu), "type", "veth",
       "peer", "name", peer, "mtu", str(mtu), "netns", namespace_of(lab, other))
    for role, name in (one, device), (other, peer):
        with lab.inside(role):
            subprocess.run(["ethtool", "-K", name, "tx", "off", "tso", "off", "gso", "off", "gro", "off"], check=True,
                           stdout=subprocess.DEVNULL)
        ip(lab, role, "link", "set", name, "up")


def carry(lab, family, addresses, client="client", server="server", small=(), where=""):
    """Data both ways over a new connection; the ends in `small` must have learned the MTU of the small link."""
    with lab.inside(server):
        listener = socket.socket(FAMILY[family])
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.settimeout(PATIENCE)
        listener.bind((addresses[family], PORT))
        listener.listen()
        with lab.inside(client):
            near = socket.socket(FAMILY[family])
        near.settimeout(PATIENCE)
        near.connect((addresses[family], PORT))
        far, _ = listener.accept()
        far.settimeout(PATIENCE)
    ends = {"client": near, "server": far}
    before = {name: path_mtu(end, family) for name, end in ends.items()}
    down = exchange(far, near)
    up = exchange(near, far)
    after = {name: path_mtu(end, family) for name, end in ends.items()}
    print(f"IPv{family}, a small link {where}: {len(DATA) >> 20} MiB down in {down:.2f} s, up in {up:.2f} s,"
          f" MTU {before} -> {after}")
    for name in small:
        assert before[name] == 1500, f"the {name} knew the MTU before: {before}"
        assert after[name] == SMALL, f"the {name} did not learn the MTU: {after}"
    finished(near, far)


def exchange(source, sink):
    """Sends the data one way, and leaves the connection open."""
    start = time.monotonic()
    sender = threading.Thread(target=source.sendall, args=(DATA,))
    sender.start()
    digest, length = hashlib.sha256(), 0
    while length < len(DATA):
        part = sink.recv(1 << 18)
        assert part, f"the connection ended after {length} bytes"
        digest.update(part)
        length += len(part)
    sender.join()
    assert digest.digest() == hashlib.sha256(DATA).digest(), "other data arrived than was sent"
    return time.monotonic() - start


def path_mtu(connection, family):
    return connection.getsockopt(*MTU[family])


def at_the_edge(lab, synward):
    """The edge's own next link is the small one: its kernel reports that, quoting segments as their senders sent them. SYN-ACKs
    promise clients no more than fits through a route towards them, so that nobody would learn anything there; a moment later
    than the routes change."""
    for device, host, small, towards in (
        ("out0", ("198.51.100.2", "2001:db8:c::2"), "server", "client"),
        ("in0", ("192.0.2.10", "2001:db8:5::10"), "client", "server"),
    ):
        lab.run("edge", "ip", "route", "add", f"{host[0]}/32", "dev", device, "mtu", "lock", str(SMALL))
        lab.run("edge", "ip", "-6", "route", "add", f"{host[1]}/128", "dev", device, "mtu", "lock", str(SMALL))
        for role in "client", "server":
            lab.run(role, "ip", "route", "flush", "cache")
            lab.run(role, "ip", "-6", "route", "flush", "cache")
        wait_until("SYN-ACKs promise what fits", lambda: promises(synward) == (towards == "client"))
        for family in 4, 6:
            carry(lab, family, SERVER, small={small}, where=f"at the edge, towards the {towards}")
        lab.run("edge", "ip", "route", "del", f"{host[0]}/32", "dev", device)
        lab.run("edge", "ip", "-6", "route", "del", f"{host[1]}/128", "dev", device)


def promises(synward):
    """Whether SYN-ACKs promise no more than fits through a small link towards clients, by the log."""
    bounds = [line for line in synward.process.output().splitlines() if "largest MSS" in line]
    return bool(bounds) and f"bound={SMALL - 40} (IPv4), {SMALL - 60} (IPv6)" in bounds[-1]


story(run, lab=("--no-nginx",), service=SERVICE)
