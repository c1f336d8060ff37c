"""One address is under attack when its process is killed, its mode is changed by hand, and it leaves the configuration: its clients
are challenged from the first moment of the next process on, and programs get one begin and one end of each attack, also if
the next process does not watch the address."""

import json
import os
import signal
import time

from background import Work
from segments import LINUX, SYN, Segment, Wire
from story import SERVER, story, talk, wait_until

# What changes is the same for each responder.
ONCE = "xdp"
BESIDE_OTHERS = True
RATE = 4000
# Other addresses that are watched.
BESIDE = '"192.0.2.11", "192.0.2.12"'


def run(lab, synward):
    notes = lab.folder / "events"
    synward.start(service=f"""activate_syn_rate = 1000
hold_seconds = 4
on_event = ["/bin/sh", "-c", 'cat >> "$0"', "{notes}"]""")
    if synward.responder == "none":
        return
    lab.count_at_server()
    pairs = [lab.pair(4), lab.pair(6)]
    with Syns(lab) as syns:
        wait_until("the address is under attack", lambda: attacked(synward) == [SERVER[4]])
        killed_and_frozen(lab, synward, pairs)
        assert told(notes) == [("attack_begin", SERVER[4])], told(notes)

        # Another mode: what had a begin gets an end, and nothing begins while it is off.
        synward.mode("off")
        wait_until("its end is told", lambda: told(notes)[1:] == [("attack_end", SERVER[4])])
        assert not active(synward) and attacks(synward) == []
        assert was_challenged(notes), "its clients were challenged until the mode became off"
        synward.mode("monitor")
        wait_until("it begins anew", lambda: told(notes)[2:] == [("attack_begin", SERVER[4])])
        assert not active(synward)
        synward.mode("auto")
        wait_until("it is challenged", lambda: active(synward))
        assert told(notes)[3:] == [], told(notes)

        # A reload without the attacked address, and one with it.
        synward.configure()
        file = synward.file.read_text()
        synward.file.write_text(file.replace(f'"{SERVER[4]}"', BESIDE))
        synward.succeed("reload")
        wait_until("its end is told", lambda: told(notes)[3:] == [("attack_end", SERVER[4])])
        assert attacks(synward) == []
        synward.file.write_text(file.replace(f'"{SERVER[4]}"', f'"{SERVER[4]}", {BESIDE}'))
        synward.succeed("reload")
        wait_until("it is under attack again", lambda: attacked(synward) == [SERVER[4]])
        talk_all(pairs)
    syns.check()
    wait_until("it is over", lambda: not active(synward), 60)
    wait_until("its end is told", lambda: told(notes)[4:] == [("attack_begin", SERVER[4]), ("attack_end", SERVER[4])])
    talk_all(pairs)
    changed_after_a_kill(lab, synward, notes)
    renamed(lab, synward, notes)


def changed_after_a_kill(lab, synward, notes):
    """The next process does not watch the attacked address: its mode is off, or the address is gone."""
    ends = len(told(notes)) + 1
    with Syns(lab) as syns:
        for changes in {"mode": "off"}, {"addresses": BESIDE}:
            wait_until("the address is under attack", lambda: attacked(synward) == [SERVER[4]])
            kill(synward)
            synward.start(**changes)
            wait_until("its end is told", lambda: told(notes)[ends:] == [("attack_end", SERVER[4])])
            assert was_challenged(notes)
            assert not active(synward) and attacks(synward) == []
            synward.configure(mode="auto")
            synward.succeed("reload")
            ends += 2
    syns.check()


def renamed(lab, synward, notes):
    """The end has the name that the begin had, and the same program is told of it."""
    before = len(told(notes))
    synward.configure(addresses=f'"{SERVER[4]}", {BESIDE}')
    synward.succeed("reload")
    with Syns(lab) as syns:
        wait_until("the address is under attack", lambda: attacked(synward) == [SERVER[4]])
        synward.file.write_text(synward.file.read_text().replace('name = "web"', 'name = "shop"'))
        synward.succeed("reload")
        wait_until("all is told", lambda: [(event["event"], event["service"]) for event in events(notes)[before:]] == [
            ("attack_begin", "web"), ("attack_end", "web"), ("attack_begin", "shop")])
    syns.check()


def kill(synward):
    os.kill(synward.process.pid, signal.SIGKILL)
    synward.process.wait()
    synward.process = None


def killed_and_frozen(lab, synward, pairs):
    pairs += [lab.pair(4), lab.pair(6)]
    before = lab.counted_at_server("flood")
    kill(synward)
    synward.start()
    assert attacked(synward) == [SERVER[4]], "the next process does not know of the attack"
    pairs.append(lab.pair(4))
    os.kill(synward.process.pid, signal.SIGSTOP)
    talk_all(pairs)
    os.kill(synward.process.pid, signal.SIGCONT)
    wait_until("it answers", lambda: attacked(synward) == [SERVER[4]])
    passed = lab.counted_at_server("flood") - before
    assert passed == 0, f"{passed} SYNs of the flood reached the server meanwhile"
    talk_all(pairs)


def attacks(synward):
    service, = json.loads(synward.succeed("status", "--json"))["services"]
    attack = service["attack"]
    return [address["address"] for address in attack["addresses"]] if attack["active"] else []


def attacked(synward):
    return attacks(synward) if active(synward) else []


def active(synward):
    return synward.metric("service_active", service="web") == 1


def told(notes):
    """What the program of on_event was told."""
    return [(event["event"], event["address"]) for event in events(notes)]


def was_challenged(notes):
    """What the last event says."""
    return events(notes)[-1]["challenged"]


def events(notes):
    text = notes.read_text() if notes.exists() else ""
    # The last line may be half written.
    return list(map(json.loads, text.rpartition("\n")[0].splitlines()))


def talk_all(pairs):
    for client, server in pairs:
        talk(client, server)


class Syns(Work):
    """SYNs to one address from addresses where nobody is."""

    def __init__(self, lab):
        super().__init__()
        self.wire = Wire(lab, "client", "client0", None)
        segments = (Segment(f"10.1.{number >> 8}.{number & 255}", 1024 + number, SERVER[4], 80, number, flags=SYN, options=LINUX)
                    for number in range(RATE))
        self.frames = [self.wire.frame(segment) for segment in segments]

    def __exit__(self, *_):
        super().__exit__()
        self.wire.close()

    def work(self):
        start, sent = time.monotonic(), 0
        while not self.over.wait(0.01):
            # What a busy machine delays is made up for, so that the attack goes on.
            due = int(RATE * (time.monotonic() - start))
            for number in range(sent, due):
                self.wire.socket.send(self.frames[number % RATE])
            sent = due


story(run, start=False, mode="auto")
