"""Listeners that share a port (SO_REUSEPORT): one of them accepts each connection, and more than one accepts some."""

from listeners import reset, server_socket
from story import local_story, wait_until

# The kernel chooses the listener when it takes the connection, whoever answered the SYN.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synward):
    for family in 4, 6:
        group(lab, family)


def group(lab, family):
    listeners = [server_socket(lab, family, port_shared=True) for _ in range(4)]
    for listener in listeners:
        listener.listen(64)
    clients = [lab.connect(family) for _ in range(40)]
    accepted = []
    for listener in listeners:
        listener.setblocking(False)
        accepted.append([])
    for client in clients:
        client.sendall(b"x")

    def all_accepted():
        for listener, connections in zip(listeners, accepted):
            try:
                connections.append(listener.accept()[0])
            except BlockingIOError:
                continue
        return sum(map(len, accepted)) == len(clients)

    wait_until("all connections are accepted", all_accepted)
    assert sum(map(bool, accepted)) > 1, "one socket accepted them all"
    reset(*clients, *sum(accepted, []), *listeners)


local_story(run, "--no-nginx")
