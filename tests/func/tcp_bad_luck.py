"""tcp_bad_luck.py CASE DOOR [MORE]: what applications see of a gateway with bad luck; exit status 0: what they have to see."""
import errno
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import Counter

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from tcp_ends import (END, NOTHING, PATIENCE, RESET, Echo, accept, address, all_descriptors, check, dial, echoes, fate, listen, outcome, read_all,
                      reset, run_cases, say, until)


def shut_out(door, at_least="0", at_most="3"):
    """Whoever connects is reset, between so many seconds."""
    begin = time.monotonic()
    how = fate(door)
    took = time.monotonic() - begin
    check("the client is reset", how == RESET, how, f"after {took:.2f} s")
    check("in time", float(at_least) <= took <= float(at_most) * PATIENCE / 10, took)


def shut_out_often(door, n):
    for _ in range(int(n)):
        how = fate(door)
        check("each client is reset", how == RESET, how)


def comes_later(door, behind):
    """The same door, after somebody has begun to listen."""
    Echo(behind)
    check("an echo", echoes(dial(door)))


def black_hole(door, behind, at_least, at_most):
    """A server whose queue is full: its kernel drops every SYN."""
    l = listen(behind, 0)
    full = []
    for _ in range(4):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(address(behind))
        full.append(s)
    time.sleep(0.1)
    shut_out(door, at_least, at_most)
    l.close()


def never_reads(door, behind, other, other_behind):
    """A server that accepts and does not read holds up nobody but its client, and both can go."""
    l = listen(behind)
    c = dial(door)
    b, _ = accept(l)
    c.settimeout(0.5)
    try:
        while True:
            c.send(b"\0" * 65536)
    except TimeoutError:
        pass
    Echo(other_behind)
    for _ in range(20):
        check("others live", echoes(dial(other), b"x" * 1000))
    reset(c)
    check("the server is told", outcome(b) == RESET)


class Clients:
    """Any number of non-blocking ones that connect, say a byte, and wait for its echo. .how: what came of each."""

    def __init__(self, door):
        self.door, self.poll, self.how, self.live = address(door), selectors.EpollSelector(), Counter(), {}

    def begin(self, n):
        for _ in range(n):
            s = socket.socket()
            s.setblocking(False)
            r = s.connect_ex(self.door)
            check("connect", r in (0, errno.EINPROGRESS), os.strerror(r))
            self.poll.register(s, selectors.EVENT_WRITE)

    def turn(self, seconds=0.1, keep=True):
        for key, mask in self.poll.select(seconds):
            s = key.fileobj
            try:
                if mask & selectors.EVENT_WRITE:
                    s.send(b"x")
                    self.poll.modify(s, selectors.EVENT_READ)
                elif s in self.live:
                    self.end(s, END if not s.recv(1) else "more", live=False)
                elif s.recv(1) != b"x":
                    self.end(s, END)
                elif keep:
                    self.live[s] = True
                    self.how["echo"] += 1
                else:
                    self.end(s, "echo")
            except OSError as e:
                self.end(s, RESET if isinstance(e, ConnectionResetError) else str(e))

    def end(self, s, how, live=True):
        self.how[how if live and s not in self.live else f"echo, then {how}"] += 1
        self.live.pop(s, None)
        self.poll.unregister(s)
        s.close()

    def drop(self):
        for s in list(self.live):
            self.live.pop(s)
            self.poll.unregister(s)
            s.close()

    def until(self, what, condition, seconds=None, keep=True):
        end = time.monotonic() + (seconds or PATIENCE)
        while not condition():
            check(f"not in time: {what}", time.monotonic() < end, dict(self.how))
            self.turn(keep=keep)

    def quiet(self, seconds):
        """Until nothing new has come of anything for so long."""
        while True:
            before = dict(self.how)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                self.turn(0.05)
            if dict(self.how) == before:
                return


def storm(door, behind, n="10000"):
    """As many connects in a second; each gets its echo."""
    n, most = int(n), (all_descriptors() - 200) // 2
    Echo(behind)
    clients, begun, begin = Clients(door), 0, time.monotonic()
    while begun < n or sum(clients.how.values()) < n:
        free = most - (begun - sum(clients.how.values()))
        part = min(n - begun, 500, free)
        clients.begin(part)
        begun += part
        if begun == n and part:
            say(f"{n} connects in {time.monotonic() - begin:.2f} s")
        clients.turn(0 if begun < n else 0.1, keep=False)
        check("all of them are served in time", time.monotonic() < begin + 4 * PATIENCE, begun, dict(clients.how))
    check("each had its echo", clients.how["echo"] == n, dict(clients.how))
    say(f"{n} echoes in {time.monotonic() - begin:.2f} s")


