"""What has to be in the results of `bench compare answer`: those that answer SYNs have answered them, those that refuse ACKs have
not, and where nobody answers no cost is left after the generator's is subtracted."""

SYNS, ACKS = "SYNs at full speed", "ACKs of no connection at full speed"
MANY = f"{ACKS}, a million connections open"
# They answer SYNs of IPv4, and drop or echo ACKs unread.
LEAST = {"bare", "afxdp-echo"}
# Without cookies the kernel answers only as many as its queue holds.
SILENT = {"nobody", "kernel"}
# The server's own kernel resets what matches no connection; the others drop it.
RESETTING = {"kernel", "syncookies"}
SYNWARD = {"splice-xdp", "splice-afxdp", "local"}
# Nanoseconds: the generator's cost differs from one second to the next, most on a busy machine. The kernel's own answer costs ten
# times as much.
NOTHING = 400


def check_answers(results, contenders):
    """Checks every turn of these contenders, and that there are no others."""
    turns = {(turn["contender"], turn["case"]): turn for turn in results["turns"]}
    expected = {(contender, case) for contender in contenders for case in (SYNS, ACKS)}
    # Only synward can be given a million connections.
    many = {(contender, MANY) for contender in contenders & {"splice-xdp"}}
    expected = expected - {(name, ACKS) for name in LEAST} | many
    assert set(turns) == expected, set(turns)
    names = [column["name"] for column in results["columns"]]
    for (contender, case), turn in turns.items():
        assert "error" not in turn, turn
        check_turn(contender, case, dict(zip(names, turn["figures"])))


def check_turn(contender, case, figures):
    what = f"{contender}, {case}: {figures}"
    assert figures["segments"] > 10 and figures["generator, a segment"] > 0, what
    cost = figures["lab's tasks, a segment"]
    if contender == "nobody":
        assert abs(cost) < NOTHING, what
    else:
        assert cost > -NOTHING, what
    # AF_XDP answers only part of a flood at full speed.
    answered = figures["SYN-ACKs"] > 0.01 * figures["segments"]
    assert answered == (case == SYNS and contender not in SILENT), what
    reset = figures["RSTs"] > 0.01 * figures["segments"]
    assert reset == (case == ACKS and contender in RESETTING), what
    assert (figures["lab's tasks, an answer"] is not None) == (answered or reset), what
    for memory in ("program", "its maps"):
        assert (figures[memory] is not None) == (contender in SYNWARD) and figures[memory] != 0, what
