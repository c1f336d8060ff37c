"""The process is frozen for longer than a worker counts as alive, while clients reset connections and open others on the same
addresses and ports, and other clients wait for a server that is silent. When it goes on, connections go on, and every client is
served.

With `--full` with each handoff, and for longer than openings live."""

import os
import select
import signal
import socket
import subprocess
import time

from handoffs import HANDOFFS, each_handoff
from listeners import client_socket, reset
from segments import ACK, LINUX, PSH, RST, SERVER_MAC, SPOOFED, SYN, Segment, Wire, answer_to
from story import FULL, PATIENCE, PORT, SERVER, talk, wait_until

# Who answered the SYN of an opening does not matter to it.
ONCE = "xdp"
BESIDE_OTHERS = True
# An opening is given up after 31.75 s.
SECONDS = (5, 35) if FULL else (5,)
CLIENTS = 8 if FULL else 4
SILENT = """
    table inet silent {
        chain leaving {
            type filter hook output priority 0;
            tcp sport 9000 tcp flags & (syn|ack) == syn|ack drop
        }
    }"""


def run(lab, synwards):
    local = synwards[0].settings["handoff"] == "local"
    wire = Wire(lab, "client", "client0", SERVER_MAC if local else None)
    listeners = {family: lab.listen(family, backlog=1024) for family in (4, 6)}
    for seconds in SECONDS:
        paused(lab, synwards, wire, listeners, seconds)


def paused(lab, synwards, wire, listeners, seconds):
    old = [pair(lab, listeners, family) for family in (4, 6) for _ in range(CLIENTS)]
    ports = {family: 44_000 + 100 * seconds + CLIENTS * family for family in (4, 6)}
    syns = [Segment(SPOOFED[family], ports[family] + number, SERVER[family], PORT, 1000, flags=SYN, options=LINUX)
            for family in (4, 6) for number in range(CLIENTS)]
    silent(lab, True)
    waiting = [validated(wire, syn) for syn in syns]
    for one in synwards:
        os.kill(one.process.pid, signal.SIGSTOP)
    silent(lab, False)
    # While it is frozen, half of the clients begin again on the same ports, and so do clients of the kernel that have ended.
    for ack in waiting[::2]:
        wire.send(ack.but(flags=RST | ACK))
    reused = []
    for client, server in old[::2]:
        family, port = 4 if client.family == socket.AF_INET else 6, client.getsockname()[1]
        reset(client)
        server.close()
        reused.append((family, client_socket(lab, family, port)))
    for client, server in old[1::2]:
        talk(client, server)
    time.sleep(seconds)
    for one in synwards:
        os.kill(one.process.pid, signal.SIGCONT)
    for client, server in old[1::2]:
        talk(client, server)
    for family, client in reused:
        client.connect((SERVER[family], PORT))
        talk(client, accepted(listeners[family], client.getsockname()[1]))
    for number, ack in enumerate(waiting):
        listener = listeners[4 if "." in ack.source else 6]
        if number % 2:
            hears(listener, ack.sport, b"words", lambda: wire.send(ack.but(flags=ACK | PSH, payload=b"words")))
        else:
            served(wire, listener, syns[number].but(seq=90_000 + number))
    new = [pair(lab, listeners, family) for family in (4, 6) for _ in range(CLIENTS)]
    for client, server in old[1::2] + new:
        talk(client, server)


def validated(wire, syn):
    """The ACK of a client whose server does not answer yet."""
    wire.forget()
    wire.send(syn)
    ack = answer_to(syn, wire.see(lambda segment: segment.answers(syn)))
    wire.send(ack)
    return ack


def served(wire, listener, syn):
    """The client's kernel knows nothing of it, and may have a connection or an opening from before on the same ports."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        wire.forget()
        wire.send(syn)
        answer = wire.see(lambda segment: segment.answers(syn), 1)
        if answer and answer.flags & (SYN | ACK) == SYN | ACK and answer.ack == syn.seq + 1:
            ack = answer_to(syn, answer)
            hears(listener, syn.sport, b"again", lambda: wire.send(ack.but(flags=ACK | PSH, payload=b"again")))
            wire.send(ack.but(seq=ack.seq + 5, flags=RST | ACK))
            return
        if answer and not answer.flags & RST:
            # RFC 5961: a challenge is answered by what is expected.
            wire.send(syn.but(seq=answer.ack, flags=RST, options=b""))
    raise AssertionError(f"port {syn.sport} is not served again")


# What was accepted, by port of the client.
kept = {}


def accept_all(listener):
    while select.select([listener], [], [], 0.02)[0]:
        server, address = listener.accept()
        server.settimeout(PATIENCE)
        kept.setdefault(address[1], []).append(server)


def accepted(listener, port):
    """The server's end of the latest connection from the port."""
    wait_until(f"the server accepts port {port}", lambda: accept_all(listener) or kept.get(port))
    return kept.pop(port)[-1]


def hears(listener, port, words, send):
    """Sends until a connection from the port has said these words. One from before the pause may be half open."""
    def found():
        accept_all(listener)
        if heard := select.select(kept.get(port, []), [], [], 0)[0]:
            return any(said(server, port) == words for server in heard)
        send()
        time.sleep(0.1)
        return False
    wait_until(f"the server hears port {port}", found)
    for server in kept.pop(port):
        server.close()


def said(server, port):
    try:
        words = server.recv(100)
    except ConnectionResetError:
        words = b""
    if not words:
        kept[port].remove(server)
    return words


def pair(lab, listeners, family):
    client = lab.connect(family)
    return client, accepted(listeners[family], client.getsockname()[1])


def silent(lab, is_silent):
    with lab.inside("server"):
        subprocess.run(["nft", "-f", "-"], input=SILENT if is_silent else "delete table inet silent", text=True, check=True)


each_handoff(run, HANDOFFS if FULL else ("splice",))
