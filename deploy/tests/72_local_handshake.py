"""A connection that synward opens for this machine's kernel equals one that the kernel opens itself: options, client's
address, a server that speaks first, data in the first segment, bulk data both ways."""

import subprocess

from story import CLIENT, FULL, PATIENCE, local_story, receive, same_address
from transfer import MIB, negotiated, pseudo_random, send, source_and_sink, timestamps

BESIDE_OTHERS = True
GREETING = b"220 lab ESMTP\r\n"
BULK = (200 if FULL else 20) * MIB
# Drops the empty third segment of handshakes at the client.
SILENCE = """
    table inet silence {
        chain leaving {
            type filter hook output priority raw;
            tcp dport 9000 tcp flags & (fin|syn|rst|psh|ack) == ack meta length < 75 drop
        }
    }"""


def run(lab, synward):
    data = pseudo_random(BULK // MIB)
    opened = 0
    for family in 4, 6:
        for stamped in True, False:
            timestamps(lab, stamped)
            what = f"IPv{family}, {'with' if stamped else 'without'} timestamps"
            client, server = lab.pair(family)
            address = server.getpeername()[0].removeprefix("::ffff:")
            assert same_address(address, CLIENT[family]), f"the server sees {address}"
            ends = negotiated(lab, stamped)
            assert ends[0].wscale() == ends[1].wscale()[::-1], f"the ends scale windows differently:\n{ends[0].text}{ends[1].text}"
            # The server has received no data from the client.
            server.sendall(GREETING)
            assert receive(client, len(GREETING)) == GREETING
            for direction in "download", "upload":
                one, other = lab.pair(family)
                took = send(*source_and_sink(direction, one, other), data)
                print(f"{what}: {direction} of {BULK >> 20} MiB in {took:.2f} s, {BULK * 8 / took / 1e9:.1f} Gbit/s")
                one.close()
                other.close()
            first_segment_with_data(lab, family)
            client.close()
            assert server.recv(1) == b""
            server.close()
            opened += 4
    synward.carried(opened)


def first_segment_with_data(lab, family):
    """The handshake's ACK is lost; the client's data takes its place, and arrives."""
    with lab.listen(family) as listener:
        with lab.inside("client"):
            subprocess.run(["nft", "-f", "-"], input=SILENCE, text=True, check=True)
        try:
            client = lab.connect(family)
            client.sendall(b"first words")
            server, _ = listener.accept()
            with server:
                server.settimeout(PATIENCE)
                assert receive(server, 11) == b"first words"
        finally:
            lab.run("client", "nft", "delete", "table", "inet", "silence")
        client.close()


local_story(run)
