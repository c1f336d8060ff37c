"""The namespaces around a guest: a client and a server, each at the other end of one of its interfaces."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

# Two matrices with different names may run at the same time.
LAB = os.environ.get("SYNWARD_DRIVERS_LAB", "drivers")
NAMESPACES = BOOT_NAMESPACE, CLIENT, SERVER = tuple(f"sw-{LAB}-{part}" for part in ("boot", "client", "server"))

# Addresses and MACs are those of deploy/lab.
CLIENT_SIDE = {4: "198.51.100.1", 6: "2001:db8:c::1"}
SERVERS = {4: "192.0.2.10", 6: "2001:db8:5::10"}
# The MAC of the client's end and of the server's.
ENDS = {"out0": "02:53:57:00:00:01", "in0": "02:53:57:00:00:04"}
VLAN = 7
BIG = 1 << 20

NGINX = """user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{ access_log off; server {{ listen 80; listen [::]:80; root {folder}; default_type text/plain; }} }}
"""


def inside(namespace, script, check=True):
    """The output of a shell script in a namespace."""
    done = subprocess.run(["ip", "netns", "exec", namespace, "sh", "-c", script], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if check and done.returncode:
        raise RuntimeError(f"exit code {done.returncode} in {namespace}:\n{script}\n{done.stdout}")
    return done.stdout


@contextlib.contextmanager
def namespaces():
    """Makes the namespaces, and removes them. Removes those of a run that was killed."""
    remove_namespaces()
    try:
        for name in NAMESPACES:
            subprocess.run(["ip", "netns", "add", name], check=True)
            inside(name, "ip link set lo up; sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0")
        yield
    finally:
        remove_namespaces()


def remove_namespaces():
    for name in NAMESPACES:
        if not Path(f"/run/netns/{name}").exists():
            continue
        for process in subprocess.run(["ip", "netns", "pids", name], text=True, stdout=subprocess.PIPE).stdout.split():
            subprocess.run(["kill", process], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "netns", "del", name])


def wire(case):
    """Gives the ends of the guest's interfaces their addresses, with the MTU and the VLAN of a case."""
    lines = []
    for device, namespace, host, gateway in (("out0", CLIENT, 2, 1), ("in0", SERVER, 10, 1)):
        four, six = ("198.51.100", "2001:db8:c") if device == "out0" else ("192.0.2", "2001:db8:5")
        gateway_mac = "02:53:57:00:00:02" if device == "out0" else "02:53:57:00:00:03"
        end = "plain0" if (case.vlan or case.ports > 1) and device == "out0" else device
        lines = [f"ip link set {device} down; ip addr flush dev {device}; ip link del plain0 2>/dev/null || true"]
        if end == "plain0" and case.ports > 1:
            lines.append("ip link set out1 up promisc on")
        if end == "plain0" and case.upper in ("bond", "bridge"):
            # A switch. A bridge in the guest has the client behind one of its ports.
            lines.append("ip link add plain0 type bridge stp_state 0 forward_delay 0; ip link set out0 master plain0")
            if case.upper == "bond":
                lines.append("ip link set out1 master plain0")
        elif end == "plain0":
            lines.append("ip link add plain0 type veth peer name relay0; ip link set relay0 up promisc on; "
                         "ethtool -K plain0 tx off >/dev/null; ethtool -K relay0 tx off >/dev/null")
        lines += [
            f"ip link set {device} mtu {case.mtu}; ip link set {end} address {ENDS[device]}",
            f"ip link set {device} up promisc {'on' if end != device else 'off'}; ip link set {end} up mtu {case.mtu}",
            f"ip addr add {four}.{host}/24 dev {end}; ip -6 addr add {six}::{host}/64 dev {end} nodad",
            f"ip neigh replace {four}.{gateway} lladdr {gateway_mac} dev {end}",
            f"ip -6 neigh replace {six}::{gateway} lladdr {gateway_mac} dev {end}",
            f"ip route replace default via {four}.{gateway}; ip -6 route replace default via {six}::{gateway}",
        ]
        inside(namespace, "set -e\n" + "\n".join(lines))
    set_checksums(case)


def set_checksums(case):
    """Lets the ends finish checksums, or leave them to the device as peers on the same host do. A driver that attaches a
    program changes this at its tap, so it is set again afterwards."""
    state = "on" if case.unfinished_checksums else "off"
    for device, namespace in (("out0", CLIENT), ("in0", SERVER)):
        inside(namespace, f"ethtool -K {device} tx {state} >/dev/null; ethtool -K {device} tso off gso off gro off >/dev/null")


@contextlib.contextmanager
def nginx(folder):
    """A web server in the server's namespace."""
    write_site(folder)
    process = subprocess.Popen(["ip", "netns", "exec", SERVER, "nginx", "-p", folder, "-c", folder / "nginx.conf",
                                "-e", folder / "error.log", "-g", "daemon off;"])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def write_site(folder):
    """The configuration and the files of a web server. The guest's reads the same ones."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    (folder / "small").write_text("synward lab\n")
    (folder / "big").write_bytes(b"x" * BIG)


def tag_relay():
    """Carries frames between the client's plain0 and out0, with a VLAN tag on out0. Some kernels have no 802.1Q device."""
    return relay("tag_relay.py", "relay0", "out0", str(VLAN))


def trunk_relay():
    """Carries frames between the client's plain0 and both ports. Some kernels have no bonds."""
    return relay("trunk_relay.py", "relay0", "out0", "out1")


@contextlib.contextmanager
def relay(*command):
    relay = subprocess.Popen(["ip", "netns", "exec", CLIENT, sys.executable, Path(__file__).with_name(command[0]), *command[1:]])
    time.sleep(0.5)
    try:
        yield
    finally:
        relay.terminate()
        relay.wait()
