"""`bench compare answer` counts answers and refusals of every contender.

Over IPv6 SYNPROXY is left out: with nftables it lets no connection over IPv6 through on the kernel that this was written on.
"""

import json
import tempfile
from pathlib import Path

from answer_results import LEAST, check_answers
from benchmark import bench, benchmark_story, nothing_is_left

VARIANTS = ("ipv4", "ipv6")
# Story 83 makes the same comparison of one contender of each kind.
ONLY_FULL = True
ALL = {"nobody", "kernel", "syncookies", "synproxy", "synproxy-ts", "xdp-kernel-cookie", "xdp-kernel-cookie-blind", "bare",
       "afxdp-echo", "splice-xdp", "splice-afxdp", "local"}


def run(lab, variant):
    contenders, family = ALL, []
    if variant == "ipv6":
        contenders = {name for name in contenders if "synproxy" not in name and name not in LEAST}
        family = ["--ipv6"]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results.json"
        print(bench("compare", "answer", "--lab-name", lab, "--output", output, "--rounds", "1", "--seconds", "0.3",
                    "--contenders", ",".join(contenders), *family))
        results = json.loads(output.read_text())
    check_answers(results, contenders)
    nothing_is_left(lab)


benchmark_story(run)
