"""Connections that are silent through the adoption continue when either end sends again. So do those that begin while the mode is
`off`, and are silent when it becomes `always`.

With `--full` also with `local`, whose kernel knows them, and `forward`, which keeps no state."""

import time

from handoffs import HANDOFFS, each_handoff
from story import FULL, talk

# Connections are adopted segment by segment; no responder sees them.
ONCE = "xdp"
BESIDE_OTHERS = True
ADOPT = 1
# What a service adopts at least when it begins to challenge (ADOPT_AT_LEAST).
BEGIN = 5
quiet = []


def before(lab):
    quiet[:] = pairs(lab)


def run(lab, synwards):
    time.sleep(ADOPT + 0.5)
    speak(quiet)
    if not FULL:
        return
    for one in synwards:
        one.mode("off")
    later = pairs(lab)
    for one in synwards:
        one.mode("always")
    time.sleep(BEGIN + 0.5)
    speak(later + quiet)


def pairs(lab):
    """Of each family, one whose client and one whose server speaks first, and one that is new: no word was said."""
    pairs = [lab.pair(family) for family in (4, 4, 4, 6, 6, 6)]
    for client, server in pairs[:2] + pairs[3:5]:
        talk(client, server)
    time.sleep(0.1)
    return pairs


def speak(pairs):
    # A few segments a second pass from each prefix.
    for number, (client, server) in enumerate(pairs):
        talk(*((server, client) if number % 3 == 0 else (client, server)))


each_handoff(run, HANDOFFS if FULL else ("splice",), before=before, adopt_seconds=ADOPT)
