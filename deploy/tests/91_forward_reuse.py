"""An edge answers SYNs for a server whose sockets it does not see. A client that connects again from the same port is served
all the same: while the server has TIME_WAIT, and while it still has the connection of a client that crashed. If the client has
timestamps, its cookie resets what the server still has. If not, the edge leaves the SYN to the server: a cookie without
timestamps can be guessed, and resets nothing."""

import contextlib
import itertools
import os
import socket
import struct
import subprocess

from churn import SHARE, churn, restrict_ports
from listeners import client_socket, in_use
from segments import ACK, PSH, SYN, WINDOWS, Segment, Wire, shake_hands
from story import AT_SERVER, CLIENT, ONE_ARM, PATIENCE, PORT, SERVER, Synward, receive, story, talk, wait_until
from transfer import timestamps

# Only workers on another core than the client let its ACK and its data reach the server on two CPUs at once.
ONCE = "afxdp"
WSCALE = "wscale = 7"
# Drops what the kernel of a crashed client does not send.
SILENCE = """
    table inet silence {
        chain leaving {
            type filter hook output priority raw;
            tcp dport 9000 drop
        }
    }"""
COMBINATIONS = list(itertools.product((4, 6), (True, False)))
FIRST_PORT = 41000


def run(lab, server):
    lab.free_server()
    if server.responder == "none":
        return
    # With workers on another core than the client, its ACK and its data reach the server on two CPUs at once.
    cores = os.sched_getaffinity(0)
    edge = Synward(lab, server.responder, "edge", "edge", handoff="forward", interfaces=ONE_ARM, service=WSCALE,
                   appliance=f'cores = [{max(cores)}]\npin = "/sys/fs/bpf/edge"')
    server.start()
    edge.start()
    os.sched_setaffinity(0, {min(cores)})
    for number, (family, stamped) in enumerate(COMBINATIONS):
        timestamps(lab, stamped)
        with lab.listen(family) as listener:
            answers, retried = server.metric("answers_total"), lab.syns_retried()
            for what in time_wait, crashed, crashed_with_data_outstanding:
                what(lab, server, listener, family, FIRST_PORT + number, stamped)
            if not stamped:
                forged(lab, server, listener, family, FIRST_PORT + 300 + 10 * number)
            if stamped:
                # The edge leaves SYNs that are sent again to the server.
                answered, retried = server.metric("answers_total") - answers, lab.syns_retried() - retried
                assert answered <= retried, f"the server answered {answered:.0f} SYNs itself, and {retried} were sent again"
                # A machine that stops for a second has the client send a SYN again, but not that of every other connection.
                assert retried <= 4, f"{retried} SYNs of nine connections were sent again"
    timestamps(lab, True)
    many(lab, server)
    edge.stop()


def time_wait(lab, server, listener, family, port, stamped):
    """The server closes first."""
    resets, retried = stale_resets(server), lab.syns_retried()
    for number in range(5):
        client, taken = connection(lab, listener, family, port)
        taken.close()
        assert client.recv(1) == b""
        client.close()
        wait_until("the client can use the port again", lambda: not in_use(lab, port))
    were_reset(lab, server, resets, retried, 4 if stamped else 0)


def were_reset(lab, server, resets, retried, expected):
    """Since these counts, so many sockets. Where a SYN was sent again the edge left it to the server, whose kernel takes it for a new
    connection or challenges it."""
    seen, retried = stale_resets(server) - resets, lab.syns_retried() - retried
    assert expected - retried <= seen <= expected, f"{seen:.0f} sockets were reset, not {expected}; {retried} SYNs were sent again"


def crashed(lab, server, listener, family, port, stamped):
    resets, retried = stale_resets(server), lab.syns_retried()
    port += 100
    client, stale = connection(lab, listener, family, port)
    crash(lab, client)
    client, taken = connection(lab, listener, family, port)
    were_reset(lab, server, resets, retried, int(stamped))
    is_reset(stale)
    client.close()
    taken.close()


def crashed_with_data_outstanding(lab, server, listener, family, port, stamped):
    port += 200
    client, stale = connection(lab, listener, family, port)
    crash(lab, client, lambda: stale.sendall(b"never to be acknowledged" * 1000))
    client, taken = connection(lab, listener, family, port)
    is_reset(stale)
    client.close()
    taken.close()


def forged(lab, server, listener, family, port):
    """The ACK of a handshake of another ISN, in a client's name: what a blind sender would have to guess."""
    wire = Wire(lab, "client", "client0")
    for number, end in enumerate(("established", "TIME_WAIT")):
        ack = shake_hands(wire, Segment(CLIENT[family], port + number, SERVER[family], PORT, seq=4711, flags=SYN, options=WINDOWS))
        client, taken = connection(lab, listener, family, port + number)
        if end == "TIME_WAIT":
            taken.close()
            assert client.recv(1) == b""
            client.close()
        resets, passed = stale_resets(server), server.metric("segments_total", fate="passed")
        wire.send(ack)
        wait_until("the server's kernel has it", lambda: server.metric("segments_total", fate="passed") > passed)
        assert stale_resets(server) == resets, f"IPv{family}, {end}: reset by a cookie without timestamps"
        if end == "established":
            wire.send(ack.but(flags=ACK | PSH, payload=b"forged"))
            talk(client, taken)
            talk(taken, client)
            client.close()
            taken.close()
    wire.close()


def crash(lab, client, meanwhile=lambda: None):
    with silence(lab):
        meanwhile()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


def connection(lab, listener, family, port):
    """Both ends of a connection that carries data both ways. The client's first data comes with its ACK or right after it."""
    client = client_socket(lab, family, port)
    client.connect((SERVER[family], PORT))
    client.sendall(b"from the client")
    taken, address = listener.accept()
    taken.settimeout(PATIENCE)
    assert address[1] == port
    assert receive(taken, 15) == b"from the client"
    taken.sendall(b"from the server")
    assert receive(client, 15) == b"from the server"
    return client, taken


def is_reset(stale):
    with contextlib.closing(stale):
        try:
            raise AssertionError(f"the stale connection is still open and has received {stale.recv(1)}")
        except ConnectionResetError:
            pass


@contextlib.contextmanager
def silence(lab):
    with lab.inside("client"):
        subprocess.run(["nft", "-f", "-"], input=SILENCE, text=True, check=True)
    try:
        yield
    finally:
        lab.run("client", "nft", "delete", "table", "inet", "silence")


def many(lab, server):
    """Connects from so few ports that nearly every connection meets one in TIME_WAIT."""
    resets, retried = stale_resets(server), lab.syns_retried()
    ports = 2000 // SHARE
    restrict_ports(lab, ports)
    count = 20_000 // SHARE
    churn(lab, count, b"close", "the server closes first")
    met = stale_resets(server) - resets
    print(f"{met:.0f} of them met one in TIME_WAIT")
    assert met >= count - ports - (lab.syns_retried() - retried)


def stale_resets(server):
    return server.metric("handoffs_total", result="stale_reset")


story(run, ("--file-mib", "1", "--arms", "one", "--return", "direct"), start=False, role="server", interfaces=AT_SERVER,
      handoff="local", service=WSCALE)
