"""A client connects again from the same port during a flood: its valid cookie resets the old connection.

During a flood synward looks up the listener only, except for the first SYNs of a jiffy. It then answers a client whose old
connection the server still has.
"""

from listeners import PATIENT, answered_flood, return_after_crash, return_in_time_wait, server_socket
from story import local_story

# The XDP program at TC resets the old connection, whoever answered the SYN.
ONCE = "xdp"


def run(lab, synward):
    if synward.responder == "none":
        return
    for family in 4, 6:
        with server_socket(lab, family) as listener:
            listener.listen(64)
            listener.settimeout(PATIENT)
            flood = answered_flood(lab, synward, family, 300)
            for clients_return, ports in (return_in_time_wait, 24000), (return_after_crash, 25000):
                until_one_is_reset(lab, synward, family, listener, clients_return, ports + 500 * (family == 6))
            flood.report()


def until_one_is_reset(lab, synward, family, listener, clients_return, port):
    before, resets = synward.metric("handoffs_total", result="stale_reset"), 0
    while not resets:
        assert port % 500 < 200, "the kernel saw the SYN of every client"
        # At another moment of the jiffy each time: a process often runs at the start of one.
        clients_return(lab, family, listener, port, PATIENT, pause=port % 16 / 1000)
        port += 1
        resets = synward.metric("handoffs_total", result="stale_reset") - before
    print(f"IPv{family}, during a flood: {clients_return.__name__} {port % 500} times, the last reset the old connection")


local_story(run, "--no-nginx")
