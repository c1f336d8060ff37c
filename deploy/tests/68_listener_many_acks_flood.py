"""The valid ACKs of many clients arrive together where the accept queue has room for a few: the others connect later."""

from listeners import answered_flood, linux_syn, next_client_port, server_socket
from segments import ACK, PSH, SERVER_MAC, Wire, shake_hands
from story import local_story, wait_until

# The kernel and the XDP program handle ACKs; no responder sees them.
ONCE = "xdp"


def run(lab, synward):
    if synward.responder == "none":
        return
    for family in 4, 6:
        many_acks(lab, synward, family)


def many_acks(lab, synward, family):
    wire = Wire(lab, "client", "client0", SERVER_MAC)
    with server_socket(lab, family) as listener:
        listener.listen(8)
        listener.setblocking(False)
        acks = {port: shake_hands(wire, linux_syn(family, port)) for port in range(28000, 28064)}
        # During a flood the kernel takes segments in batches, and checks each before the first of them is accepted.
        flood = answered_flood(lab, synward, family, 300)
        before = lab.kernel_counters()["ListenOverflows"]
        for ack in acks.values():
            wire.send(ack)

        def all_accepted():
            while port := next_client_port(listener):
                acks.pop(port, None)
            for ack in acks.values():
                wire.send(ack.but(flags=ACK | PSH, payload=b"hello"))
            return not acks

        wait_until("all are accepted", all_accepted, 60)
        flood.stop()
        overflows = lab.kernel_counters()["ListenOverflows"] - before
        print(f"IPv{family}: 64 valid ACKs together; the accept queue was full {overflows} times")


local_story(run, "--no-nginx")
