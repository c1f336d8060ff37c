"""Listeners of every kind on synward's own machine: each behaves towards its clients as the plain kernel makes it."""

import errno
import json
import os
import socket
import struct
import subprocess
import time

from segments import ACK, LINUX, PSH, SERVER_MAC, SPOOFED, SYN, Segment, Wire, answer_to, shake_hands
from story import CLIENT, FAMILY, PORT, SERVER, Skip, local_story, receive, receive_all, wait_until
from transfer import both_ends

# A segment that is lost or does not fit waits for a timer of 200 ms at least.
PROMPT = 0.15
# For SYNs and whatever else a flood drowns, sent again after 1, 2, 4, … s.
PATIENT = 60
IPPROTO_MPTCP = 262
RCVBUF = 8192


def tell(lab, synward):
    for family in 4, 6:
        small_buffer(lab, synward, family)
        full_queue(lab, synward, family)
        closed_port(lab, family)
        group(lab, family)
        bound_to_device(lab, family)
        known_tuples(lab, family)
        known_tuples_in_a_flood(lab, synward, family)
        half_open_in_a_flood(lab, synward, family)
        proven_together(lab, synward, family)
        mptcp(lab, synward, family)
    dual_stack(lab)


def small_buffer(lab, synward, family):
    """A service restarted with a small buffer: what is promised for it follows, and nothing more is sent than fits."""
    listener = prepare(lab, family, buffer=RCVBUF)
    listener.listen(8)
    with listener:
        # Over the link, by the kernel alone, it promises this.
        promised = own_window(lab, synward, family, listener)
        if synward.responder != "none":
            wait_until("the small window is promised", lambda: window_of(synward, family) == promised, 60)
        data = os.urandom(30_000)
        client = lab.connect(family)
        server, _ = listener.accept()
        began = time.monotonic()
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        server.settimeout(10)
        assert receive_all(server) == data
        took = time.monotonic() - began
        print(f"IPv{family}: 30 kB into a buffer of {RCVBUF} bytes in {took * 1000:.1f} ms; window {promised}")
        assert took < PROMPT, f"{took:.3f} s"
        close(client, server)


def own_window(lab, synward, family, listener):
    """The window of the plain kernel's SYN-ACK, from a client that is not challenged."""
    synward.mode("off")
    syn_ack = f"tcp src port {PORT} and tcp[13] == 18" if family == 4 else f"ip6 and src port {PORT} and ip6[53] == 18"
    log = lab.folder / "window.log"
    with lab.inside("client"), open(log, "wb") as out:
        capture = subprocess.Popen(["tcpdump", "-lnvvi", "client0", "-c", "1", syn_ack], stdout=out, stderr=out)
    wait_until("tcpdump listens", lambda: b"listening on" in log.read_bytes())
    client = lab.connect(family)
    assert capture.wait(10) == 0
    close(client, listener.accept()[0])
    synward.mode("always")
    return int(log.read_text().partition(", win ")[2].split(",")[0])


def window_of(synward, family):

    code, text = synward.command("status", "--json")
    assert code == 0, text
    for profile in json.loads(text)["services"][0]["profiles"]:
        if (profile["address"], profile["port"]) == (SERVER[family], PORT):
            return profile["window"]


def full_queue(lab, synward, family):
    """No SYN is answered while the accept queue is full; the client comes in when there is room."""
    listener = prepare(lab, family)
    listener.listen(1)
    with listener:
        waiting = [lab.connect(family) for _ in range(2)]
        before = lab.kernel_counters()["ListenOverflows"], dropped(synward)
        late = unconnected(lab, family)
        late.setblocking(False)
        assert late.connect_ex((SERVER[family], PORT)) == errno.EINPROGRESS
        wait_until("its SYN is dropped", lambda: (lab.kernel_counters()["ListenOverflows"], dropped(synward)) > before)
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        accepted = [listener.accept()[0] for _ in waiting]
        listener.settimeout(10)
        accepted.append(listener.accept()[0])
        late.settimeout(10)
        accepted[-1].sendall(b"late")
        assert receive(late, 4) == b"late"
        close(late, *waiting, *accepted)


def dropped(synward):
    return synward.metric("drops_total", reason="accept_queue_full")


def closed_port(lab, family):
    client = unconnected(lab, family)
    began = time.monotonic()

    assert client.connect_ex((SERVER[family], PORT)) == errno.ECONNREFUSED
    assert time.monotonic() - began < PROMPT
    client.close()


def group(lab, family):
    """SO_REUSEPORT: every connection is accepted by one of them, and more than one gets some."""
    listeners = [prepare(lab, family, port_shared=True) for _ in range(4)]
    for listener in listeners:
        listener.listen(64)
    clients = [lab.connect(family) for _ in range(40)]
    accepted = []
    for listener in listeners:
        listener.setblocking(False)
        accepted.append([])
    for client in clients:
        client.sendall(b"x")

    def take():
        for listener, connections in zip(listeners, accepted):
            try:
                connections.append(listener.accept()[0])
            except BlockingIOError:
                continue
        return sum(map(len, accepted)) == len(clients)
    wait_until("all are accepted", take)
    assert sum(map(bool, accepted)) > 1, "one socket got them all"
    close(*clients, *sum(accepted, []), *listeners)


