"""Where nothing listens, the kernel refuses a client at once."""

import errno
import time

from listeners import client_socket
from story import PORT, SERVER, local_story

# SYNs to a closed port reach the kernel; no responder sees them.
ONCE = "xdp"
BESIDE_OTHERS = True
# Seconds, less than the retransmission of a lost SYN.
AT_ONCE = 0.9


def run(lab, synward):
    for family in 4, 6:
        client = client_socket(lab, family)
        began = time.monotonic()
        assert client.connect_ex((SERVER[family], PORT)) == errno.ECONNREFUSED
        assert time.monotonic() - began < AT_ONCE
        client.close()


local_story(run, "--no-nginx")
