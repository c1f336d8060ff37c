"""The kernel has answered a client's SYN, and a flood hides that from synward: the client's valid cookie resets the
half-open connection."""

import time

from listeners import PATIENT, answered_flood, linux_syn, next_client_port, server_socket
from segments import SERVER_MAC, SPOOFED, Wire, answer_to, shake_hands
from story import local_story, wait_until

# The XDP program at TC resets the half-open connection, whoever answered the SYN.
ONCE = "xdp"
PORT = 27000


def run(lab, synward):
    if synward.responder == "none":
        return
    for family in 4, 6:
        half_open(lab, synward, family)


def half_open(lab, synward, family):
    wire = Wire(lab, "client", "client0", SERVER_MAC)
    wire.only(f"dst host {SPOOFED[family]}")
    syn = linux_syn(family, PORT)
    with server_socket(lab, family) as listener:
        listener.listen(64)
        listener.setblocking(False)
        synward.mode("off")
        kernels = shake_hands(wire, syn)
        synward.mode("always")
        before = synward.metric("handoffs_total", result="stale_reset")
        flood = answered_flood(lab, synward, family, 300)
        ours = cookie_for(wire, syn, kernels)
        wait_until("the client is accepted", lambda: wire.send(ours) or next_client_port(listener) == PORT, PATIENT / 3)
        assert synward.metric("handoffs_total", result="stale_reset") == before + 1
        flood.stop()
    print(f"IPv{family}, during a flood: a valid cookie reset the kernel's half-open connection")


def cookie_for(wire, syn, kernels):
    """The ACK for synward's answer to a SYN. The kernel retransmits its own for the first SYNs of a jiffy."""
    until = time.monotonic() + PATIENT
    while time.monotonic() < until:
        for _ in range(100):
            wire.send(syn)
        answer = wire.see(lambda segment: segment.answers(syn) and segment.seq != kernels.ack - 1, 0.3)
        if answer:
            return answer_to(syn, answer)
    raise AssertionError("only the kernel answers")


local_story(run, "--no-nginx")
