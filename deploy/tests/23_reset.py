"""When one end resets a connection, the other end sees the reset; in both directions. A RST that is out of the receiver's window
ends no connection, however long that is silent afterwards."""

import socket
import struct

from segments import ACK, RST, Segment, Wire
from story import CLIENT, PORT, SERVER, receive, story, talk as talk_both_ways, wait_until

# A spliced connection does not depend on who answered its SYN.
ONCE = "xdp"
BESIDE_OTHERS = True
# Bytes ahead: more than the window of a new connection.
FAR = 100_000


def run(lab, synward):
    wire = Wire(lab, "client", "client0")
    silent = [blindly_reset(lab, wire, *case) for case in ((4, RST), (6, RST), (4, RST | ACK), (6, RST | ACK))]
    for family in 4, 6:
        for resetting in "client", "server":
            client, server = lab.pair(family)
            talk(client, server)
            talk(server, client)
            aborts, other = (client, server) if resetting == "client" else (server, client)
            # Closing with SO_LINGER 0 sends RST (tcp(7)).
            aborts.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            aborts.close()
            with other:
                expect_reset(other, f"IPv{family}, the {resetting} aborted")
    synward.carried(8)
    if synward.responder != "none":
        wait_until("those that were reset are forgotten", lambda: synward.metric("flow_table_expired_total") >= 4, 30)
    for pair in silent:
        talk_both_ways(*pair)


def blindly_reset(lab, wire, family, flags):
    """A connection to whose server somebody sends a RST that is further ahead than the server's window."""
    wire.forget()
    client, server = lab.pair(family)
    talk(client, server)
    talk(server, client)
    port = client.getsockname()[1]
    last = wire.see(lambda segment: segment.dport == port and segment.payload)
    wire.send(Segment(CLIENT[family], port, SERVER[family], PORT, seq=(last.ack + FAR) & 0xFFFFFFFF,
                      ack=last.seq if flags & ACK else 0, flags=flags))
    return client, server


def talk(one, other):
    one.sendall(b"hello")
    assert receive(other, 5) == b"hello"


def expect_reset(connection, what):
    try:
        got = connection.recv(1)
    except ConnectionResetError:
        return
    raise AssertionError(f"{what}: {'a FIN' if got == b'' else 'data'} instead of ECONNRESET")


story(run, appliance="[flows]\nclosing_seconds = 1")
