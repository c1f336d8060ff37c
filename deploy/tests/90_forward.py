"""Two edges answer SYNs for one server, whose own kernel accepts the clients and answers them directly. A segment may pass
either edge, and an edge may fail."""

import signal
import socket
import subprocess
import threading

from flood import AT_ONCE, request, send_requests
from story import AT_SERVER, FAST, FLOOD_SOURCES, FULL, ONE_ARM, Synward, receive, receive_all, story, wait_until
from transfer import MIB, pseudo_random, timestamps

EDGES = {"edge": ("198.51.100.1", "2001:db8:c::1"), "edge2": ("198.51.100.3", "2001:db8:c::3")}
# SYNs take another route than everything else.
SYNS_APART = """
    table inet apart {
        chain leaving {
            type route hook output priority mangle;
            tcp flags & (syn|ack) == syn meta mark set 1
        }
    }"""
REQUESTS = 200 if FULL else 20 if FAST else 100
TRANSFERS = 100 if FULL else 20 if FAST else 40
EACH = pseudo_random(2)
WSCALE = "wscale = 7"
# Attempts at most until there is one in which no client retransmits a SYN: that looks like the SYN of a client that begins again,
# and the edge leaves it to the server.
ROUNDS = 5
# Workers answer fewer SYNs than a core can send; those of clients would be lost among them.
RATE = {"afxdp": ("--rate", "30k"), "xdp": ()}


def run(lab, server):
    lab.free_server()
    responder = server.responder
    if responder == "none":
        return
    edges = [Synward(lab, responder, role, role, handoff="forward", interfaces=ONE_ARM, service=WSCALE,
                     appliance=f'pin = "/sys/fs/bpf/{role}"') for role in EDGES]
    for one in server, *edges:
        one.start()
    a, b = edges
    syns_through_one_edge_the_rest_through_the_other(lab, server, a, b)
    under_a_flood(lab, server, a)
    an_edge_fails(lab, a, b)
    b.stop()


def route_via(lab, edge, *table):
    """Sets the client's routes."""
    for family, gateway in zip(("-4", "-6"), EDGES[edge]):
        lab.run("client", "ip", family, "route", "replace", "default", "via", gateway, *table)


def syns_through_one_edge_the_rest_through_the_other(lab, server, a, b):
    with lab.inside("client"):
        subprocess.run(["nft", "-f", "-"], input=SYNS_APART, text=True, check=True)
    for family in "-4", "-6":
        lab.run("client", "ip", family, "rule", "add", "fwmark", "1", "lookup", "100")
    route_via(lab, "edge", "table", "100")
    route_via(lab, "edge2")
    for _ in range(ROUNDS):
        before, retransmitted = counted(server, a, b), lab.syns_retried()
        opened = connections_of_each_kind(lab)
        if lab.syns_retried() == retransmitted:
            break
    else:
        raise AssertionError(f"a client retransmitted a SYN in each of {ROUNDS} attempts")
    seen = {what: number - before[what] for what, number in counted(server, a, b).items()}
    forwarded = seen.pop("forwarded by the second edge")
    expected = {"answered by the first edge": opened, "handed over": opened}
    assert {what: number for what, number in seen.items() if number} == expected, f"{seen} for {opened} connections"
    assert forwarded > 5 * opened, f"the second edge forwarded {forwarded:.0f} segments"
    print(f"{opened} connections: SYNs through one edge, {forwarded:.0f} segments through the other, direct return")


def counted(server, a, b):
    return {
        "answered by the first edge": a.metric("answers_total"),
        "forwarded by the first edge": a.metric("segments_total", fate="forwarded"),
        "answered by the second edge": b.metric("answers_total"),
        "forwarded by the second edge": b.metric("segments_total", fate="forwarded"),
        "answered by the server": server.metric("answers_total"),
        "handed over": server.metric("handoffs_total", result="established"),
    }