def bound_to_device(lab, family):
    with prepare(lab, family, device=b"server0") as listener:
        listener.listen(8)
        works(lab, family, listener)
    with prepare(lab, family, device=b"lo") as listener:
        listener.listen(8)
        client = unconnected(lab, family)
        assert client.connect_ex((SERVER[family], PORT)) == errno.ECONNREFUSED
        client.close()


def known_tuples(lab, family):
    """The client comes back from the same port: to a tuple in TIME_WAIT, and to a connection that it has forgotten."""
    with prepare(lab, family) as listener:
        listener.listen(8)
        back_in_time_wait(lab, family, listener, 23456 + family)
        took = back_after_a_crash(lab, family, listener, 23466 + family)
        print(f"IPv{family}: back after a crash in {took:.2f} s")


def known_tuples_in_a_flood(lab, synward, family):
    """There only the listener is asked, except at the first SYNs of a tick: what is left of the old connection goes when the
    client has proven itself."""
    if synward.responder == "none":
        return
    with prepare(lab, family) as listener:
        listener.listen(64)
        listener.settimeout(PATIENT)
        answered = synward.metric("answers_total")
        flood = lab.flood(family, PORT, 300)
        wait_until("the flood is answered", lambda: synward.metric("answers_total") > answered + 100_000)
        for back, ports in (back_in_time_wait, 24000), (back_after_a_crash, 25000):
            port = ports + 500 * (family == 6)
            before, made_room = synward.metric("handoffs_total", result="stale_reset"), 0
            while not made_room:
                assert port % 500 < 200, "every client found its old connection at the SYN"
                # At another moment of the tick each time; a process often runs at the start of one.
                back(lab, family, listener, port, PATIENT, pause=port % 16 / 1000)
                port += 1
                made_room = synward.metric("handoffs_total", result="stale_reset") - before
            print(f"IPv{family}, a flood: {port % 500} clients {back.__name__}, for the last the old connection made room")
        flood.report()


def back_in_time_wait(lab, family, listener, port, patience=10, pause=0):
    client = unconnected(lab, family, port, patience=patience)
    client.connect((SERVER[family], PORT))
    server, _ = listener.accept()
    server.close()
    assert client.recv(1) == b""
    client.close()
    # Its FIN may be one of those that a flood drowns.
    wait_until("the port is the client's to use again", lambda: not in_use(lab, port), patience)
    time.sleep(pause)
    works(lab, family, listener, port, patience=patience)


def in_use(lab, port):
    return lab.run("client", "ss", "-Htan", f"sport = :{port}")


def back_after_a_crash(lab, family, listener, port, patience=10, pause=0):
    """How long it takes, s."""
    client = unconnected(lab, family, port, patience=patience)
    client.connect((SERVER[family], PORT))
    server, _ = listener.accept()
    # In repair mode a socket goes without a word, as in a crash.
    client.setsockopt(socket.IPPROTO_TCP, 19, 1)
    client.close()
    time.sleep(pause)
    began = time.monotonic()
    again = unconnected(lab, family, port, patience=patience)
    again.connect((SERVER[family], PORT))
    other, _ = listener.accept()
    took = time.monotonic() - began
    other.sendall(b"back")
    assert receive(again, 4) == b"back"
    close(again, other, server)
    return took


def half_open_in_a_flood(lab, synward, family):
    """The kernel has answered a client's SYN, and in a flood that is not seen: its connection goes when the client has proven
    itself with a cookie."""
    if synward.responder == "none":
        return
    wire = Wire(lab, "client", "client0", SERVER_MAC)
    wire.only(f"dst host {SPOOFED[family]}")
    syn = syn_of(family, 27000)
    with prepare(lab, family) as listener:
        listener.listen(64)
        listener.setblocking(False)
        synward.mode("off")
        kernels = shake_hands(wire, syn)
        synward.mode("always")
        before = synward.metric("handoffs_total", result="stale_reset")
        answered = synward.metric("answers_total")
        flood = lab.flood(family, PORT, 60)
        wait_until("the flood is answered", lambda: synward.metric("answers_total") > answered + 100_000)
        ours = cookie_for(wire, syn, kernels)
        wait_until("the client is accepted", lambda: wire.send(ours) or port_of_next(listener) == 27000, PATIENT / 3)
        assert synward.metric("handoffs_total", result="stale_reset") == before + 1
        flood.stop()
    print(f"IPv{family}, a flood: the kernel's half-open connection made room")


