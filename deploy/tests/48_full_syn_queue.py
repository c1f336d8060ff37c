"""A service of this machine is under attack when the queue of a listener is full, however few SYNs do that: mode `auto` challenges
then, so that clients get connections, and stops when it is over. As many SYNs to a listener with room begin no attack."""

import contextlib
import json

from background import Work
from segments import LINUX, SERVER_MAC, SPOOFED, SYN, Segment, Wire
from story import PATIENCE, PORT, SERVER, local_story, talk, wait_until

# Neither the activation nor what the kernel counts depends on a responder.
ONCE = "xdp"
BESIDE_OTHERS = True
# SYNs a second: far below the rate that is an attack by itself, 1,000.
RATE = 200
SMALL, ROOM = 8, 4096


def run(lab, synward):
    if synward.responder == "none":
        return
    for number, family in enumerate((4, 6)):
        told = lambda: [event["event"] for event in events(synward)[2 * number:]]
        with lab.listen(family, backlog=ROOM), Syns(lab, family) as syns:
            wait_until("SYNs arrive", lambda: syns.sent > RATE)
            assert not told(), "a listener with room is not under attack"
        syns.check()
        with lab.listen(family, backlog=SMALL) as listener:
            with Syns(lab, family) as syns:
                wait_until("it is under attack", lambda: told() == ["attack_begin"])
                wait_until("clients are challenged", lambda: synward.metric("service_active", service="web") == 1)
                with lab.connect(family) as client:
                    server, _ = listener.accept()
                    server.settimeout(PATIENCE)
                    with contextlib.closing(server):
                        talk(client, server)
            syns.check()
            wait_until("it is over", lambda: told() == ["attack_begin", "attack_end"], 60)
        begin, _ = events(synward)[2 * number:]
        assert begin["rate"] < begin["threshold"], f"the rate alone was an attack: {begin}"


def events(synward):
    return json.loads(synward.succeed("status", "--json"))["events"]


class Syns(Work):
    """SYNs from an address where nobody is, one of many ports at a time."""

    def __init__(self, lab, family):
        super().__init__()
        self.sent = 0
        self.wire = Wire(lab, "client", "client0", SERVER_MAC)
        segments = (Segment(SPOOFED[family], 1024 + number, SERVER[family], PORT, number, flags=SYN, options=LINUX)
                    for number in range(20_000))
        self.frames = [self.wire.frame(segment) for segment in segments]

    def __exit__(self, *_):
        super().__exit__()
        self.wire.close()

    def work(self):
        while not self.over.wait(1 / RATE):
            self.wire.socket.send(self.frames[self.sent % len(self.frames)])
            self.sent += 1


local_story(run, mode="auto", service="hold_seconds = 3")
