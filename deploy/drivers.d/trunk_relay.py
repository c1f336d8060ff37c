"""trunk_relay PLAIN PORT…: the other end of a static link aggregation. A frame of PLAIN leaves on a port that its flow chooses among
those that are up, as a switch does it; what comes in on a port leaves on PLAIN."""

import contextlib
import selectors
import sys
import zlib

from tag_relay import MOST, packet_socket


def main():
    plain, *ports = map(packet_socket, sys.argv[1:])
    selector = selectors.DefaultSelector()
    for opened in (plain, *ports):
        selector.register(opened, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            # A port that goes down says so once.
            with contextlib.suppress(OSError):
                frame = key.fileobj.recv(MOST)
                if key.fileobj is plain:
                    send(frame, ports)
                else:
                    plain.send(frame)


def send(frame, ports):
    first = flow_of(frame) % len(ports)
    for port in (*ports[first:], *ports[:first]):
        with contextlib.suppress(OSError):
            port.send(frame)
            return


def flow_of(frame):
    """A number that is the same for all frames of a flow: of its addresses and ports."""
    start, addresses = (26, 8) if frame[12:14] == b"\x08\x00" else (22, 32)
    return zlib.crc32(frame[start:start + addresses + 4])


if __name__ == "__main__":
    main()