def connections_of_each_kind(lab):
    """How many it opens."""
    opened = 0
    for stamped in True, False:
        timestamps(lab, stamped)
        for family in 4, 6:
            client, taken = lab.pair(family)
            client.sendall(b"by the other edge")
            assert receive(taken, 17) == b"by the other edge"
            taken.sendall(b"straight back")
            assert receive(client, 13) == b"straight back"
            client.close()
            assert taken.recv(1) == b""
            taken.close()
            for scheme in "http", "https":
                for _ in range(20):
                    _, error = request(lab, family, scheme)
                    assert error is None, f"IPv{family}, {scheme}: {error}"
            opened += 41
    timestamps(lab, True)
    return opened


def under_a_flood(lab, server, a):
    route_via(lab, "edge")
    for family in 4, 6:
        for _ in range(ROUNDS):
            before, retransmitted = server.metric("syns_total"), lab.syns_retried()
            enough = a.metric("answers_total") + 100_000
            flood = lab.flood(family, 80, 300, *RATE[server.responder])
            wait_until("the edge answers the flood", lambda: a.metric("answers_total") > enough)
            for _, error in send_requests(lab, family, "http", REQUESTS, AT_ONCE[server.responder]):
                assert error is None, f"IPv{family}: {error}"
            sent = flood.report()["sent"]
            if lab.syns_retried() == retransmitted:
                break
        else:
            raise AssertionError(f"IPv{family}: a client retransmitted a SYN in each of {ROUNDS} floods")
        assert server.metric("syns_total") == before, "SYNs reached the server"
        assert lab.syn_received() == 0
        print(f"IPv{family}: requests beside a flood of {sent:,} SYNs from {FLOOD_SOURCES[family]}, none at the server")


def an_edge_fails(lab, a, b):
    """First its process is killed, then its link fails."""
    route_via(lab, "edge")
    failures, halfway = [], threading.Semaphore(0)
    done = threading.Event()

    def transfer(number):
        try:
            client, taken = pairs[number]
            sender = threading.Thread(target=lambda: (feed(client), client.shutdown(socket.SHUT_WR)))
            sender.start()
            got = receive(taken, len(EACH) // 2)
            halfway.release()
            got += receive_all(taken)
            sender.join()
            assert got == EACH, "other data arrived"
        except Exception as error:
            failures.append(f"transfer {number}: {error!r}")
            halfway.release()

    def feed(client):
        client.sendall(EACH[: len(EACH) * 3 // 4])
        done.wait()
        client.sendall(EACH[len(EACH) * 3 // 4 :])

    pairs = []
    for number in range(TRANSFERS):
        with lab.listen((4, 6)[number % 2]) as listener:
            client = lab.connect((4, 6)[number % 2])
            taken, _ = listener.accept()
        for end in client, taken:
            end.settimeout(60)
        pairs.append((client, taken))
    threads = [threading.Thread(target=transfer, args=(number,)) for number in range(TRANSFERS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        halfway.acquire()
    process, a.process = a.process, None
    process.stop(signal.SIGKILL)
    # Its program stays attached and still answers clients.
    for family in 4, 6:
        _, error = request(lab, family, "http")
        assert error is None, f"after the process, IPv{family}: {error}"
    lab.run("edge", "ip", "link", "set", "out0", "down")
    route_via(lab, "edge2")
    done.set()
    for thread in threads:
        thread.join()
    assert not failures, failures
    for client, taken in pairs:
        client.close()
        taken.close()
    for family in 4, 6:
        _, error = request(lab, family, "http")
        assert error is None, f"by the remaining edge, IPv{family}: {error}"
    print(f"{TRANSFERS} of {TRANSFERS} transfers of {len(EACH) // MIB} MiB finished, though their edge failed")


story(run, ("--file-mib", "1", "--arms", "one", "--edges", "two", "--return", "direct"), start=False, role="server",
      interfaces=AT_SERVER, handoff="local", service=WSCALE)
