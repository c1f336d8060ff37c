"""In a protocol where the server speaks first, the client receives the greeting before it sends any data."""

import threading

from story import PATIENCE, receive, story

# A spliced connection does not depend on who answered its SYN.
ONCE = "xdp"
BESIDE_OTHERS = True
GREETING = b"220 lab ESMTP\r\n"
CLIENTS = 50


def run(lab, synward):
    for family in 4, 6:
        with lab.listen(family) as listener:
            greeter = threading.Thread(target=greet, args=(listener,))
            greeter.start()
            for _ in range(CLIENTS):
                with lab.connect(family) as client:
                    assert receive(client, len(GREETING)) == GREETING
                    client.sendall(b"QUIT\r\n")
                    assert client.recv(1) == b"", "the server sends no more"
            greeter.join()
    synward.carried(2 * CLIENTS)


def greet(listener):
    for _ in range(CLIENTS):
        server, _ = listener.accept()
        with server:
            server.settimeout(PATIENCE)
            server.sendall(GREETING)
            assert receive(server, 6) == b"QUIT\r\n"


story(run)
