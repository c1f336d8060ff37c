"""A worker whose driver completes nothing any more is bypassed and its socket opened again: clients are served meanwhile, and
`status` names the queue until the worker answers again."""

import socket

from story import BENCH, PATIENCE, PORT, SERVER, story, talk, total, wait_until

# Only with this responder do workers transmit answers.
VARIANTS = ("afxdp",)
BESIDE_OTHERS = True

INTERFACES = "\n\n".join(f'[[interface]]\nname = "{name}"\nside = "{side}"\nxdp = "generic"'
                         for name, side in (("out0", "outside"), ("in0", "inside")))
STALLED = "the driver of out0 does not complete the frames that the socket of queue"
CLOSED = "the kernel still holds frames that were sent through the closed one"
# What is sent to this port of the client is held, as by a driver that completes nothing.
HELD_PORT = 7777
# Frames of a UMEM.
FRAMES = 8192


def run(lab, synward):
    if synward.responder == "none":
        return
    # With an XDP program at the other end, a veth copies packets and frees them. Generic XDP needs none there.
    assert lab.start("client", "pass", BENCH, "pass", "--interface", "client0", "--detach").wait() == 0
    synward.start()
    hold(lab)
    with lab.listen(), connecting(lab) as held:
        held.setblocking(False)
        held.connect_ex((SERVER[4], PORT))
        wait_until("the log names the queue", lambda: f"degraded: {STALLED}" in synward.process.output())
        wait_until("the socket is closed", lambda: CLOSED in degraded(synward))
    for _ in range(3):
        # One of them arrives on a queue without a socket.
        for family in 4, 6:
            ends = lab.pair(family)
            talk(*ends)
            for end in ends:
                end.close()
    assert CLOSED in degraded(synward), "the socket was opened before its frames were complete"

    lab.run("client", "tc", "qdisc", "del", "dev", "hold0", "root")
    wait_until("the workers answer again", lambda: not degraded(synward))
    log = synward.process.output()
    closed = log.count("the driver completes nothing: the socket is closed and opened again")
    assert 1 <= closed <= 2 and log.count("socket bound") == 4 + closed, log
    wait_until("every worker reports its sockets", lambda: every_frame_is_accounted_for(synward))
    answered = synward.metric("answers_total", by="afxdp")
    with lab.listen() as listener, connecting(lab) as served:
        served.connect((SERVER[4], PORT))
        talk(served, listener.accept()[0])
    assert synward.metric("answers_total", by="afxdp") > answered, "no worker answered"


def hold(lab):
    """Holds what the client receives for `HELD_PORT` in a queue of its kernel. A frame of a socket in copy mode is complete when
    the kernel frees its packet (xsk_destruct_skb, net/xdp/xsk.c)."""
    def run(*command):
        lab.run("client", *command)

    run("ip", "link", "add", "hold0", "type", "ifb")
    run("sysctl", "-qw", "net.ipv6.conf.hold0.disable_ipv6=1")
    run("ip", "link", "set", "hold0", "up")
    run("tc", "qdisc", "add", "dev", "hold0", "root", "tbf", "rate", "8bit", "burst", "1514", "limit", "10000")
    # One frame uses up what may pass in the next minutes.
    with lab.inside("client"), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as first:
        first.bind(("hold0", 0))
        first.send(bytes(1500))
    run("tc", "qdisc", "add", "dev", "client0", "clsact")
    run("tc", "filter", "add", "dev", "client0", "ingress", "protocol", "ip", "u32", "match", "ip", "dport", str(HELD_PORT),
        "0xffff", "action", "mirred", "egress", "redirect", "dev", "hold0")


def connecting(lab):
    """A client's socket that will connect from `HELD_PORT`."""
    with lab.inside("client"):
        client = socket.socket()
    client.settimeout(PATIENCE)
    client.bind(("", HELD_PORT))
    return client


def every_frame_is_accounted_for(synward):
    samples = synward.metrics()
    queues = [dict(interface=interface, queue=queue) for interface in ("out0", "in0") for queue in ("0", "1")]
    return [total(samples, "xsk_frames", **queue) for queue in queues] == [FRAMES] * 4


def degraded(synward):
    return " ".join(synward.status()["degraded"])


story(run, start=False, interfaces=INTERFACES)
