"""One client connects to a stock nginx again and again."""

import errno
import socket
import time

from background import Work
from story import FULL, PATIENCE, SERVER, wait_until

REQUEST = b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: %s\r\n\r\n"
BODY = b"synward lab\n"
SHARE = 1 if FULL else 10


def restrict_ports(lab, count):
    lab.run("client", "sysctl", "-qw", f"net.ipv4.ip_local_port_range=20000 {20000 + count - 1}")


def churn(lab, count, connection, what):
    failures, times, retried = [], [], lab.syns_retried()
    start = time.monotonic()
    with lab.inside("client"):
        for number in range(count):
            begun = time.monotonic()
            if error := one_request(REQUEST % connection):
                failures.append(f"number {number}: {error}")
                assert len(failures) < 100, f"{what}: {failures}"
            times.append(time.monotonic() - begun)
    took, retried = time.monotonic() - start, lab.syns_retried() - retried
    times.sort()
    print(f"{what}: {count - len(failures)} of {count} connections succeeded in {took:.1f} s, {count / took:.0f} a second;"
          f" median {times[count // 2] * 1e3:.2f} ms, 99.9 % within {times[count * 999 // 1000] * 1e3:.1f} ms,"
          f" max {times[-1]:.2f} s, {retried} SYNs sent again")
    assert not failures, f"{what}: {len(failures)} failed, the first: {failures[:5]}"
    # A machine that stops for a second has the client send its SYN again.
    assert retried <= count // 100, f"{what}: too many waited for a retransmission"


class Requests(Work):
    """Requests one after the other, `pause` seconds apart, each on a connection of its own."""

    def __init__(self, lab, pause=0):
        super().__init__()
        self.lab, self.pause, self.count, self.failures, self.before = lab, pause, 0, [], lab.syns_retried()

    def work(self):
        with self.lab.inside("client"):
            while not self.over.wait(self.pause):
                if error := one_request(REQUEST % b"close"):
                    self.failures.append(error)
                self.count += 1

    def retried(self):
        """How many SYNs of the client's kernel were lost since the start."""
        return self.lab.syns_retried() - self.before

    def go_on(self, more, seconds=PATIENCE):
        """Waits for some more."""
        wanted = self.count + more
        wait_until("more requests", lambda: self.count >= wanted, seconds)


def one_request(request):
    """The failure, or None."""
    try:
        with connected() as connection:
            connection.sendall(request)
            answer = b""
            while not answer.endswith(BODY):
                part = connection.recv(4096)
                if not part:
                    return f"the connection ended after {answer}"
                answer += part
            # The server's FIN comes first, or ours.
            if b"Connection: close" in answer and connection.recv(1) != b"":
                return "more than the answer"
    except OSError as error:
        return repr(error)
    return None if answer.startswith(b"HTTP/1.1 200 ") else f"answered {answer[:60]}"


def connected():
    """A connection. Retries while the client's kernel has no free port."""
    while True:
        connection = socket.socket()
        connection.settimeout(PATIENCE)
        try:
            connection.connect((SERVER[4], 80))
            return connection
        except OSError as error:
            connection.close()
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            time.sleep(0.05)
