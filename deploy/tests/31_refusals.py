"""synward refuses what cannot work with one line and exit code 1, and leaves the system unchanged."""

import ctypes
import mmap
import os
import signal
import socket
import struct

from story import BENCH, PORT, TWO_ARMS, libc, story, talk
from traces import difference, system

# The checks before the start are the same for both responders.
ONCE = "afxdp"
BESIDE_OTHERS = True
# Enough for the programs and the sockets of this lab, but not for those who ask.
FEW_FILES = ("prlimit", "--nofile=64:64")


def run(lab, synward):
    wrong_configuration(lab, synward)
    wrong_machine(lab, synward)
    absent_interface(lab, synward)
    missing_capabilities(lab, synward)
    occupied_queue(lab, synward)
    foreign_program(lab, synward)
    occupied_port(lab, synward)
    second_appliance(lab, synward)
    after_a_kill(lab, synward)


def wrong_configuration(lab, synward):
    for words, settings in (
        (["synward.toml:", "mode", "allways"], {"mode": "allways"}),
        (["synward.toml:", "ports", "70000"], {"ports": [70000]}),
        (["synward.toml:", "fragmets", "fragments"], {"service": 'fragmets = "drop"'}),
    ):
        refused(lab, synward, words, **settings)


def wrong_machine(lab, synward):
    refused(lab, synward, ["core 8191 is not available", "cores = [0"], appliance="cores = [8191]")
    read_only = ("sh", "-c", 'mount -o remount,ro,bind /sys/fs/bpf; exec "$0" "$@"')
    refused(lab, synward, ["/sys/fs/bpf/synward", "remount,rw"], read_only)
    refused(lab, synward, ["LimitNOFILE=", "4 queue(s)"], FEW_FILES)


def absent_interface(lab, synward):
    refused(lab, synward, ["nosuch0"], interfaces=TWO_ARMS.replace("in0", "nosuch0"))


def missing_capabilities(lab, synward):
    # CAP_SYS_ADMIN stands for the others.
    for capability in "net_admin", "bpf", "net_raw":
        without = ("setpriv", "--bounding-set", f"-{capability},-sys_admin", "--inh-caps", f"-{capability},-sys_admin")
        refused(lab, synward, [f"CAP_{capability.upper()}"], without)


def occupied_queue(lab, synward):
    with lab.inside("edge"):
        other = xdp_socket("out0", 1)
    refused(lab, synward, ["out0", "queue 1"])
    other.close()


def foreign_program(lab, synward):
    on_the_edge = (BENCH, "pass", "--interface", "out0")
    assert lab.start("edge", "pass", *on_the_edge).wait() == 0
    refused(lab, synward, ["out0", "XDP"])
    assert lab.start("edge", "pass", *on_the_edge, "--detach").wait() == 0


def occupied_port(lab, synward):
    with lab.inside("edge"):
        other = socket.create_server(("127.0.0.1", 9470))
    refused(lab, synward, ["127.0.0.1:9470"])
    other.close()


def second_appliance(lab, synward):
    synward.start()
    client, server = lab.pair(port=PORT)
    refused(lab, synward, ["another synward", "/sys/fs/bpf/synward"])
    separate = 'metrics = ""\npin = "/sys/fs/bpf/second"'
    synward.control = lab.folder / "second.sock"
    refused(lab, synward, ["out0"], appliance=separate)
    # The first one keeps working.
    client.sendall(b"still here")
    assert server.recv(100) == b"still here"
    synward.control = lab.folder / "synward.sock"


def after_a_kill(lab, synward):
    """What the killed process has left in place stays: connections go on."""
    client, server = lab.pair(port=PORT)
    os.kill(synward.process.pid, signal.SIGKILL)
    synward.process.wait()
    synward.process = None
    with lab.inside("edge"):
        other = socket.create_server(("127.0.0.1", 9470))
    refused(lab, synward, ["127.0.0.1:9470"])
    talk(client, server)
    other.close()
    # A start removes the socket file of a dead process, also one that is refused then.
    synward.control.unlink()
    refused(lab, synward, ["LimitNOFILE="], FEW_FILES)
    talk(client, server)
    usual, synward.control = synward.control, lab.folder / "nginx"
    refused(lab, synward, ["nginx exists and is not a socket"])
    talk(client, server)
    synward.control = usual
    synward.start()
    talk(client, server)


def refused(lab, synward, words, prefix=(), **settings):
    """Starts synward, which must refuse with these words."""
    usual = dict(synward.settings)
    synward.configure(**settings)
    synward.settings = usual
    before = system(lab)
    text = synward.refusal(*prefix)
    print(text)
    for word in words:
        assert word in text, f"the line does not name {word}"
    changed = difference(before, system(lab))
    assert not changed, f"the refusal left changes behind:\n{changed}"


# ---- an AF_XDP socket in a few lines: linux/if_xdp.h

AF_XDP, SOL_XDP = 44, 283
RX_RING, UMEM_REG, FILL_RING, COMPLETION_RING = 2, 4, 5, 6


def xdp_socket(interface, queue):
    """A socket that is bound to the interface's queue until it is closed."""
    xdp = socket.socket(AF_XDP, socket.SOCK_RAW)
    memory = mmap.mmap(-1, 64 * 4096)
    area = struct.pack("=QQIIII", ctypes.addressof(ctypes.c_char.from_buffer(memory)), len(memory), 4096, 0, 0, 0)
    xdp.setsockopt(SOL_XDP, UMEM_REG, area)
    for ring in FILL_RING, COMPLETION_RING, RX_RING:
        xdp.setsockopt(SOL_XDP, ring, 64)
    address = struct.pack("=HHIII", AF_XDP, 0, socket.if_nametoindex(interface), queue, 0)
    if libc.bind(xdp.fileno(), address, len(address)) != 0:
        raise OSError(ctypes.get_errno(), "bind of an AF_XDP socket")
    return xdp


story(run, start=False)
