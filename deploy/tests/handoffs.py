"""Runs a story with each handoff: `splice` and `forward` at the edge, `local` at the server."""

from story import AT_SERVER, Synward, story

# The edge keeps nothing about the window, so it is told the server's.
WSCALE = "wscale = 7"
HANDOFFS = ("splice", "local", "forward")


def each_handoff(run, handoffs=HANDOFFS, service="", appliance="", before=lambda lab: None, **settings):
    """Calls `run(lab, synwards)` in a lab for each handoff, with all of its synwards running: the first one faces the clients.
    `before(lab)` is called before they start."""
    def started(lab, synwards):
        if synwards[0].responder == "none":
            return
        handoff = synwards[0].settings["handoff"]
        if handoff != "splice":
            lab.free_server()
        before(lab)
        for one in reversed(synwards):
            one.start()
        run(lab, synwards)
        print(f"{handoff}: as it should be")

    both = {"start": False, "service": service, "appliance": appliance, **settings}
    if "splice" in handoffs:
        story(lambda lab, one: started(lab, [one]), **both)
    if "local" in handoffs:
        story(lambda lab, one: started(lab, [one]), ("--file-mib", "1", "--arms", "none"), role="server",
              interfaces=AT_SERVER, handoff="local", **both)
    if "forward" in handoffs:
        def with_server(lab, edge):
            behind = {"service": f"{WSCALE}\n{service}", "appliance": appliance} | settings
            behind |= {"interfaces": AT_SERVER, "handoff": "local"}
            server = Synward(lab, edge.responder, "server", "server", **behind)
            started(lab, [edge, server])
            server.stop()
        story(with_server, handoff="forward", **both | {
            "service": f"{WSCALE}\n{service}", "appliance": f'pin = "/sys/fs/bpf/edge"\n{appliance}'})


def pins_of(synward):
    """Its pin folder. An edge has one of its own, since the lab's namespaces share a BPF file system."""
    return synward.lab.pins / ("edge" if synward.settings["handoff"] == "forward" else "synward")
