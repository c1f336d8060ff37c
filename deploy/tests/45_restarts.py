"""synward is killed and started again, and frozen, in a flood: transfers go on, and every client is served, also one that waits
for its server to speak first.

With `--full` ten times with each handoff and responder; `forward` kills and freezes the edge, then the server's synward."""

import os
import signal
import time

from steady_clients import BLOCK, Clients, Server, Transfer, are_greeted, silent_clients
from story import AT_SERVER, FULL, Synward, story, wait_until

# What waits for a process waits for it with any responder.
ONCE = "xdp"
KILLS = 10 if FULL else 2
# A worker counts as gone after a second.
FROZEN = 5 if FULL else 2
TRANSFERS = 50 if FULL else 6
CLIENTS_A_SECOND = 200 if FULL else 20
# Workers answer a flood that fits their rings: of one at full speed AF_XDP loses most, with the clients' ACKs among it.
RATE = {"xdp": (), "afxdp": ("--rate", "20k")}
WSCALE = "wscale = 7"


def splice(lab, synward):
    if synward.responder == "none":
        return
    with_servers(lab, synward, [synward], opens_without_a_process=False)


def local(lab, synward):
    if synward.responder == "none":
        return
    lab.free_server()
    with_servers(lab, synward, [synward], opens_without_a_process=True)


def forward(lab, edge):
    if edge.responder == "none":
        return
    lab.free_server()
    server = Synward(lab, edge.responder, "server", "server", interfaces=AT_SERVER, handoff="local", service=WSCALE)
    server.start()
    with_servers(lab, edge, [edge, server], opens_without_a_process=True)
    server.stop()


def with_servers(lab, front, synwards, opens_without_a_process):
    servers = [Server(lab, family) for family in (4, 6)]
    front.start()
    greeted_after_a_kill(lab, synwards, opens_without_a_process)
    flood = lab.flood(4, 80, 600, *RATE[front.responder])
    in_a_flood(lab, synwards, front.settings["handoff"])
    flood.report()
    for server in servers:
        server.close()


def kill(synward):
    process, synward.process = synward.process, None
    process.stop(signal.SIGKILL)


def greeted_after_a_kill(lab, synwards, opens_without_a_process):
    """Clients that the programs left in place have told "connected", and that say nothing. The kernel of a server with synward's
    program accepts them at once; a splice waits for the next process, which opens the connection to the server."""
    for synward in synwards:
        kill(synward)
    clients = silent_clients(lab)
    if opens_without_a_process:
        are_greeted(clients)
    for synward in synwards:
        synward.start()
    if not opens_without_a_process:
        are_greeted(clients)
        wait_until("the log says so", lambda: "waiting clients were handed to workers" in synwards[0].process.output())


def in_a_flood(lab, synwards, handoff):
    retried = syns_retried(lab)
    transfers = [Transfer(lab, (4, 6)[number % 2]) for number in range(TRANSFERS)]
    clients = Clients(lab, CLIENTS_A_SECOND)
    for _ in range(KILLS):
        for synward in synwards:
            kill(synward)
            synward.start()
            clients.served_since_now()
    for synward in synwards:
        os.kill(synward.process.pid, signal.SIGSTOP)
        time.sleep(FROZEN)
        os.kill(synward.process.pid, signal.SIGCONT)
        clients.served_since_now()
    clients.check()
    for transfer in transfers:
        transfer.check()
    print(f"{handoff}, {synwards[0].responder}: {clients.figures()}, {syns_retried(lab) - retried} SYNs sent again;"
          f" {len(transfers)} transfers of {sum(transfer.blocks for transfer in transfers) * len(BLOCK) >> 20} MiB, none failed")


def syns_retried(lab):
    return lab.kernel_counters("client")["TCPSynRetrans"]


story(splice, start=False)
if FULL:
    story(local, ("--file-mib", "1", "--arms", "none"), start=False, role="server", interfaces=AT_SERVER, handoff="local")
    story(forward, start=False, handoff="forward", service=WSCALE, appliance='pin = "/sys/fs/bpf/edge"')
