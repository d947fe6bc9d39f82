"""Both applications of a TCP route in one program: clients that connect to the door of a gateway, and the server that they reach."""
import os
import resource
import selectors
import socket
import struct
import sys
import threading
import time
from collections import Counter

PATIENCE = float(os.environ.get("PATIENCE", 10))    # seconds that anything may take
RESET, END, NOTHING = "reset", "end", "nothing"


def check(what, ok, *more):
    if not ok:
        sys.exit(f"{what} ({', '.join(map(str, more))})" if more else what)


def say(text):
    print(text, flush=True)


def all_descriptors():
    """As many as this user may have; the number."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def address(text):
    """("127.0.0.1", 5000) of tcp://127.0.0.1:5000, and of 5000."""
    host, _, port = text.removeprefix("tcp://").rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def listen(at, backlog=4096):
    host, port = address(at)
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, port))
    s.listen(backlog)
    s.settimeout(PATIENCE)
    return s


def dial(at):
    s = socket.create_connection(address(at), PATIENCE)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def accept(listener):
    s, peer = listener.accept()
    s.settimeout(PATIENCE)
    return s, peer


def reset(s):
    """Close it so that the peer sees a RST."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def read_all(s):
    """Until the end of file."""
    parts = []
    while part := s.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def read_exactly(s, n):
    parts = []
    while n > 0:
        part = s.recv(n)
        check("an early end of file", part)
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


def outcome(s, seconds=None):
    """How it ends, whatever else comes before: RESET, END, or NOTHING within that time."""
    before = s.gettimeout()
    s.settimeout(seconds or PATIENCE)
    try:
        while s.recv(1 << 16):
            pass
        return END
    except ConnectionResetError:
        return RESET
    except TimeoutError:
        return NOTHING
    finally:
        s.settimeout(before)


def fate(at):
    """How a new connection ends. It may be reset before connect has returned."""
    try:
        return outcome(dial(at))
    except ConnectionResetError:
        return RESET


def echoes(s, text=b"hello"):
    s.sendall(text)
    return read_exactly(s, len(text)) == text


def until(what, condition, seconds=None):
    end = time.monotonic() + (seconds or PATIENCE)
    while not condition():
        check(f"not in time: {what}", time.monotonic() < end)
        time.sleep(0.01)


class Echo(threading.Thread):
    """A server that sends back what it gets, for any number of connections; .ended counts how they ended, .open those that have not."""

    def __init__(self, at):
        super().__init__(daemon=True)
        self.listener, self.ended, self.open = listen(at, 65535), Counter(), 0
        self.listener.setblocking(False)
        self.poll = selectors.EpollSelector()
        self.poll.register(self.listener, selectors.EVENT_READ)
        self.start()

    def run(self):
        while True:
            for key, _ in self.poll.select():
                if key.fileobj is self.listener:
                    self.take()
                else:
                    self.answer(key.fileobj)

    def take(self):
        try:
            while True:
                s, _ = self.listener.accept()
                self.poll.register(s, selectors.EVENT_READ)
                self.open += 1
        except BlockingIOError:
            pass

    def answer(self, s):
        try:
            data = s.recv(1 << 16)
            if data:
                s.sendall(data)
                return
            how = END
        except OSError as e:
            how = RESET if isinstance(e, ConnectionResetError) else str(e)
        self.ended[how] += 1
        self.open -= 1
        self.poll.unregister(s)
        s.close()


def run_cases(cases):
    """PROGRAM CASE ARGUMENTS…: that function."""
    begin = time.monotonic()
    cases[sys.argv[1]](*sys.argv[2:])
    say(f"{sys.argv[1]}: {(time.monotonic() - begin) * 1000:.0f} ms")
