"""`status --json` of a running process is what docs/status.schema.json says, and the schema names every field: while it serves, under
attack, degraded, after a refused reload and while it drains. Events have one form in `status` and for programs."""

import json

import debian_modules  # noqa: F401
from jsonschema import Draft202012Validator

from story import PORT, ROOT, SYNWARD, story, wait_until

# Queues of workers and of the XDP program are in one picture.
ONCE = "afxdp"
BESIDE_OTHERS = True
SCHEMA = json.loads((ROOT / "docs/status.schema.json").read_text())
NUMBERS = ["rate", "threshold", "peak_rate", "duration_seconds", "syns", "proven_clients"]


def run(lab, synward):
    if synward.responder == "none":
        return
    Draft202012Validator.check_schema(SCHEMA)
    notes = lab.folder / "events"
    synward.start(service=f"""activate_syn_rate = 1000
hold_seconds = 3
on_event = ["/bin/sh", "-c", 'cat >> "$0"', "{notes}"]""")
    assert as_documented(synward)["serving"]
    flood = lab.flood(4, 80, 120, "--rate", "20k")
    wait_until("it is under attack", lambda: as_documented(synward)["services"][0]["attack"]["addresses"])
    ends = lab.pair()
    flood.report()
    wait_until("it is over", lambda: not as_documented(synward)["services"][0]["attack"]["active"], 60)

    lab.run("edge", "sysctl", "-qw", "net.ipv4.ip_forward=0")
    wait_until("it is degraded", lambda: as_documented(synward)["degraded"])
    lab.run("edge", "sysctl", "-qw", "net.ipv4.ip_forward=1")
    wait_until("it serves", lambda: not as_documented(synward)["degraded"])

    synward.configure(ports=[PORT, 0])
    assert synward.command("reload")[0] == 1
    assert not as_documented(synward)["config_last_reload_successful"]
    synward.configure(ports=[80, PORT])
    synward.succeed("reload")
    assert as_documented(synward)["config_last_reload"]

    events_are_told(notes, as_documented(synward)["events"])
    lists_and_flows(synward)
    draining(lab, synward, ends)


def as_documented(synward):
    code, text = synward.command("status", "--json")
    assert code in (0, 3), text
    document = json.loads(text)
    errors = Draft202012Validator(closed(SCHEMA)).iter_errors(document)
    wrong = [f"{error.json_path}: {error.message}" for error in errors]
    assert not wrong, "\n".join(wrong)
    return document


def closed(schema):
    """Forbids unknown fields in every object whose fields are listed. Users' copies of the schema allow them."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: closed(part) for name, part in schema.items()}
    return parts | {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else parts


def events_are_told(notes, kept):
    """The program of on_event got the same objects."""
    wait_until("both are told", lambda: notes.exists() and notes.read_text().count("\n") == 2)
    told = [json.loads(line) for line in notes.read_text().splitlines()]
    assert told == kept, f"{told} and {kept}"
    for event in told:
        assert list(event) == ["time", "event", "service", "address", "message", *NUMBERS, "challenged"], event
        assert all(isinstance(event[name], (int, float)) for name in ["time", *NUMBERS]) and event["challenged"] is True, event
    assert [event["event"] for event in told] == ["attack_begin", "attack_end"]


def lists_and_flows(synward):
    """What docs/lists.md and `flows --help` say of their JSON."""
    synward.succeed("deny", "add", "203.0.113.0/24", "--for", "1h", "--service", "web")
    entry, = json.loads(synward.succeed("deny", "list", "--json"))
    assert {name: entry[name] for name in ("list", "prefix", "service", "origin")} == {
        "list": "deny", "prefix": "203.0.113.0/24", "service": "web", "origin": "run_time"}, entry
    assert 0 < entry["remaining_seconds"] <= 3600, entry
    flows = json.loads(synward.succeed("flows", "--json"))
    assert {flow["state"] for flow in flows} <= {"opening", "established", "closing"} and flows, flows


def draining(lab, synward, ends):
    drain = lab.start("edge", "drain", SYNWARD, "--control", synward.control, "drain")
    wait_until("it drains", lambda: as_documented(synward)["drain"])
    for end in ends:
        end.close()
    assert drain.wait() == 0, drain.output()
    wait_until("it has ended", lambda: not synward.process.running())
    assert synward.process.wait() == 0
    synward.process = None


story(run, start=False, mode="auto")
