"""The control thread hangs: /healthz, /readyz, /metrics and `status` say so in seconds and no command waits for ever, while clients
are served. When it goes on, all is well."""

import json
import time

from frozen import BPF, Frozen
from story import FULL, story, talk, wait_until

# The control thread does the same with each responder.
ONCE = "xdp"
BESIDE_OTHERS = True
# Seconds in which a command gives up, and what a slow machine needs for it.
TIMEOUT, MARGIN = 5, 5
CAUSE = "the control thread has made no round for"


def run(lab, synward):
    if synward.responder == "none":
        return
    process = json.loads(synward.succeed("status", "--json"))["pid"]
    # Between two rounds, and in the middle of one: then it has a lock that every command needs.
    for call in None, BPF:
        frozen = Frozen(process, call)
        began = time.monotonic()
        wait_until("status names the control thread", lambda: CAUSE in in_time(synward, 3, "status"))
        assert time.monotonic() - began < 15
        for path in "/healthz", "/readyz":
            status, text = synward.get(path)
            assert status == 503 and CAUSE in text, f"{path}: {status} {text}"
        if call is None:
            assert synward.metric("complaints") == 1
            assert CAUSE in json.loads(in_time(synward, 3, "status", "--json"))["degraded"][0]
        else:
            assert synward.get("/metrics")[0] == 503
            for arguments in ["flows"], ["mode", "web", "always"], ["deny", "list"], ["undrain"]:
                assert CAUSE in in_time(synward, 1, *arguments), arguments
        assert CAUSE in in_time(synward, 1, "reload")
        for family in (4, 6) * (10 if FULL else 1):
            client, server = lab.pair(family)
            talk(client, server)
            client.close()
            server.close()
            time.sleep(2 if FULL else 0)
        frozen.go_on()
        wait_until("it serves", lambda: synward.command("status")[0] == 0)
        assert synward.get("/readyz")[0] == 200
        synward.succeed("reload")


def in_time(synward, expected, *arguments):
    """What a command says, which ends with this exit code (or 0, before it can know) and in time."""
    began = time.monotonic()
    code, text = synward.command(*arguments)
    seconds = time.monotonic() - began
    assert seconds < TIMEOUT + MARGIN, f"{arguments} took {seconds:.1f} s: {text}"
    assert code == expected or (code == 0 and CAUSE not in text), f"{arguments}: exit code {code}: {text}"
    return text


story(run)
