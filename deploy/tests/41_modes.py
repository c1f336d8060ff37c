"""When the mode of a service changes at run time no connection breaks, whichever mode it started in."""

import time

from story import receive, story, talk

# The mode is decided before a responder is chosen.
ONCE = "xdp"
BESIDE_OTHERS = True
ADOPT = 3


def run(lab, synward):
    pairs = {"always": lab.pair()}
    talk_all(pairs)
    synward.carried(1)
    for mode in "monitor", "off", "monitor", "off":
        synward.mode(mode)
        talk_all(pairs)
        pairs.setdefault(mode, lab.pair())
        talk_all(pairs)
    if synward.process:
        handed = synward.metric("handoffs_total", handoff="splice")
        assert handed == 1, f"{handed:.0f} connections were spliced, but only one started in mode always"
        assert synward.metric("service_active", service="web") == 0
        assert synward.metric("syns_total", service="web") >= 2, "monitor counts the SYNs that it would challenge"
        would = synward.metric("would_answer_total", service="web")
        assert would >= 1, f"mode always would have answered {would:.0f} SYNs"

    synward.mode("always")
    # The servers speak first: synward learns connections from what goes from inside to outside.
    for _, server in pairs.values():
        server.sendall(b"news")
    for client, _ in pairs.values():
        assert receive(client, 4) == b"news"
    talk_all(pairs)
    time.sleep(ADOPT + 1)
    talk_all(pairs)
    pairs["always again"] = lab.pair(6)
    talk_all(pairs)
    synward.carried(2)
    for client, server in pairs.values():
        client.close()
        assert server.recv(1) == b"", "the FIN arrives too"


def talk_all(pairs):
    for mode, (client, server) in pairs.items():
        talk(client, server, mode.encode())


story(run, adopt_seconds=ADOPT)
