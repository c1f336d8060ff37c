"""With --keep-steering, as the unit and the container run it, SIGTERM ends no connection: the programs go on carrying them until
the next process does. Nor does the end of that one, until `unload`, which leaves nothing.

With `--full` with each handoff."""

import signal

from handoffs import HANDOFFS, each_handoff, pins_of
from story import FULL, SYNWARD, talk, wait_until
from traces import bpf_objects, exists

# Who answers SYNs matters to no connection that is there.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synwards):
    old = pairs(lab)
    for number in signal.SIGTERM, signal.SIGINT:
        for one in synwards:
            process, one.process = one.process, None
            assert process.stop(number) == 0
        say(old)
        for one in reversed(synwards):
            one.start()
        say(old)
        new = pairs(lab)
        say(new)
        old += new
    objects = set.union(*(bpf_objects(lab, one.process.pid, one.role) for one in synwards))
    for one in synwards:
        process, one.process = one.process, None
        assert process.stop() == 0
    say(old)
    for one in synwards:
        pins = pins_of(one)
        unload = lab.start(one.role, "unload", SYNWARD, "unload", "--pin", f"/sys/fs/bpf/{pins.name}")
        assert unload.wait() == 0, unload.output()
        assert not pins.exists(), f"{pins} is left"
    # The kernel frees programs and maps a moment after their last reference is dropped.
    wait_until("programs, maps and links are gone", lambda: not any(exists(*one) for one in objects))


def pairs(lab):
    return [lab.pair(family) for family in (4, 6) for _ in range(2)]


def say(pairs):
    for client, server in pairs:
        talk(client, server)


each_handoff(run, HANDOFFS if FULL else ("splice",), options=("--keep-steering",))
