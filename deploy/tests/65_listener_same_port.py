"""A client connects again from the same port: to a socket in TIME_WAIT, and to a connection that it has forgotten."""

from listeners import return_after_crash, return_in_time_wait, server_socket
from story import local_story

# The kernel has a socket for these SYNs and answers them itself.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synward):
    for family in 4, 6:
        with server_socket(lab, family) as listener:
            listener.listen(8)
            return_in_time_wait(lab, family, listener, 23456 + family)
            took = return_after_crash(lab, family, listener, 23466 + family)
            print(f"IPv{family}: connected again after a crash in {took:.2f} s")


local_story(run, "--no-nginx")
