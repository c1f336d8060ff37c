"""Listeners that are bound to a device accept what arrives there and nothing else; a dual-stack one accepts both families."""

import errno
import socket

from listeners import client_socket, exchange, server_socket
from story import PATIENCE, PORT, SERVER, local_story

# The XDP program looks the listener up before it chooses a responder.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synward):
    for family in 4, 6:
        bound_to_device(lab, family)
    dual_stack(lab)


def bound_to_device(lab, family):
    with server_socket(lab, family, device=b"server0") as listener:
        listener.listen(8)
        exchange(lab, family, listener)
    with server_socket(lab, family, device=b"lo") as listener:
        listener.listen(8)
        client = client_socket(lab, family)
        assert client.connect_ex((SERVER[family], PORT)) == errno.ECONNREFUSED
        client.close()


def dual_stack(lab):
    with lab.inside("server"):
        listener = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    listener.settimeout(PATIENCE)
    with listener:
        for family in 4, 6:
            exchange(lab, family, listener)


local_story(run, "--no-nginx")
