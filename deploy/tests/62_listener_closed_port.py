"""Where nothing listens, the kernel refuses a client at once."""

import errno

from listeners import client_socket
from story import PORT, SERVER, local_story

# SYNs to a closed port reach the kernel; no responder sees them.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synward):
    for family in 4, 6:
        client = client_socket(lab, family)
        retried = lab.syns_retried()
        assert client.connect_ex((SERVER[family], PORT)) == errno.ECONNREFUSED
        assert lab.syns_retried() == retried, "not at its first SYN"
        client.close()


local_story(run, "--no-nginx")
