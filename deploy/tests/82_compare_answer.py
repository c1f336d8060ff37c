"""`bench compare answer`, in small: whoever answers SYNs has answered them, whoever refuses ACKs has not, and where nobody
does anything nothing is left once the generator is taken off.

All responders are contenders; told as a story of "afxdp" it is about IPv4, as one of "xdp" about IPv6. There
SYNPROXY is left out: with nftables it lets no connection over IPv6 through on the kernel that this was written on.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from story import BENCH, ROOT, SYNWARD

SYNS, ACKS = "SYNs at full speed", "ACKs of no connection at full speed"
MANY = f"{ACKS}, a million connections open"
EVERYONE = {"nobody", "kernel", "syncookies", "synproxy", "synproxy-ts", "xdp-kernel-cookie", "xdp-kernel-cookie-blind",
            "bare", "afxdp-echo", "splice-xdp", "splice-afxdp", "local"}
# Without cookies the kernel answers as many as its queue holds.
# They answer SYNs of IPv4, and drop or echo ACKs unread.
LEAST = {"bare", "afxdp-echo"}
ANSWERING = EVERYONE - {"nobody", "kernel"}
# The server's own kernel resets what belongs to nothing; the others say nothing.
RESETTING = {"kernel", "syncookies"}
# Nanoseconds; what the generator costs differs from one second to the next, most on a busy machine.
NOTHING = 150


def main():
    # To end by an exception ends the comparison, and that removes its lab.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    lab = os.environ.get("SYNWARD_STORY_LAB", f"story{os.getpid()}")
    family, contenders = [], EVERYONE
    if sys.argv[1:] == ["xdp"]:
        contenders = {name for name in EVERYONE if "synproxy" not in name and name not in LEAST}  # of IPv4 alone
        family = ["--ipv6", "--contenders", ",".join(contenders)]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results.json"
        print(compare(lab, "--output", output, "--rounds", "1", "--seconds", "0.3", *family))
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
    left = [*Path("/run/netns").glob(f"sw-{lab}-*"), *Path("/run/synward-lab").glob(lab)]
    assert not left, f"left behind: {left}"


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


def compare(lab, *arguments):
    process = subprocess.Popen(
        [BENCH, "compare", "answer", "--lab-name", lab, "--lab", ROOT / "deploy/lab", "--synward", SYNWARD, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        table, errors = process.communicate()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
    assert process.returncode == 0, errors.decode()
    return table.decode()


try:
    main()
except AssertionError:
    # As any story: what went wrong is on stdout.
    traceback.print_exc(file=sys.stdout)
    sys.exit(1)
