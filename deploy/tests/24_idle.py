"""Idle connections stay usable: with keepalive probes, which are answered through the splice, and without."""

import socket
import struct
import time

from story import receive, story, wait_until

# A spliced connection does not depend on who answered its SYN.
ONCE = "xdp"
BESIDE_OTHERS = True
IDLE = 7
INTERVAL = 1


def run(lab, synward):
    silent = [lab.pair(4), lab.pair(6)]
    kept = [lab.pair(4), lab.pair(6)]
    for client, server in kept:
        for end in client, server:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, INTERVAL)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL)
            # After four unanswered probes the kernel closes the connection.
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
    time.sleep(IDLE)
    for end in (end for pair in kept for end in pair):
        # Without answers the kernel closes it.
        wait_until("a keepalive probe is answered", lambda: since_last_ack(end) < 3)
    for client, server in silent:
        quiet = since_last_ack(client)
        assert quiet > 3 * INTERVAL, f"an ACK arrived {quiet:.1f} s ago on a connection that should be silent"
    for client, server in silent + kept:
        client.sendall(b"still there?")
        assert receive(server, 12) == b"still there?"
        server.sendall(b"yes")
        assert receive(client, 3) == b"yes"
    synward.carried(4)


def since_last_ack(connection):
    """Seconds since the last ACK: tcpi_last_ack_recv of struct tcp_info (linux/tcp.h) has milliseconds."""
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return struct.unpack_from("=I", information, 56)[0] / 1000


story(run)
