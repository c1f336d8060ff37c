"""A stop leaves no program, map, link, address, rule or file behind, also in the middle of a start; with --keep-steering it leaves
programs that still answer."""

from segments import LINUX, SPOOFED, SYN, Segment, Wire, shake_hands
from story import PORT, SERVER, START, SYNWARD, story, wait_until
from traces import bpf_objects, difference, exists, system

BESIDE_OTHERS = True


def run(lab, synward):
    before = system(lab)
    for _ in range(2):
        synward.start()
        client, server = lab.pair()
        client.sendall(b"x")
        objects = bpf_objects(lab, synward.process.pid)
        kinds = {kind for kind, _ in objects}
        assert kinds >= {"prog_id", "map_id"}, f"synward holds {objects}"
        synward.stop()
        client.close()
        server.close()
        # The kernel frees programs and maps a moment after their last reference is dropped.
        wait_until("programs, maps and links are gone", lambda: not any(exists(*one) for one in objects))
        print(f"{len(objects)} programs, maps and links were removed")
        changed = difference(before, system(lab))
        assert not changed, f"the stop left changes behind:\n{changed}"
    stops_before_it_is_ready(lab, synward, before)
    keeps_steering(lab, synward)
    changed = difference(before, system(lab))
    assert not changed, f"`unload` left changes behind:\n{changed}"


def stops_before_it_is_ready(lab, synward, before):
    """Before anything is attached, after that, and while sockets are bound."""
    synward.configure()
    for step in "did not answer the probe", "steered", "socket bound":
        process = lab.start("edge", "synward", SYNWARD, "run", "--config", synward.file)
        wait_until(f"the log says {step}", lambda: step in process.output(), START)
        code = process.stop()
        assert code == 0, f"stopped where the log says {step}: exit code {code}: {process.output()}"
        changed = difference(before, system(lab))
        assert not changed, f"a stop where the log says {step} left changes behind:\n{changed}"


def keeps_steering(lab, synward):
    """The programs left in place answer as soon as the workers are gone."""
    wire = Wire(lab, "client", "client0")
    synward.configure()
    process = lab.start("edge", "synward", SYNWARD, "run", "--config", synward.file, "--keep-steering")
    wait_until("synward is ready", lambda: "ready" in process.output(), START)
    assert process.stop() == 0
    for port in range(3000, 3010):
        shake_hands(wire, Segment(SPOOFED[4], port, SERVER[4], PORT, seq=port, flags=SYN, options=LINUX))
    removed = lab.run("edge", SYNWARD, "unload", "--pin", lab.pins / "synward")
    assert "the XDP program of out0" in removed, removed
    print("the programs left in place answered 10 SYNs")


story(run, start=False)