def few_descriptors(door, behind, n):
    """More clients than the gateway has descriptors for: some wait, nobody is turned away, and all are served when others have gone."""
    n = int(n)
    Echo(behind)
    clients = Clients(door)
    clients.begin(n)
    clients.until("the first echo", lambda: clients.how["echo"] > 0)
    clients.quiet(1)
    first = clients.how["echo"]
    check("some have to wait", 0 < first < n, dict(clients.how))
    while clients.how["echo"] < n:
        clients.drop()
        before = clients.how["echo"]
        clients.until("those who waited are served", lambda: clients.how["echo"] > before)
        clients.quiet(0.2)
    check("nobody was turned away", clients.how == {"echo": n}, dict(clients.how))
    say(f"{first} of {n} at once")


def little_memory(door, behind, most):
    """Servers that do not read, so that every connection needs its memory: at some point new ones are reset, and nothing befalls the old ones."""
    l = listen(behind)
    held = []
    for _ in range(int(most)):
        try:
            c = dial(door)
            c.sendall(b"first")
            l.settimeout(0.1)
            for _ in range(50):
                try:
                    b = accept(l)[0]
                    break
                except TimeoutError:
                    check_alive(c)
            else:
                check("neither served nor reset", False)
        except ConnectionError:
            break
        held.append((c, b, 5 + pour(c)))
    else:
        check(f"none of {most} was refused", False)
    check("some were admitted", held)
    for c, b, n in held:
        check("an old one lives", outcome(c, 0.01) == NOTHING)
    for c, b, n in held:
        c.shutdown(socket.SHUT_WR)
        check("the bytes of an old one", len(read_all(b)) == n)
        b.close()
        check("its end", outcome(c) == END)
    say(f"{len(held)} admitted")
    until("there is memory again", lambda: again(door, l))


def check_alive(c):
    """Raises ConnectionResetError when it is not."""
    c.setblocking(False)
    try:
        c.recv(1)
    except BlockingIOError:
        pass
    c.settimeout(PATIENCE)


def again(door, l):
    try:
        c = dial(door)
        b = accept(l)[0]
        c.sendall(b"x")
        return b.recv(1) == b"x"
    except OSError:
        return False


def pour(s):
    sent = 0
    s.settimeout(0.2)
    try:
        while sent < 32 << 20:
            sent += s.send(b"\0" * 65536)
    except TimeoutError:
        pass
    s.settimeout(PATIENCE)
    return sent


def workers_of(control):
    return set(map(int, subprocess.run(["pgrep", "-P", control, "-x", "scistream-work"], capture_output=True, text=True).stdout.split()))


def worker_killed(door, behind, n, control):
    """Under n connections: those of the worker are reset at both ends, the others live, and there is a new worker within a second."""
    n = int(n)
    all_descriptors()
    server, clients = Echo(behind), Clients(door)
    while sum(clients.how.values()) < n:
        clients.begin(min(50, n - sum(clients.how.values())))
        due = min(n, sum(clients.how.values()) + 50)
        clients.until("echoes", lambda: sum(clients.how.values()) >= due)
    check("all are up", clients.how == {"echo": n}, dict(clients.how))
    before = workers_of(control)
    victim = min(before)
    begin = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    until("a new worker", lambda: len(workers_of(control) - {victim}) == len(before), PATIENCE / 10)
    say(f"a new worker after {time.monotonic() - begin:.2f} s")
    clients.quiet(0.5)
    broken = clients.how["echo, then reset"]
    say(f"{broken} of {n} were the victim's")
    check("they are reset, nothing else", clients.how == {"echo": n, "echo, then reset": broken}, dict(clients.how))
    check("each worker had some", 0 < broken < n, broken)
    check("so are the other ends", server.ended == {RESET: broken}, dict(server.ended))
    for s in clients.live:
        s.setblocking(True)
        check("the others live", echoes(s, b"still"))
    for _ in range(20):
        check("new ones are served", echoes(dial(door)))


def scanners(door, behind, n="300"):
    """Connect and close, connect and reset, and bytes that mean nothing: the server sees what there is to see, and the next client is served."""
    Echo(behind)
    for i in range(int(n)):
        s = dial(door)
        if i % 3 == 1:
            s.sendall(os.urandom(1 + i))
        reset(s) if i % 2 else s.close()
    check("an echo", echoes(dial(door)))


if __name__ == "__main__":
    run_cases(globals())
