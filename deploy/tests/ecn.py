"""Explicit congestion notification, as both ends of a connection see it."""

from story import PATIENCE, receive
from transfer import asks_for_ecn, timestamps


def check_ecn(lab, synward):
    """It is agreed on where the client asks for it and the server does it; a cookie has room for it beside timestamps
    only."""
    with lab.listen(4) as four, lab.listen(6) as six:
        # Servers that are there are asked at the start.
        synward.stop()
        synward.start()
        for family, listener in (4, four), (6, six):
            check_family(lab, synward, family, listener)


def check_family(lab, synward, family, listener):
    for wanted, stamped in (True, True), (False, True), (True, False):
        asks_for_ecn(lab, wanted)
        timestamps(lab, stamped)
        with lab.connect(family) as client:
            server, _ = listener.accept()
            with server:
                server.settimeout(PATIENCE)
                client.sendall(b"?")
                assert receive(server, 1) == b"?"
                server.sendall(b"!")
                assert receive(client, 1) == b"!"
                agreed = wanted and (stamped or synward.responder == "none")
                port = client.getsockname()[1]
                for role, side in ("client", "sport"), ("server", "dport"):
                    text = lab.run(role, "ss", "-tionH", side, "=", f":{port}")
                    assert ("ecn" in text.split()) == agreed, f"{role}, {wanted=}, {stamped=}: {text}"
        print(f"IPv{family}, client {'asks' if wanted else 'does not ask'}, {'' if stamped else 'no '}timestamps:"
              f" {'' if agreed else 'no '}ECN at both ends")
