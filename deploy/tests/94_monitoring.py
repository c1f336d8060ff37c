"""A real Prometheus scrapes synward; every alert and every panel of deploy/monitoring uses metrics and labels that exist, and
each alert is tested. When synward is killed, Prometheus sees it."""

import json
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
from pathlib import Path

import debian_modules  # noqa: F401
import yaml
from story import METRICS_PORT, PATIENCE, ROOT, Skip, receive, story, wait_until

# The endpoint is the same with both responders; only workers over AF_XDP fill every family.
ONCE = "afxdp"
BESIDE_OTHERS = True

FOLDER = ROOT / "deploy/monitoring"
RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
ADDRESS = "127.0.0.1:9090"
# Labels that Prometheus adds, and the bound of a bucket.
ADDED = {"instance", "job", "le"}


def run(lab, synward):
    for tool in "promtool", "prometheus":
        if not shutil.which(tool):
            raise Skip(f"{tool} is not installed: apt-get install prometheus")
    every_alert_is_tested()
    dashboard_is_current()
    client, server = lab.pair()
    client.sendall(b"x")
    receive(server, 1)
    page = lab.run("edge", "curl", "--silent", "--fail", f"http://127.0.0.1:{METRICS_PORT}/metrics")
    done = subprocess.run(["promtool", "check", "metrics"], input=page, text=True, capture_output=True)
    assert done.returncode == 0 and not done.stderr.strip(), f"promtool check metrics: {done.stdout}{done.stderr}"
    queries_use_what_exists(page)
    is_documented(page)
    prometheus_scrapes(lab, synward)
    client.close()
    server.close()


# ---- the files

def every_alert_is_tested():
    subprocess.run(["promtool", "check", "config", FOLDER / "prometheus.yml"], check=True)
    subprocess.run(["promtool", "test", "rules", FOLDER / "alerts_test.yml"], check=True)
    tests = (FOLDER / "alerts_test.yml").read_text()
    readme = (FOLDER / "README.md").read_text()
    for rule in RULES:
        assert rule["alert"] in tests, f"alerts_test.yml does not test {rule['alert']}"
        assert f"`{rule['alert']}`" in readme, f"deploy/monitoring/README.md does not list {rule['alert']}"
        assert {"summary", "description"} <= set(rule["annotations"]) and rule["labels"]["severity"], rule
    # The bits of the weaker cookie's MAC.
    source = (ROOT / "ebpf/core/src/cookie.rs").read_text()
    bits = 1 + int(re.search(r"options \d+ · MAC bits 0–(\d+)", source)[1])
    guessing = next(rule["expr"] for rule in RULES if rule["alert"] == "SynwardCookieGuessing")
    assert f"2^{bits} " in guessing, f"the cookie's MAC has {bits} bits, and the alert says {guessing}"


def dashboard_is_current():
    printed = subprocess.run([FOLDER / "dashboard.py"], check=True, text=True, stdout=subprocess.PIPE).stdout
    assert printed == (FOLDER / "dashboard.json").read_text(), "run deploy/monitoring/dashboard.py > …/dashboard.json"
    for panel in json.loads(printed)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]


def dashboard_queries():
    """The queries of all panels, with Grafana's variables replaced."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    variables = {"$__rate_interval": "5s", "$instance": ".*", "$service": ".*"}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in variables.items():
                query = query.replace(name, value)
            assert "$" not in query, query
            yield panel["title"], query


# ---- names

def families(page):
    """The names of the page's metrics, with the labels of their samples."""
    found = {name: set() for name in re.findall(r"^# TYPE (\w+)", page, re.MULTILINE)}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", page, re.MULTILINE):
        family = name if name in found else re.sub("_(bucket|sum|count)$", "", name)
        found[family] |= set(re.findall(r'(\w+)="', labels))
    return found


def documented():
    """The metrics of deploy/README.md's table, with their labels."""
    text = (ROOT / "deploy/README.md").read_text()
    return {name: set(filter(None, labels.split(",")))
            for name, labels in re.findall(r"^\| `(synward_\w+?)(?:\{([\w,]*)\})?` \|", text, re.MULTILINE)}


def queries_use_what_exists(page):
    known = families(page)
    labels = documented()
    queries = [*dashboard_queries(), *((rule["alert"], rule["expr"]) for rule in RULES)]
    used = set()
    for title, query in queries:
        for name, selector in re.findall(r"(synward_\w+)(?:\{(.*?)\})?", query):
            family = name.removesuffix("_bucket")
            assert family in known, f"{title}: {name} is not exported"
            for label in re.findall(r"(\w+) *[=!]~?", selector):
                assert label in labels[family] | ADDED, f"{title}: {name} has no label {label}"
            used.add(family)
        for group in re.findall(r"by \(([\w, ]+)\)", query):
            possible = set().union(ADDED, *(labels[name] for name in labels if name in query))
            assert set(group.split(", ")) <= possible, f"{title}: no metric of the query has all labels of {group}"
    print(f"{len(queries)} queries use {len(used)} of {len(known)} metrics")


def is_documented(page):
    exported, written = families(page), documented()
    assert set(exported) == set(written), f"deploy/README.md and the endpoint differ: {set(exported) ^ set(written)}"
    for name, labels in exported.items():
        assert labels <= written[name] | {"le"}, f"{name} has labels {labels}, deploy/README.md says {written[name]}"


# ---- a real Prometheus

def prometheus_scrapes(lab, synward):
    settings = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    settings["rule_files"] = [str(FOLDER / "alerts.yml")]
    file = Path(lab.folder) / "prometheus.yml"
    file.write_text(yaml.safe_dump(settings))
    lab.start("edge", "prometheus", "prometheus", f"--config.file={file}", f"--web.listen-address={ADDRESS}",
              f"--storage.tsdb.path={lab.folder}/prometheus", "--log.level=warn")

    def ask(what, **parameters):
        address = f"http://{ADDRESS}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with lab.inside("edge"):
            done = subprocess.run(["curl", "--silent", "--max-time", str(PATIENCE), address], text=True, stdout=subprocess.PIPE)
        answer = json.loads(done.stdout) if done.returncode == 0 and done.stdout.startswith("{") else {"data": None}
        assert answer.get("status") != "error", f"{what} {parameters}: {answer}"
        return answer["data"]

    def value(query):
        found = ask("query", query=query)
        return found and found["result"] and float(found["result"][0]["value"][1])

    wait_until("Prometheus has scraped", lambda: value("up == 1 and on (instance) synward_uptime_seconds > 0"), 60)
    # A scrape that took more than a second leaves no values until the next one.
    def has_value(query):
        return wait_until(f"a value of {query}", lambda: value(query) or None, 60)

    assert has_value('synward_handoffs_total{result="established"}') >= 1
    for title, query in dashboard_queries():
        assert ask("query", query=query) is not None, title
    rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {rule["alert"] for rule in RULES}
    wait_until("every rule has been evaluated", lambda: all(
        rule["health"] == "ok" for group in ask("rules")["groups"] for rule in group["rules"]), 60)
    quantile = "histogram_quantile(0.99, sum by (le) (synward_handoff_seconds_bucket))"
    print(f"p99 of the handoff, of one: {has_value(quantile):.6f} s")

    process, synward.process = synward.process, None
    process.stop(signal.SIGKILL)
    alert = 'ALERTS{alertname="SynwardDown", alertstate="pending"}'
    began = time.monotonic()
    wait_until("Prometheus sees that synward is down", lambda: value(alert), 60)
    print(f"SynwardDown was pending {time.monotonic() - began:.1f} s after synward was killed")


story(run)
