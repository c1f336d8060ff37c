"""With --keep-steering, as the unit and the container run it, SIGTERM ends no connection: the programs go on carrying them until the
next process does. Nor does the end of that one, until `unload`.

With `--full` with each handoff."""

import signal

from handoffs import HANDOFFS, each_handoff
from story import FULL, START, SYNWARD, talk, wait_until

# Who answers SYNs matters to no connection that is there.
ONCE = "xdp"
BESIDE_OTHERS = True


def run(lab, synwards):
    kept(synwards)
    old = pairs(lab)
    for number in signal.SIGTERM, signal.SIGINT:
        for one in synwards:
            process, one.process = one.process, None
            assert process.stop(number) == 0
        say(old)
        kept(synwards)
        say(old)
        new = pairs(lab)
        say(new)
        old += new
    for one in synwards:
        process, one.process = one.process, None
        assert process.stop() == 0
    say(old)
    for one in synwards:
        pins = f"/sys/fs/bpf/{'edge' if len(synwards) == 2 and one is synwards[0] else 'synward'}"
        one.lab.start(one.role, "unload", SYNWARD, "unload", "--pin", pins).wait()


def kept(synwards):
    """They run with --keep-steering from now on; the first ones end as after a kill."""
    for one in reversed(synwards):
        if one.process:
            one.process.stop(signal.SIGKILL)
        one.process = one.lab.start(one.role, one.name, SYNWARD, "run", "--config", one.file, "--keep-steering")
        wait_until("synward is ready", one.ready, START)
        wait_until("all workers are alive", one.workers_alive, START)


def pairs(lab):
    return [lab.pair(family) for family in (4, 6) for _ in range(2)]


def say(pairs):
    for client, server in pairs:
        talk(client, server)


each_handoff(run, HANDOFFS if FULL else ("splice",))
