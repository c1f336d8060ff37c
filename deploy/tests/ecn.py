"""Explicit congestion notification, as both ends of a connection see it."""

from story import PATIENCE, receive
from transfer import request_ecn, timestamps


def check_ecn(lab, synward):
    """Client and server negotiate it if both support it. A cookie has room for it only beside timestamps."""
    with lab.listen(4) as four, lab.listen(6) as six:
        # At its start synward learns the options of servers that listen already.
        synward.stop()
        synward.start()
        for family, listener in (4, four), (6, six):
            check_family(lab, synward, family, listener)


def check_family(lab, synward, family, listener):
    for wanted, stamped in (True, True), (False, True), (True, False):
        request_ecn(lab, wanted)
        timestamps(lab, stamped)
        with lab.connect(family) as client:
            server, _ = listener.accept()
            with server:
                server.settimeout(PATIENCE)
                client.sendall(b"?")
                assert receive(server, 1) == b"?"
                server.sendall(b"!")
                assert receive(client, 1) == b"!"
                negotiated = wanted and (stamped or synward.responder == "none")
                port = client.getsockname()[1]
                for role, side in ("client", "sport"), ("server", "dport"):
                    text = lab.run(role, "ss", "-tionH", side, "=", f":{port}")
                    assert ("ecn" in text.split()) == negotiated, f"{role}, {wanted=}, {stamped=}: {text}"
        print(f"IPv{family}, client {'requests it' if wanted else 'does not'}, {'' if stamped else 'no '}timestamps:"
              f" {'' if negotiated else 'no '}ECN at both ends")
