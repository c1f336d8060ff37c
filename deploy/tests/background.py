"""Work that goes on beside a story."""

import threading


class Work:
    """A thread that does `work()` until the end of the `with` block, which sets `over`. `check()` says whether it failed."""

    def __init__(self):
        self.over, self.failure = threading.Event(), None
        self.thread = threading.Thread(target=self.go)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def go(self):
        try:
            self.work()
        except (OSError, AssertionError) as error:
            self.failure = error

    def check(self):
        assert not self.failure, repr(self.failure)
