"""A hundred thousand ACKs with random numbers open nothing, with timestamps and without."""

from story import BENCH, FLOOD_SOURCES, SERVER, story, wait_until

COUNT = 100_000


def tell(lab, synward):
    lab.count_at_server()
    sent = 0
    for family, host in (4, SERVER[4]), (6, f"[{SERVER[6]}]"):
        for timestamps in [], ["--timestamps"]:
            report = lab.start(
                "client", "acks", BENCH, "flood", "--interface", "client0", "--destination", f"{host}:80", "--sources",
                FLOOD_SOURCES[family], "--kind", "ack", "--count", str(COUNT), "--core", "0", "--rate", "50k", *timestamps)
            report.wait(60)
            sent += COUNT
    if synward.responder == "none":
        return
    # Of the random ACKs that name the epoch before the previous one, none has its MAC either.
    wait_until("all were judged", lambda: refused(synward) >= 0.99 * sent)
    print(f"{refused(synward):.0f} of {sent} refused")
    assert synward.metric("cookies_total", result="valid") == 0
    assert synward.metric("handoffs_total") == 0 and synward.metric("openings") == 0
    assert synward.metric("drops_total", reason="invalid_cookie") == refused(synward)
    assert lab.counted_at_server("flood") == 0


def refused(synward):
    return synward.metric("cookies_total", result="invalid")


story(tell)
