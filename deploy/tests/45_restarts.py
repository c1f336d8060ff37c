"""synward is killed and started again, and frozen, in a flood: transfers go on, and every client is served, also one that says
nothing before its server does."""

import hashlib
import os
import signal
import socket
import threading
import time

from story import FAMILY, FULL, PORT, SERVER, receive, receive_all, story, wait_until

# What waits for a process waits for it with any responder.
ONCE = "xdp"

KILLS = 10 if FULL else 2
# A worker counts as gone after a second.
FROZEN = 5 if FULL else 2
TRANSFERS = 50 if FULL else 6
CLIENTS_A_SECOND = 200 if FULL else 20
# Seconds that a client waits: the restarts, and twice that for what is retransmitted ever more slowly.
PATIENCE = 60
GREETING, QUESTION, ANSWER = b"220 lab", b"question", b"answer"
BLOCK = os.urandom(1 << 14)
# Seconds between two blocks of a transfer.
STEP = 0.1


def run(lab, synward):
    if synward.responder == "none":
        return
    servers = [Server(lab, family) for family in (4, 6)]
    greeted_by_the_next_process(lab, synward)
    flood = lab.flood(4, 80, 300)
    transfers = [Transfer(lab, (4, 6)[number % 2]) for number in range(TRANSFERS)]
    clients = Clients(lab)
    for _ in range(KILLS):
        kill(synward)
        synward.start()
        clients.served_since_now()
    os.kill(synward.process.pid, signal.SIGSTOP)
    time.sleep(FROZEN)
    os.kill(synward.process.pid, signal.SIGCONT)
    clients.served_since_now()
    clients.check()
    for transfer in transfers:
        transfer.check()
    flood.report()
    for server in servers:
        server.close()
    print(f"{len(clients.seconds)} clients, the slowest {max(clients.seconds):.1f} s; {len(transfers)} transfers of"
          f" {sum(transfer.blocks for transfer in transfers) * len(BLOCK) >> 10} KiB")


def kill(synward):
    process, synward.process = synward.process, None
    process.stop(signal.SIGKILL)


def greeted_by_the_next_process(lab, synward):
    """Clients that the programs left in place have told "connected", and that say nothing."""
    kill(synward)
    clients = [lab.connect(family) for family in (4, 6) for _ in range(5)]
    synward.start()
    for client in clients:
        client.settimeout(PATIENCE)
        assert receive(client, len(GREETING)) == GREETING
        client.close()
    wait_until("the log says so", lambda: "clients had waited for a worker" in synward.process.output())


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
        with connection:
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
    """New clients at a steady rate, until `check()`. Half of them say nothing before their server has greeted them, and so never
    repeat their ACK."""

    def __init__(self, lab):
        self.lab = lab
        self.threads, self.seconds, self.failures, self.enough = [], [], [], threading.Event()
        self.source = threading.Thread(target=self.begin)
        self.source.start()

    def begin(self):
        while not self.enough.wait(1 / CLIENTS_A_SECOND):
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


story(run)
