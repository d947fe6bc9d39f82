"""Both ends of the streams of provisioned.sh.

  push HOST:PORT                       sends as fast as it is taken, until it is ended
  sink PORT...                         takes whatever comes to these ports
  knock PORT                           connects again and again to a route that has no place; prints how often it was reset
  meter PORT|- ROOT PATH WINDOWS MOST  counts what comes (- : on standard input) in windows of 1 s, until WINDOWS of them can be judged, or MOST have passed;
                                       prints them as JSON

A window is by the clock of who receives, from the first byte on; the first one is left out. One in which the machine was taken from the test is told apart, and
nobody judges it: other programs (and the host of a virtual machine) had more than 5 % of the processors, and somebody on the path of the stream was ready to run
and did not for more than 5 % of the time; or a thread that sleeps for 5 ms came back more than 50 ms late. ROOT is the test's process: what it and all below
it use is its own, and no reason. On the path are workers, the meter, and who of them has PATH in his command line.
"""
import fcntl
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time

PIECE = 1 << 18
TICK = os.sysconf("SC_CLK_TCK")


def push(where):
    host, port = where.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as s:
        data = bytes(PIECE)
        try:
            while True:
                s.sendall(data)
        except ConnectionError:  # the test is over
            pass


def receive(s, space):
    try:
        return s.recv_into(space)
    except ConnectionError:
        return 0


def sink(*ports):
    chosen = selectors.DefaultSelector()
    for port in ports:
        s = socket.create_server(("127.0.0.1", int(port)))
        chosen.register(s, selectors.EVENT_READ, True)
    space = bytearray(PIECE)
    while True:
        for key, _ in chosen.select():
            if key.data:
                chosen.register(key.fileobj.accept()[0], selectors.EVENT_READ, False)
            elif receive(key.fileobj, space) == 0:
                chosen.unregister(key.fileobj)
                key.fileobj.close()


def knock(port):
    resets = 0
    while True:
        try:
            with socket.create_connection(("127.0.0.1", int(port))) as s:
                s.recv(1)
        except ConnectionError:
            resets += 1
        print(resets, flush=True)
        time.sleep(0.05)


# ------------------------------------------------------------ whose the machine is


def processes():
    """pid -> (parent, ticks that it and its ended children have used)"""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as f:
                    fields = f.read().rsplit(b")", 1)[1].split()
                found[int(name)] = int(fields[1]), sum(map(int, fields[11:15]))
            except (OSError, IndexError):
                pass  # it has ended
    return found


def own(root):
    """the same, of root and all below it"""
    all_of_them = processes()
    children = {}
    for pid, (parent, _) in all_of_them.items():
        children.setdefault(parent, []).append(pid)
    todo, found = [root], {}
    while todo:
        pid = todo.pop()
        if pid in all_of_them:
            found[pid] = all_of_them[pid][1]
        todo += children.get(pid, [])
    return found


def text_of(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as f:
            return f.read()
    except OSError:
        return b""


def delays(pids, path):
    """pid -> nanoseconds that it was ready to run and did not, of those on the path"""
    found = {}
    for pid in pids:
        command = text_of(pid, "cmdline").replace(b"\0", b" ")
        if pid == os.getpid() or b"scistream-worker" in command or path.encode() in command:
            found[pid] = int((text_of(pid, "schedstat").split() + [b"0", b"0"])[1])
    return found


def machine_ticks():
    """user, nice, system and steal; what interrupts take belongs to nobody"""
    with open("/proc/stat") as f:
        n = list(map(int, f.readline().split()[1:]))
    return n[0] + n[1] + n[2] + n[7]


class Machine(threading.Thread):
    """Which seconds since `begun` others had, as far as it has looked."""

    def __init__(self, root, path):
        super().__init__(daemon=True)
        self.root, self.path, self.begun, self.others, self.delayed, self.late = root, path, None, {}, {}, {}
        self.cpus = len(os.sched_getaffinity(0))

    def run(self):
        second, was = 0, None
        while True:
            before = time.monotonic()
            time.sleep(0.005)
            now = time.monotonic()
            if self.begun is None:
                continue
            at = int(now - self.begun)
            self.late[at] = max(self.late.get(at, 0), now - before - 0.005)
            if at == second and was:
                continue
            mine = own(self.root)
            ticks, waits = machine_ticks() - sum(mine.values()), delays(mine, self.path)
            if was:
                self.delayed[second] = max(waits[pid] - was[2].get(pid, 0) for pid in waits) / 1e9 / (now - was[0])
                self.others[second] = (ticks - was[1]) / TICK / self.cpus / (now - was[0])
            second, was = at, (now, ticks, waits)

    def known(self, second):
        return second in self.others

    def own(self, second):
        return min(self.others[second], self.delayed[second]) <= 0.05 and self.late.get(second, 0) <= 0.05


# ------------------------------------------------------------ the meter


def stream(where):
    if where == "-":
        try:
            fcntl.fcntl(0, 1031, 1 << 20)  # F_SETPIPE_SZ
        except OSError:
            pass
        space = bytearray(PIECE)
        return lambda: os.readv(0, [space])
    with socket.create_server(("127.0.0.1", int(where))) as s:
        peer = s.accept()[0]
    space = bytearray(PIECE)
    return lambda: receive(peer, space)


def meter(where, root, path, windows, most):
    read = stream(where)
    machine = Machine(int(root), path)
    machine.start()
    counts, n = {}, read()
    begun = machine.begun = time.monotonic()
    judged = 0
    while n and judged < int(windows):
        second = int(time.monotonic() - begun)
        counts[second] = counts.get(second, 0) + n
        if second > int(most):
            break
        judged = sum(machine.known(k) and machine.own(k) for k in range(1, second))
        n = read()
    if n == 0:
        sys.exit("the stream has ended")
    seconds = [k for k in range(1, max(counts)) if machine.known(k)]
    print(json.dumps({
        "judged": [counts.get(k, 0) * 8 for k in seconds if machine.own(k)],
        "not_judged": [[counts.get(k, 0) * 8, round(100 * machine.others[k], 1), round(100 * machine.delayed[k], 1), round(1000 * machine.late.get(k, 0))]
                       for k in seconds if not machine.own(k)],
    }), flush=True)
    while read():  # the others go on until the test ends them
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    {"push": push, "sink": sink, "knock": knock, "meter": meter}[sys.argv[1]](*sys.argv[2:])
