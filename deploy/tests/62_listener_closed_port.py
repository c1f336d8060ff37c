"""Where nothing listens, the kernel refuses a client at once."""

import errno

from listeners import client_socket
from story import PORT, SERVER, local_story

# SYNs to a closed port reach the kernel; no responder sees them.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synward):
    for family in 4, 6:
        # A machine that stops for a second has the client send its SYN again, but not each time.
        assert any([is_refused_at_once(lab, family) for _ in range(5)]), "not at its first SYN"


def is_refused_at_once(lab, family):
    with client_socket(lab, family) as client:
        retried = lab.syns_retried()
        assert client.connect_ex((SERVER[family], PORT)) == errno.ECONNREFUSED
        return lab.syns_retried() == retried


local_story(run, "--no-nginx")
