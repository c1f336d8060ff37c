"""Clients that go on while synward is killed, restarted and frozen: transfers in equal steps, and new clients at a steady rate."""

import contextlib
import hashlib
import os
import socket
import threading
import time

from story import FAMILY, PORT, SERVER, receive, receive_all, wait_until

# Seconds that a client waits: the restarts, and twice that for what is retransmitted ever more slowly.
PATIENCE = 60
GREETING, QUESTION, ANSWER = b"220 lab", b"question", b"answer"
BLOCK = os.urandom(1 << 14)
# Seconds between two blocks of a transfer.
STEP = 0.1


class Server:
    """Greets every client, and answers those that ask."""

    def __init__(self, lab, family):
        self.listener = lab.listen(family, backlog=1024)
        self.listener.settimeout(None)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        # A client that gave up resets its connection, and says so itself.
        with connection, contextlib.suppress(ConnectionResetError):
            connection.settimeout(10 * PATIENCE)
            connection.sendall(GREETING)
            # A transfer sends blocks instead, and gets their digest.
            first = connection.recv(len(QUESTION), socket.MSG_WAITALL)
            if first == QUESTION:
                connection.sendall(ANSWER)
            elif first:
                connection.sendall(hashlib.sha256(first + receive_all(connection)).digest())

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def silent_clients(lab, each=5):
    """Clients of both families that are told "connected", and say nothing."""
    return [lab.connect(family) for family in (4, 6) for _ in range(each)]


def are_greeted(clients):
    for client in clients:
        client.settimeout(PATIENCE)
        assert receive(client, len(GREETING)) == GREETING
        client.close()


class Transfer:
    """An upload in equal steps until `check()`."""

    def __init__(self, lab, family):
        self.connection = lab.connect(family)
        self.connection.settimeout(PATIENCE)
        assert receive(self.connection, len(GREETING)) == GREETING
        self.blocks, self.enough, self.failure = 0, threading.Event(), None
        self.thread = threading.Thread(target=self.send)
        self.thread.start()

    def send(self):
        try:
            while not self.enough.wait(STEP):
                self.connection.sendall(BLOCK)
                self.blocks += 1
        except OSError as error:
            self.failure = error

    def check(self):
        before = self.blocks
        wait_until("the transfer goes on", lambda: self.blocks > before or self.failure, PATIENCE)
        self.enough.set()
        self.thread.join()
        assert self.failure is None, self.failure
        self.connection.shutdown(socket.SHUT_WR)
        digest = receive(self.connection, 32)
        assert digest == hashlib.sha256(BLOCK * self.blocks).digest(), "the server received other data"
        self.connection.close()


class Clients:
    """New clients at `rate` a second, until `check()`. Half of them say nothing before their server has greeted them, and so never
    repeat their ACK."""

    def __init__(self, lab, rate):
        self.lab, self.rate = lab, rate
        self.threads, self.seconds, self.failures, self.enough = [], [], [], threading.Event()
        self.source = threading.Thread(target=self.begin)
        self.source.start()

    def begin(self):
        while not self.enough.wait(1 / self.rate):
            number = len(self.threads)
            family = (4, 6)[number % 2]
            with self.lab.inside("client"):
                client = socket.socket(FAMILY[family])
            speaks_first = number // 2 % 2 == 0
            thread = threading.Thread(target=self.talk, args=(client, family, speaks_first), daemon=True)
            self.threads.append(thread)
            thread.start()

    def talk(self, client, family, speaks_first):
        began = time.monotonic()
        try:
            with client:
                client.settimeout(PATIENCE)
                client.connect((SERVER[family], PORT))
                if speaks_first:
                    client.sendall(QUESTION)
                assert receive(client, len(GREETING)) == GREETING
                if not speaks_first:
                    client.sendall(QUESTION)
                assert receive(client, len(ANSWER)) == ANSWER
            self.seconds.append(time.monotonic() - began)
        except (OSError, AssertionError) as error:
            after = time.monotonic() - began
            who = f"IPv{family}, {'client' if speaks_first else 'server'} speaks first"
            self.failures.append(f"{who}, after {after:.1f} s: {error!r}")

    def served_since_now(self):
        """Waits until some clients were served that begin from now on."""
        first = len(self.threads)
        wait_until("clients are served", lambda: len(self.threads) > first + 5
                   and not any(thread.is_alive() for thread in self.threads[first:first + 5]), PATIENCE)

    def check(self):
        self.enough.set()
        self.source.join()
        for thread in self.threads:
            thread.join(2 * PATIENCE)
        assert not self.failures, f"{len(self.failures)} of {len(self.threads)} clients: {self.failures[:10]}"
        assert len(self.seconds) == len(self.threads)

    def figures(self):
        slow = sum(seconds > 0.9 for seconds in self.seconds)
        return f"{len(self.seconds)} clients, {len(self.failures)} failed, {slow} over 0.9 s, the slowest {max(self.seconds):.1f} s"
