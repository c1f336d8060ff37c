"""A connection that synward opened for this machine's kernel is like one that the kernel opened itself: options, client's
address, a server that speaks first, data in the first segment, much data both ways."""

import subprocess

from story import CLIENT, PORT, TENTH, local_story, receive, same_address
from transfer import MIB, negotiated, pseudo_random, send, timestamps, way

BESIDE_OTHERS = True
GREETING = b"220 lab ESMTP\r\n"
MUCH = (20 if TENTH else 200) * MIB
# Drops the bare third segment of handshakes at the client.
SILENCE = """
    table inet silence {
        chain leaving {
            type filter hook output priority raw;
            tcp dport 9000 tcp flags & (fin|syn|rst|psh|ack) == ack meta length < 75 drop
        }
    }"""


def run(lab, synward):
    data = pseudo_random(MUCH // MIB)
    opened = 0
    for family in 4, 6:
        for stamped in True, False:
            timestamps(lab, stamped)
            what = f"IPv{family}, {'with' if stamped else 'without'} timestamps"
            client, server = lab.pair(family)
            address = server.getpeername()[0].removeprefix("::ffff:")
            assert same_address(address, CLIENT[family]), f"the server sees {address}"
            ends = negotiated(lab, stamped)
            assert ends[0].wscale() == ends[1].wscale()[::-1], f"a window is shifted:\n{ends[0].text}{ends[1].text}"
            # The server has not heard a byte of the client.
            server.sendall(GREETING)
            assert receive(client, len(GREETING)) == GREETING
            for direction in "download", "upload":
                one, other = lab.pair(family)
                took = send(*way(direction, one, other), data)
                print(f"{what}: {direction} of {MUCH >> 20} MiB in {took:.2f} s, {MUCH * 8 / took / 1e9:.1f} Gbit/s")
                one.close()
                other.close()
            first_segment_with_data(lab, family)
            client.close()
            assert server.recv(1) == b""
            server.close()
            opened += 4
    synward.carried(opened)


def first_segment_with_data(lab, family):
    """The ACK that should come first is lost; what arrives is the client's data, and it is not lost."""
    with lab.listen(family) as listener:
        with lab.inside("client"):
            subprocess.run(["nft", "-f", "-"], input=SILENCE, text=True, check=True)
        try:
            client = lab.connect(family)
            client.sendall(b"first words")
            server, _ = listener.accept()
            with server:
                server.settimeout(5)
                assert receive(server, 11) == b"first words"
        finally:
            lab.run("client", "nft", "delete", "table", "inet", "silence")
        client.close()


local_story(run)