def proven_together(lab, synward, family):
    """The ACKs of many clients arrive together where the accept queue has room for few: the others come in later."""
    if synward.responder == "none":
        return
    wire = Wire(lab, "client", "client0", SERVER_MAC)
    with prepare(lab, family) as listener:
        listener.listen(8)
        listener.setblocking(False)
        acks = {port: shake_hands(wire, syn_of(family, port)) for port in range(28000, 28064)}
        # Under a flood the kernel takes segments in batches, and each is looked at before the first of them is accepted.
        flood = lab.flood(family, PORT, 60)
        answered = synward.metric("answers_total")
        wait_until("the flood is answered", lambda: synward.metric("answers_total") > answered + 100_000)
        before = lab.kernel_counters()["ListenOverflows"]
        for ack in acks.values():
            wire.send(ack)

        def all_are_in():
            while port := port_of_next(listener):
                acks.pop(port, None)
            for ack in acks.values():
                wire.send(ack.but(flags=ACK | PSH, payload=b"hello"))
            return not acks
        wait_until("all are accepted", all_are_in, 20)
        flood.stop()
        print(f"IPv{family}: 64 proven together, {lab.kernel_counters()['ListenOverflows'] - before} times the queue was full")


def syn_of(family, port):
    return Segment(SPOOFED[family], port, SERVER[family], PORT, seq=port, flags=SYN, options=LINUX)


def cookie_for(wire, syn, kernels):
    """The ACK for synward's answer to a SYN; at the first SYNs of a tick the kernel is asked, and answers again itself."""
    until = time.monotonic() + PATIENT
    while time.monotonic() < until:
        for _ in range(100):
            wire.send(syn)
        answer = wire.see(lambda segment: segment.answers(syn) and segment.seq != kernels.ack - 1, 0.3)
        if answer:
            return answer_to(syn, answer)
    raise AssertionError("only the kernel answers")


def port_of_next(listener):
    """The port of the client whose connection waits longest, which is closed; nothing if none waits."""
    try:
        connection, peer = listener.accept()
    except BlockingIOError:
        return None
    connection.close()
    return peer[1]


def dual_stack(lab):
    with lab.inside("server"):
        listener = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    listener.settimeout(10)
    with listener:
        for family in 4, 6:
            works(lab, family, listener)


def mptcp(lab, synward, family):
    """Without cookies of the kernel's own the kernel answers; with them synward does, and sees through a flood."""
    try:
        listener = prepare(lab, family, protocol=IPPROTO_MPTCP)
    except OSError as reason:
        raise Skip(f"no MPTCP: {reason}") from None
    with listener:
        listener.listen(8)
        works(lab, family, listener)
        before = lab.kernel_counters()["TCPReqQFullDoCookies"], synward.metric("cookies_total", result="sent")
        lab.run("server", "sysctl", "-qw", "net.ipv4.tcp_syncookies=2")
        valid = synward.metric("cookies_total", result="valid")
        works(lab, family, listener)
        works(lab, family, listener, protocol=IPPROTO_MPTCP)
        after = lab.kernel_counters()["TCPReqQFullDoCookies"], synward.metric("cookies_total", result="sent")
        assert after[0] > before[0], "no cookie of the kernel was made"
        if synward.responder != "none":
            assert after[1] >= before[1] + 2, "synward did not answer"
            assert synward.metric("cookies_total", result="valid") >= valid + 2
        # With a bare clock of timestamps its cookies hold all options.
        lab.run("server", "sysctl", "-qw", "net.ipv4.tcp_timestamps=2")
        if synward.responder != "none":
            wait_until("synward has seen that", lambda: keeps_options(lab, family, listener), 60)
        lab.run("server", "sysctl", "-qw", "net.ipv4.tcp_syncookies=1", "net.ipv4.tcp_timestamps=1")


def keeps_options(lab, family, listener):
    client = unconnected(lab, family)
    client.connect((SERVER[family], PORT))
    server, _ = listener.accept()
    ends = both_ends(lab)
    close(client, server)
    return all(end.has("sack") and end.has("ts") and end.wscale() for end in ends)


def works(lab, family, listener, port=0, protocol=0, patience=10):
    client = unconnected(lab, family, port, protocol, patience)
    client.connect((SERVER[family], PORT))
    server, _ = listener.accept()
    server.settimeout(patience)
    client.sendall(b"hello")
    assert receive(server, 5) == b"hello"
    server.sendall(b"world")
    assert receive(client, 5) == b"world"
    close(client, server)


def prepare(lab, family, buffer=0, port_shared=False, device=b"", protocol=0):
    """A socket at the service's address that does not listen yet."""
    with lab.inside("server"):
        listener = socket.socket(FAMILY[family], socket.SOCK_STREAM, protocol)
    listener.settimeout(10)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if port_shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    if device:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
    listener.bind((SERVER[family], PORT))
    return listener


def unconnected(lab, family, port=0, protocol=0, patience=10):
    with lab.inside("client"):
        client = socket.socket(FAMILY[family], socket.SOCK_STREAM, protocol)
    client.settimeout(patience)
    if port:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((CLIENT[family], port))
    return client


def close(*connections):
    """Ends them by RST, so that no port stays occupied."""
    for connection in connections:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


local_story(tell)
