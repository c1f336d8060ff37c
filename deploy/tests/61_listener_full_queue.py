"""While a listener's accept queue is full, its SYNs get no answer; a client connects as soon as there is room."""

import errno
import socket

from listeners import client_socket, reset, server_socket
from story import PATIENCE, PORT, SERVER, local_story, receive, wait_until

# The XDP program decides this before it chooses a responder.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synward):
    for family in 4, 6:
        full_queue(lab, synward, family)


def full_queue(lab, synward, family):
    with server_socket(lab, family) as listener:
        listener.listen(1)
        waiting = [lab.connect(family) for _ in range(2)]
        wait_until("both wait to be accepted", lambda: accept_queue(lab) == len(waiting))
        before = lab.kernel_counters()["ListenOverflows"], dropped(synward)
        late = client_socket(lab, family)
        late.setblocking(False)
        assert late.connect_ex((SERVER[family], PORT)) == errno.EINPROGRESS
        wait_until("its SYN is dropped", lambda: (lab.kernel_counters()["ListenOverflows"], dropped(synward)) > before)
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        accepted = [listener.accept()[0] for _ in waiting]
        listener.settimeout(PATIENCE)
        accepted.append(listener.accept()[0])
        late.settimeout(PATIENCE)
        accepted[-1].sendall(b"late")
        assert receive(late, 4) == b"late"
        reset(late, *waiting, *accepted)


def accept_queue(lab):
    """How many connections wait to be accepted."""
    return int(lab.run("server", "ss", "-Hltn", f"sport = :{PORT}").split()[1])


def dropped(synward):
    return synward.metric("drops_total", reason="accept_queue_full")


local_story(run, "--no-nginx")
