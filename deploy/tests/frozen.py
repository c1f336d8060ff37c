"""A thread that makes no progress, in the middle of its work."""

import ctypes
import os
import threading

from story import PATIENCE, libc

# linux/ptrace.h, asm/unistd.h
SEIZE, INTERRUPT, DETACH, SYSCALL, SYSCALL_INFO = 0x4206, 0x4207, 17, 24, 0x420e
TRACE_SYSCALLS, ENTRY = 1, 1
BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
ALL = 0x40000000


class Frozen:
    """A thread that ptrace(2) stops: SIGSTOP would stop its process. With `call`, the next time that it makes this system call."""

    def __init__(self, thread, call=None):
        self.thread, self.call = thread, call
        self.stopped, self.over = threading.Event(), threading.Event()
        # ptrace wants every request from the same thread.
        self.tracer = threading.Thread(target=self.trace, daemon=True)
        self.tracer.start()
        assert self.stopped.wait(PATIENCE)

    def trace(self):
        self.request(SEIZE, data=TRACE_SYSCALLS)
        self.request(INTERRUPT)
        os.waitpid(self.thread, ALL)
        while self.call and self.entered() != self.call:
            self.request(SYSCALL)
            os.waitpid(self.thread, ALL)
        self.stopped.set()
        self.over.wait()
        self.request(DETACH)

    def entered(self):
        """The number of the system call that it is about to make."""
        info = (ctypes.c_uint64 * 16)()
        self.request(SYSCALL_INFO, ctypes.sizeof(info), ctypes.addressof(info))
        return info[3] if info[0] & 0xff == ENTRY else None

    def request(self, what, address=0, data=0):
        call = (ctypes.c_long(what), ctypes.c_long(self.thread), ctypes.c_void_p(address), ctypes.c_void_p(data))
        assert libc.ptrace(*call) >= 0, os.strerror(ctypes.get_errno())

    def go_on(self):
        self.over.set()
        self.tracer.join()
