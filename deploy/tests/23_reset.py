"""When one end resets a connection, the other end sees the reset; in both directions."""

import socket
import struct

from story import receive, story

# A spliced connection does not depend on who answered its SYN.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synward):
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
    synward.carried(4)


def talk(one, other):
    one.sendall(b"hello")
    assert receive(other, 5) == b"hello"


def expect_reset(connection, what):
    try:
        got = connection.recv(1)
    except ConnectionResetError:
        return
    raise AssertionError(f"{what}: {'a FIN' if got == b'' else 'data'} instead of ECONNRESET")


story(run)
