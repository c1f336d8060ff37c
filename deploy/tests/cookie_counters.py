"""What changes in synward's counters and at the server: for the stories about cookies."""

import json
import subprocess
import time

from story import wait_until

# Seconds for which a cookie is valid at least (EPOCH_SECONDS).
VALID = 32


def count_clients_syns(lab):
    """Counts the SYNs that the server receives from now on, without those of synward itself."""
    rules = """
        table inet cookies {
            counter syns {}
            chain arriving {
                type filter hook prerouting priority raw;
                ip saddr 192.0.2.1 accept
                ip6 saddr 2001:db8:5::1 accept
                iifname "server0" tcp flags & (syn|ack) == syn counter name syns
            }
        }"""
    with lab.inside("server"):
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def clients_syns(lab):
    listing = json.loads(lab.run("server", "nft", "-j", "list", "counter", "inet", "cookies", "syns"))
    return next(entry["counter"]["packets"] for entry in listing["nftables"] if "counter" in entry)


def replays_dropped(synward, made):
    """ACKs that were dropped as replays of a handshake that was complete at the time `made`. Its cookie may have expired by now."""
    reasons = ["replayed_cookie"]
    if time.monotonic() - made > VALID:
        reasons += ["expired_cookie", "invalid_cookie"]
    return sum(synward.metric("drops_total", reason=reason) for reason in reasons)


class Change:
    """What changes in synward's metrics and at the server."""

    def __init__(self, lab, synward):
        self.lab, self.synward = lab, synward
        self.before = self.now()

    def now(self):
        metric = self.synward.metric
        return {
            "valid": metric("cookies_total", result="valid"),
            "invalid": metric("cookies_total", result="invalid"),
            "expired": metric("cookies_total", result="expired"),
            "dropped as invalid": metric("drops_total", reason="invalid_cookie"),
            "dropped as expired": metric("drops_total", reason="expired_cookie"),
            "handed over": metric("handoffs_total"),
            "SYNs at the server": clients_syns(self.lab),
        }

    def so_far(self):
        now = self.now()
        return {name: int(now[name] - self.before[name]) for name in now if now[name] != self.before[name]}

    def is_exactly(self, what, **expected):
        """Waits until the counters have changed by exactly this, and no others have."""
        if self.synward.responder == "none":
            return
        expected = {name.replace("_", " "): number for name, number in expected.items() if number}
        expected = {name.replace("SYNs at", "SYNs at the"): number for name, number in expected.items()}
        try:
            wait_until(what, lambda: self.so_far() == expected)
        except TimeoutError:
            raise AssertionError(f"{what}: {self.so_far()} instead of {expected}") from None
        assert self.synward.metric("openings") == 0, f"{what}: an opening"
