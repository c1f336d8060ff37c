"""Transfers survive the wrap of sequence numbers and timestamps, on each side of the splice."""

import socket
import struct
import time

from segments import ACK, SYN, Wire
from story import CLIENT, FAMILY, FAST, PORT, SERVER, receive, story
from transfer import MIB, finished, pseudo_random, send, source_and_sink

# A spliced connection does not depend on who answered its SYN.
ONCE = "xdp"
BESIDE_OTHERS = True
# linux/tcp.h: the numbers of a socket in repair mode can be read and written.
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_TIMESTAMP = 19, 20, 21, 24
RECEIVES, SENDS = 1, 2
OFF_WITHOUT_PROBE = -1
WRAP = 1 << 32
DATA = pseudo_random(32)
# So close to the wrap that the data crosses it.
NEAR = 16 * MIB


def run(lab, synward):
    with lab.listen(4) as four, lab.listen(6) as six:
        listeners = {4: four, 6: six}
        for family in 4, 6:
            clients_numbers(lab, family, listeners[family])
        servers_numbers(lab, listeners)
        for family in 4, 6:
            for which in "the server's clock at the server", "the server's clock at the client", "the client's clock":
                clock_wraps(lab, family, listeners[family], which)


class Repaired:
    """A TCP socket in repair mode: its numbers can be read and written inside."""

    def __init__(self, connection, queue=None):
        self.connection, self.queue = connection, queue

    def __enter__(self):
        self.connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        if self.queue:
            self.connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, self.queue)
        return self

    def __exit__(self, *_):
        self.connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, OFF_WITHOUT_PROBE)

    def number(self):
        return self.connection.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ) % WRAP


def next_number(connection, queue):
    """The sequence number of a queue's next byte."""
    with Repaired(connection, queue) as repaired:
        return repaired.number()


def connect(lab, family, listener, first=None):
    """Both ends of a connection; `first` is the client's ISN."""
    with lab.inside("client"):
        client = socket.socket(FAMILY[family])
    client.settimeout(30)
    if first is not None:
        with Repaired(client, SENDS):
            client.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, signed(first))
    client.connect((SERVER[family], PORT))
    server, _ = listener.accept()
    server.settimeout(30)
    return client, server


def signed(number):
    """An unsigned 32-bit number as setsockopt takes it."""
    return number - WRAP if number >= WRAP // 2 else number


def clients_numbers(lab, family, listener):
    for before in 0, 1, 2, 10, NEAR:
        data = DATA if before == NEAR else DATA[:MIB]
        first = (WRAP - 1 - before) % WRAP
        client, server = connect(lab, family, listener, first)
        assert next_number(client, SENDS) == (first + 1) % WRAP, "the client's kernel chose another number"
        send(client, server, data)
        assert next_number(client, SENDS) < 2 * len(data), "the client's numbers did not wrap"
        send(server, client, data)
        finished(client, server)
    print(f"IPv{family}: the client's sequence numbers wrapped in 5 uploads")


def servers_numbers(lab, listeners):
    """Nobody can choose these, so this connects until each has come close to the wrap."""
    missing = {(family, where) for family in (4, 6) for where in ("at the client", "at the server")}
    attempts = 0
    wanted = 2 if FAST else 0
    while len(missing) > wanted:
        attempts += 1
        assert attempts < 20_000, f"no number came near the wrap: {missing}"
        for family in {family for family, _ in missing}:
            client, server = connect(lab, family, listeners[family])
            numbers = {"at the client": next_number(client, RECEIVES), "at the server": next_number(server, SENDS)}
            near = {where for where, number in numbers.items() if number > WRAP - NEAR and (family, where) in missing}
            if near:
                send(server, client, DATA)
                assert min(next_number(client, RECEIVES), next_number(server, SENDS)) < len(DATA)
                send(client, server, DATA)
                finished(client, server)
                missing -= {(family, where) for where in near}
                print(f"IPv{family}: the server's sequence numbers wrapped {', '.join(near)}")
            else:
                # A RST leaves no TIME_WAIT that would use up the client's ports.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                server.close()
    print(f"{attempts} rounds of connections until each had wrapped")


class Clock:
    """The clock behind a socket's TSval, in milliseconds."""

    def __init__(self, connection):
        self.connection = connection

    def read(self):
        return self.connection.getsockopt(socket.IPPROTO_TCP, TCP_TIMESTAMP) % WRAP

    def set(self, value):
        with Repaired(self.connection):
            # The lowest bit asks for microseconds.
            self.connection.setsockopt(socket.IPPROTO_TCP, TCP_TIMESTAMP, signed(value % WRAP & ~1))


def clock_wraps(lab, family, listener, which):
    """A clock of timestamps wraps while data goes both ways; `which` says whose clock and where."""
    at_client, at_server = Wire(lab, "client", "client0"), Wire(lab, "server", "server0")
    client, server = connect(lab, family, listener)
    port = client.getsockname()[1]
    answer = lambda segment: segment.flags & (SYN | ACK) == SYN | ACK and segment.dport == port
    offered, own = at_client.see(answer).timestamps(), at_server.see(answer).timestamps()
    difference = (offered[0] - own[0]) % WRAP
    assert difference, "the clocks are equal, so this shows nothing"
    offset = difference if which == "the server's clock at the client" else 0
    mover, wire = (client, at_server) if which == "the client's clock" else (server, at_client)
    clock = Clock(mover)
    talk(client, server)
    # A receiver takes a jump of less than half the range for elapsed time (RFC 7323 §5.2).
    while (left := (-offset - clock.read()) % WRAP) > 1 << 30:
        clock.set(clock.read() + (1 << 30))
        talk(client, server)
    for seen in at_client, at_server:
        seen.forget()
    # The last value before the clock is set is there also if this machine stops until the wrap is over.
    talk(client, server)
    clock.set(-offset - 1000)
    while not 500 < (clock.read() + offset) % WRAP < 1 << 30:
        talk(client, server)
    talk(client, server)
    wire = at_server if which != "the server's clock at the client" else at_client
    sender = (CLIENT if mover is client else SERVER)[family]
    values = clock_values(wire, sender, port)
    assert max(values) >= WRAP - (1 << 30) and min(values) < 60_000, f"{which} did not wrap: {min(values)} to {max(values)}"
    for direction in "download", "upload":
        one, other = source_and_sink(direction, client, server)
        send(one, other, DATA[:4 * MIB])
    finished(client, server)
    at_client.close()
    at_server.close()
    print(f"IPv{family}: {which} wrapped (difference {difference}), {len(values)} segments seen")


def talk(client, server):
    """Some data in both directions."""
    client.sendall(DATA[:3000])
    assert receive(server, 3000) == DATA[:3000]
    server.sendall(DATA[:3000])
    assert receive(client, 3000) == DATA[:3000]
    time.sleep(0.002)


def clock_values(wire, sender, port):
    """The TSvals of a sender's segments that the wire has received, for the connection with this client port."""
    values = []
    wanted = lambda segment: segment.source == sender and port in (segment.sport, segment.dport)
    while segment := wire.see(wanted, 0.2):
        if times := segment.timestamps():
            values.append(times[0])
    return values


story(run, lab=("--no-nginx",))
