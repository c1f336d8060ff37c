"""Sockets of the server and of the client for the stories about listeners: bound, not yet listening or connected."""

import socket
import struct
import time

from segments import LINUX, SPOOFED, SYN, Segment
from story import CLIENT, FAMILY, PATIENCE, PORT, SERVER, receive, wait_until

# A segment that is lost or does not fit waits for a timer of 200 ms at least.
PROMPT = 0.15
# For SYNs and other segments that a flood displaces: they are retransmitted after 1, 2, 4, … s.
PATIENT = 60


def server_socket(lab, family, buffer=0, port_shared=False, device=b"", protocol=0):
    """A socket bound to the service's address. It does not listen yet."""
    with lab.inside("server"):
        listener = socket.socket(FAMILY[family], socket.SOCK_STREAM, protocol)
    listener.settimeout(PATIENCE)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if port_shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    if device:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
    listener.bind((SERVER[family], PORT))
    return listener


def client_socket(lab, family, port=0, protocol=0, patience=PATIENCE):
    """A socket of the client, with this source port. It is not connected yet."""
    with lab.inside("client"):
        client = socket.socket(FAMILY[family], socket.SOCK_STREAM, protocol)
    client.settimeout(patience)
    if port:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((CLIENT[family], port))
    return client


def exchange(lab, family, listener, port=0, protocol=0, patience=PATIENCE):
    """A connection that carries data both ways."""
    client = client_socket(lab, family, port, protocol, patience)
    client.connect((SERVER[family], PORT))
    server, _ = listener.accept()
    server.settimeout(patience)
    client.sendall(b"hello")
    assert receive(server, 5) == b"hello"
    server.sendall(b"world")
    assert receive(client, 5) == b"world"
    reset(client, server)


def reset(*connections):
    """Ends connections with a RST, so that no port stays in use."""
    for connection in connections:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def answered_flood(lab, synward, family, seconds=60):
    """A flood of SYNs to PORT that synward already answers."""
    before = synward.metric("answers_total")
    flood = lab.flood(family, PORT, seconds)
    wait_until("synward answers the flood", lambda: synward.metric("answers_total") > before + 100_000)
    return flood


def linux_syn(family, port):
    """A Linux client's SYN from an address whose segments no kernel receives."""
    return Segment(SPOOFED[family], port, SERVER[family], PORT, seq=port, flags=SYN, options=LINUX)


def next_client_port(listener):
    """Accepts and closes the oldest waiting connection; returns its client's port, or None if none waits."""
    try:
        connection, peer = listener.accept()
    except BlockingIOError:
        return None
    connection.close()
    return peer[1]


def return_in_time_wait(lab, family, listener, port, patience=PATIENCE, pause=0):
    """The server closes first; the client then connects again from the same port, to a socket in TIME_WAIT."""
    client = client_socket(lab, family, port, patience=patience)
    client.connect((SERVER[family], PORT))
    server, _ = listener.accept()
    server.close()
    assert client.recv(1) == b""
    client.close()
    # A flood may displace the client's FIN.
    wait_until("the client can use the port again", lambda: not in_use(lab, port), patience)
    time.sleep(pause)
    exchange(lab, family, listener, port, patience=patience)


def in_use(lab, port):
    return lab.run("client", "ss", "-Htan", f"sport = :{port}")


def return_after_crash(lab, family, listener, port, patience=PATIENCE, pause=0):
    """The client forgets its connection and connects again from the same port. Returns the seconds that this takes."""
    client = client_socket(lab, family, port, patience=patience)
    client.connect((SERVER[family], PORT))
    server, _ = listener.accept()
    # A socket in repair mode closes without sending a segment, as in a crash.
    client.setsockopt(socket.IPPROTO_TCP, 19, 1)
    client.close()
    time.sleep(pause)
    began = time.monotonic()
    again = client_socket(lab, family, port, patience=patience)
    again.connect((SERVER[family], PORT))
    other, _ = listener.accept()
    took = time.monotonic() - began
    other.sendall(b"back")
    assert receive(again, 4) == b"back"
    reset(again, other, server)
    return took
