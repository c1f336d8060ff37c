"""A stop leaves no program, map, link, address, rule or file behind."""

from story import story, wait_until
from traces import bpf_objects, difference, exists, system


def tell(lab, synward):
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
        # The kernel frees programs and maps a moment after the last one let go.
        wait_until("programs, maps and links are gone", lambda: not any(exists(*one) for one in objects))
        print(f"{len(objects)} programs, maps and links came and went")
        changed = difference(before, system(lab))
        assert not changed, f"the stop left changes behind:\n{changed}"


story(tell, start=False)
