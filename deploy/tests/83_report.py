"""`bench report --run` makes every comparison, and a page with the results and their plots.

The contenders are the kernel's own cookies and synward with one responder. Where SYNs and ACKs are counted nobody, who answers
none, takes part too.
"""

import json
import re
import tempfile
import xml.etree.ElementTree as xml
from pathlib import Path

from answer_results import check_answers
from benchmark import bench, benchmark_story, nothing_is_left

# The benchmark does not depend on the responder.
ONCE = "xdp"
# Story 80 runs the benchmark's client.
NOT_FAST = True
WORKS = {"answer", "sweep", "rate", "carry"}
NOBODY = "nobody"
PLOTS = {"floods.svg", "latency.svg", "cost.svg"}


def run(lab, responder):
    contenders = {"syncookies", f"splice-{responder}"}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        report(folder)  # of nothing
        assert "Nothing was measured yet" in (folder / "README.md").read_text()

        report(folder, "--run", "--quick", "--rounds", "1", "--contenders", ",".join(contenders | {NOBODY}), "--lab-name", lab)
        page = (folder / "README.md").read_text()
        print(page)
        assert {file.name for file in folder.iterdir()} == {"README.md", *PLOTS, "engine.json",
                                                             *(f"{work}.json" for work in WORKS)}
        rows = json.loads((folder / "engine.json").read_text())["rows"]
        assert all(row["work"] in page for row in rows) and "scalar" in page, "the engine is not on the page"
        for work in WORKS:
            # Through nobody there are no connections.
            measured = contenders | {NOBODY} if work == "answer" else contenders
            check_results(json.loads((folder / f"{work}.json").read_text()), work, measured)
        check_answers(json.loads((folder / "answer.json").read_text()), contenders | {NOBODY})
        for plot in PLOTS:
            check_plot(folder / plot, contenders)
            assert f"]({plot})" in page, plot
        check_page(page, contenders, responder)

        # If a result is missing there is still a page, which says so.
        (folder / "sweep.json").unlink()
        report(folder)
        page = (folder / "README.md").read_text()
        assert "`bench compare sweep` was not run" in page and "![CPU" in page and "](floods.svg)" not in page, page
    nothing_is_left(lab)


def check_results(results, work, contenders):
    assert results["name"] == work and not results["skipped"], results
    failed = [turn for turn in results["turns"] if "error" in turn]
    assert not failed, failed
    assert {turn["contender"] for turn in results["turns"]} == contenders, results


def check_plot(path, contenders):
    texts = [(element.text or "").strip() for element in xml.parse(path).iter() if element.tag.endswith("text")]
    missing = contenders - set(texts)
    assert not missing, f"{path.name} does not name {missing}: {texts}"


def check_page(page, contenders, responder):
    assert re.search(r"Linux \d+\.\d+.*; commit \w+", page) and "bench report --run" in page
    main_table = page.split("\n## ")[0]
    for contender in contenders:
        rows = [line for line in main_table.splitlines() if line.startswith(f"| {contender} |")]
        assert len(rows) == 1, f"{contender}: {rows}"
    row = next(line for line in main_table.splitlines() if line.startswith(f"| splice-{responder} |"))
    answered, *_ = (cell.strip() for cell in row.split("|")[2:])
    assert re.match(r"[0-9.]+", answered), row
    claims = page.split("## Claims")[1]
    assert "| met |" in claims or "| **not met** |" in claims, claims
    assert "| not measured |" in claims, "SYNPROXY was no contender"


def report(folder, *arguments):
    bench("report", "--folder", folder, *arguments)


benchmark_story(run)
