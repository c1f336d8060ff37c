"""`bench compare answer` counts answers and refusals of every contender: those that answer SYNs have answered them, those that
refuse ACKs have not, and where nobody answers no cost is left after the generator's is subtracted.

All contenders take part with --full. Over IPv6 SYNPROXY is left out: with nftables it lets no connection over IPv6 through
on the kernel that this was written on.
"""

import json
import tempfile
from pathlib import Path

from benchmark import bench, benchmark_story, nothing_is_left
from story import FULL

VARIANTS = ("ipv4", "ipv6")
# The benchmark's use of IPv6 is a matter for --full.
ONCE = "ipv4"
SYNS, ACKS = "SYNs at full speed", "ACKs of no connection at full speed"
MANY = f"{ACKS}, a million connections open"
ALL = {"nobody", "kernel", "syncookies", "synproxy", "synproxy-ts", "xdp-kernel-cookie", "xdp-kernel-cookie-blind", "bare",
       "afxdp-echo", "splice-xdp", "splice-afxdp", "local"}
# One of each kind that the checks below tell apart.
SOME = {"nobody", "kernel", "splice-xdp"}
# They answer SYNs of IPv4, and drop or echo ACKs unread.
LEAST = {"bare", "afxdp-echo"}
# Without cookies the kernel answers only as many as its queue holds.
ANSWERING = ALL - {"nobody", "kernel"}
# The server's own kernel resets what matches no connection; the others drop it.
RESETTING = {"kernel", "syncookies"}
# Nanoseconds: the generator's cost differs from one second to the next, most on a busy machine.
NOTHING = 150


def run(lab, variant):
    contenders = ALL if FULL else SOME
    family = []
    if variant == "ipv6":
        contenders = {name for name in contenders if "synproxy" not in name and name not in LEAST}
        family = ["--ipv6"]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results.json"
        print(bench("compare", "answer", "--lab-name", lab, "--output", output, "--rounds", "1", "--seconds", "0.3",
                    "--contenders", ",".join(contenders), *family))
        results = json.loads(output.read_text())
    turns = {(turn["contender"], turn["case"]): turn for turn in results["turns"]}
    expected = {(contender, case) for contender in contenders for case in (SYNS, ACKS)}
    # Only synward can be given a million connections.
    expected = expected - {(name, ACKS) for name in LEAST} | {("splice-xdp", MANY)}
    assert set(turns) == expected, set(turns)
    names = [column["name"] for column in results["columns"]]
    for (contender, case), turn in turns.items():
        assert "error" not in turn, turn
        check(contender, case, dict(zip(names, turn["figures"])))
    nothing_is_left(lab)


def check(contender, case, figures):
    what = f"{contender}, {case}: {figures}"
    assert figures["segments"] > 10 and figures["generator, a segment"] > 0, what
    cost = figures["lab's tasks, a segment"]
    if contender == "nobody":
        assert abs(cost) < NOTHING, what
    else:
        assert cost > 0, what
    # AF_XDP answers only part of a flood at full speed.
    answered = figures["SYN-ACKs"] > 0.01 * figures["segments"]
    assert answered == (case == SYNS and contender in ANSWERING), what
    reset = figures["RSTs"] > 0.01 * figures["segments"]
    assert reset == (case == ACKS and contender in RESETTING), what
    assert (figures["lab's tasks, an answer"] is not None) == (answered or reset), what
    is_program = contender in {"splice-xdp", "splice-afxdp", "local"}
    for memory in ("program", "its maps"):
        assert (figures[memory] is not None) == is_program and figures[memory] != 0, what


benchmark_story(run)
