"""synward is killed and started again during a flood and a transfer: no connection breaks, and clients are served while no
process runs. A stop leaves nothing behind."""

import signal

from flood import request
from story import FULL, local_story
from tools import greet
from transfer import pseudo_random, send

# Who answers SYNs matters to no connection that is there, and while no process runs the program answers them all.
ONCE = "xdp"
MIB = 100 if FULL else 20


def run(lab, synward):
    if synward.responder == "none":
        return
    data = pseudo_random(MIB)
    flood = lab.flood(4, 80, 300)
    client, server = lab.pair()
    took = send(server, client, data, meanwhile=lambda: kill(lab, synward))
    print(f"{MIB} MiB in {took:.2f} s, synward killed meanwhile")
    served(lab, "without a process")
    synward.start()
    served(lab, "by the next process")
    client, server = lab.pair(6)
    assert synward.process.stop() == 0
    send(client, server, data)
    flood.report()
    served(lab, "by the kernel alone")
    left = lab.run("server", "ip", "link", "show", "server0")
    assert "xdp" not in left, left
    pinned = list((lab.pins / "synward").rglob("*"))
    assert not pinned, pinned
    synward.process = None


def kill(lab, synward):
    process, synward.process = synward.process, None
    process.stop(signal.SIGKILL)


def served(lab, by):
    for family in 4, 6:
        for _ in range(20):
            _, error = request(lab, family, "http")
            assert error is None, f"{by}: {error}"
        with lab.listen(family) as listener:
            greet(lab, listener, family)


local_story(run)
