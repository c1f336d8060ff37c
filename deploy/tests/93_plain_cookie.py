"""A valid cookie without timestamps has a MAC of 25 bits, which can be guessed. It resets no connection that the server's
kernel has on the same addresses and ports, and no TIME_WAIT. The client's own connection goes on.

The limit on wrong ones does not count the segments of connections that were never challenged."""

from listeners import client_socket
from segments import ACK, PSH, SERVER_MAC, WINDOWS, SYN, Segment, Wire, shake_hands
from story import CLIENT, PORT, SERVER, local_story, talk, wait_until
from transfer import timestamps

# The program at TC decides; no responder sees the ACK.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synward):
    if synward.responder == "none":
        return
    timestamps(lab, False)
    wire = Wire(lab, "client", "client0", SERVER_MAC)
    for family in 4, 6:
        with lab.listen(family) as listener:
            for number, end in enumerate(("established", "TIME_WAIT")):
                port = 42_000 + number
                forged = valid_ack(wire, family, port)
                client = connect(lab, family, port)
                server, _ = listener.accept()
                if end == "TIME_WAIT":
                    server.close()
                    assert client.recv(1) == b""
                    client.close()
                before = resets(synward)
                passed = synward.metric("segments_total", fate="passed")
                # In TIME_WAIT the kernel answers, and the client's kernel, which has no such connection, resets it.
                wire.send(forged)
                if end == "established":
                    wire.send(forged.but(flags=ACK | PSH, payload=b"forged"))
                wait_until("it has passed to the kernel",
                           lambda: synward.metric("segments_total", fate="passed") > passed)
                assert resets(synward) == before, f"{end}: {resets(synward) - before:.0f} resets"
                if end == "established":
                    talk(client, server)
                    client.close()
                    server.close()
            late_handshake(lab, synward, wire, listener, family)


def late_handshake(lab, synward, wire, listener, family):
    """A client whose ACK is on its way when its service stops to challenge, beside a busy connection of the same address."""
    late = valid_ack(wire, family, 42_100)
    synward.mode("off")
    client = connect(lab, family, 42_101)
    server, _ = listener.accept()
    for _ in range(300):
        talk(client, server)
    wire.send(late)
    _, address = listener.accept()
    assert address[1] == late.sport, address
    synward.mode("always")


def connect(lab, family, port):
    client = client_socket(lab, family, port)
    client.connect((SERVER[family], PORT))
    return client


def valid_ack(wire, family, port):
    """The ACK of a handshake of another ISN, which was never sent: what a blind sender would have to guess."""
    return shake_hands(wire, Segment(CLIENT[family], port, SERVER[family], PORT, seq=4711, flags=SYN, options=WINDOWS))


def resets(synward):
    return synward.metric("handoffs_total", result="stale_reset")


local_story(run)
