"""tcp_relay.py CASE DOOR BEHIND [MORE]: what a connection is like for the two applications that it joins; exit status 0: as it has to be."""
import fcntl
import hashlib
import os
import socket
import struct
import sys
import termios
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from tcp_ends import (END, NOTHING, PATIENCE, RESET, accept, address, check, dial, echoes, fate, listen, outcome, read_all, read_exactly, reset,
                      run_cases, say, until)

BIG = bytes(range(256)) * 4096 * 3 + b"the last"    # 3 MiB, and the ring does not end where it does


def pair(door, behind):
    """A connection through the gateway: the client's end, the server's end, and the server's listening socket."""
    l = listen(behind)
    c = dial(door)
    return c, accept(l)[0], l


def both_ways(door, behind):
    c, b, _ = pair(door, behind)
    c.sendall(b"to the server")
    check("to the server", read_exactly(b, 13) == b"to the server")
    b.sendall(b"to the client")
    check("to the client", read_exactly(c, 13) == b"to the client")
    c.close()
    check("the client's end", outcome(b) == END)


def half_close(first, second):
    """The first says all it has to say; the second notices, and can still say everything."""
    first.sendall(b"question")
    first.shutdown(socket.SHUT_WR)
    check("what it got before the end", read_all(second) == b"question")
    got = []
    reader = threading.Thread(target=lambda: got.append(read_all(first)))
    reader.start()
    second.sendall(BIG)
    second.close()
    reader.join()
    check("what came back after the half-close", got[0] == BIG, len(got[0]))


def half_close_client(door, behind):
    c, b, _ = pair(door, behind)
    half_close(c, b)


def half_close_server(door, behind):
    c, b, _ = pair(door, behind)
    half_close(b, c)


def half_close_is_kept(door, behind):
    """One direction is over, nothing happens in the other for a while, and it goes on."""
    c, b, _ = pair(door, behind)
    c.shutdown(socket.SHUT_WR)
    check("the end", read_all(b) == b"")
    check("the other direction", outcome(c, 0.5) == NOTHING)
    b.sendall(b"late")
    check("late", read_exactly(c, 4) == b"late")
    b.close()
    check("the other end", outcome(c) == END)


def reset_by(who, other):
    other.sendall(b"x")
    read_exactly(who, 1)
    reset(who)
    how = outcome(other)
    check("a RST is a RST at the other end", how == RESET, how)


def reset_by_client(door, behind):
    c, b, _ = pair(door, behind)
    reset_by(c, b)


def reset_by_server(door, behind):
    c, b, _ = pair(door, behind)
    reset_by(b, c)


def reset_after_half_close(door, behind):
    """The client has said everything and waits; the server resets."""
    c, b, _ = pair(door, behind)
    c.shutdown(socket.SHUT_WR)
    check("the end", read_all(b) == b"")
    reset(b)
    how = outcome(c)
    check("a RST after a half-close is a RST", how == RESET, how)


def reset_with_bytes_on_the_way(door, behind):
    """The server does not read, the client's bytes stand everywhere, then either of them resets."""
    for i in range(2):
        c, b, l = pair(door, behind)
        fill(c)
        who, other = (c, b) if i == 0 else (b, c)
        reset(who)
        how = outcome(other)
        check("a RST behind bytes is a RST", how == RESET, how, ("client", "server")[i])
        l.close()


def refused_upload(door, behind):
    """A server that answers an upload without reading it, and closes: its kernel resets for the bytes unread. The client reads the whole answer,
    most of which waits in gateways at that time, and then the reset."""
    answer = BIG[:400000]
    l = listen(behind)
    c = socket.socket()
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c.connect(address(door))
    b, _ = accept(l)
    fill(c)
    b.sendall(answer)
    until("the gateway has the answer", lambda: unsent(b) == 0)
    b.close()
    time.sleep(0.3)    # the reset may overtake what it likes
    c.settimeout(PATIENCE)
    got = read_part(c, len(answer))
    end = outcome(c)
    check("the answer before the reset", got == answer, len(got), len(answer))
    check("a RST behind the answer is a RST", end == RESET, end)


def read_part(s, n):
    """Up to n bytes, or what comes before a reset."""
    got = b""
    try:
        while len(got) < n and (part := s.recv(n - len(got))):
            got += part
    except ConnectionResetError:
        pass
    return got


def unsent(s):
    """Bytes that the kernel at the other end has not got."""
    return struct.unpack("i", fcntl.ioctl(s, termios.TIOCOUTQ, b"\0" * 4))[0]


def reset_at_once(door, behind):
    for _ in range(20):
        c, b, l = pair(door, behind)
        reset(c)
        reset(b)
        l.close()
    both_ways(door, behind)


def urgent(door, behind):
    """The urgent byte is not among the data, and what is behind it comes."""
    c, b, _ = pair(door, behind)
    for text in b"before", b"after":
        c.sendall(text)
        got = read_exactly(b, len(text))
        check("the data around urgent data", got == text, got)
        c.send(b"!", socket.MSG_OOB)
    c.sendall(b"last")
    c.shutdown(socket.SHUT_WR)
    got = read_all(b)
    check("the data after urgent data", got == b"last", got)
    b.close()
    check("the end", outcome(c) == END)


def urgent_among_much(door, behind):
    """The same where the kernel may move the bytes: an urgent byte among many, in both directions, stops nothing. One, since of two that
    wait in a socket the first becomes data."""
    c, b, _ = pair(door, behind)
    for who, other in (c, b), (b, c):
        def pour_with_urgent():
            for i in range(9):
                who.sendall(BIG)
                if i == 4:
                    who.send(b"!", socket.MSG_OOB)
        writer = threading.Thread(target=pour_with_urgent)
        writer.start()
        for i in range(9):
            check("the data around urgent data", read_exactly(other, len(BIG)) == BIG, i)
        writer.join()
    c.close()
    check("the end", outcome(b) == END)


def no_delay(door, behind):
    """Small pieces go at once: nothing waits for the acknowledgement of the piece before it (40 ms with Nagle's algorithm)."""
    c, b, _ = pair(door, behind)
    took = []
    for _ in range(30):
        begin = time.monotonic()
        for _ in range(2):
            c.sendall(b"x")
        read_exactly(b, 2)
        b.sendall(b"y")
        read_exactly(c, 1)
        took.append(time.monotonic() - begin)
    check("the median of two small pieces and an answer is below 20 ms", sorted(took)[15] < 0.02, took)


def empty(door, behind):
    """Connections without a byte."""
    for closer in 0, 1:
        c, b, l = pair(door, behind)
        (c, b)[closer].close()
        check("no byte and the end", read_all((b, c)[closer]) == b"")
        l.close()


def silent(door, behind):
    """It connects and says nothing: the server sees it nevertheless, and it can speak when it likes."""
    c, b, _ = pair(door, behind)
    check("nothing", outcome(b, 1) == NOTHING)
    c.sendall(b"at last")
    check("at last", read_exactly(b, 7) == b"at last")


def server_first(door, behind):
    c, b, _ = pair(door, behind)
    b.sendall(b"220 ready\r\n")
    check("the greeting", read_exactly(c, 11) == b"220 ready\r\n")


def pour(s, seed, mib):
    block = hashlib.shake_256(bytes([seed])).digest(1 << 20)
    for _ in range(mib):
        s.sendall(block)
    s.shutdown(socket.SHUT_WR)
    return hashlib.sha256(block * mib).digest()


def digest_of(s):
    h = hashlib.sha256()
    while part := s.recv(1 << 20):
        h.update(part)
    return h.digest()


def big(door, behind, mib="100"):
    """Both ways at once, with a checksum."""
    c, b, _ = pair(door, behind)
    out = {}
    threads = [threading.Thread(target=lambda k=k, f=f, a=a: out.__setitem__(k, f(*a))) for k, f, a in (
        ("sent by c", pour, (c, 1, int(mib))), ("sent by b", pour, (b, 2, int(mib))), ("got by c", digest_of, (c,)), ("got by b", digest_of, (b,)))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check("from client to server", out["sent by c"] == out["got by b"])
    check("from server to client", out["sent by b"] == out["got by c"])


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(next(l for l in f if l.startswith("VmRSS")).split()[1])


def fill(s, most=64 << 20):
    """Send until nothing goes any more for a while; the number of bytes."""
    sent, block, timeout = 0, b"\0" * (1 << 16), s.gettimeout()
    s.settimeout(0.5)
    try:
        while sent < most:
            sent += s.send(block)
    except TimeoutError:
        pass
    s.settimeout(timeout)
    return sent


def slow_reader(door, behind, limit_kib, *pids):
    """A server that does not read: the client stops soon, no worker grows, and all of it arrives in the end. Then in the other direction."""
    for who in 0, 1:
        c, b, l = pair(door, behind)
        writer, reader = (c, b) if who == 0 else (b, c)
        before = {p: rss_kib(p) for p in pids}
        sent = fill(writer)
        check("the sender is stopped", sent < 64 << 20, sent)
        for p in pids:
            check("a worker has grown", rss_kib(p) - before[p] < int(limit_kib), f"{before[p]} to {rss_kib(p)} KiB")
        time.sleep(0.3)
        check("still stopped", fill(writer) < 1 << 20)
        writer.shutdown(socket.SHUT_WR)
        got = 0
        while part := reader.recv(1 << 20):
            got += len(part)
        check("everything arrived", got >= sent, got, sent)
        l.close()


def from_address(door, behind, want):
    l = listen(behind)
    c = dial(door)
    b, peer = accept(l)
    check("the address it comes from", peer[0] == want, peer[0], want)
    c.sendall(b"x")
    read_exactly(b, 1)


SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def proxy_header(b):
    """(family, source, destination) of the PROXY protocol v2 header before the data."""
    head = read_exactly(b, 16)
    check("signature", head[:12] == SIGNATURE, head)
    check("version 2, command PROXY", head[12] == 0x21, hex(head[12]))
    rest = read_exactly(b, struct.unpack("!H", head[14:])[0])
    family, n = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}[head[13]]
    sport, dport = struct.unpack("!HH", rest[2 * n:2 * n + 4])
    return family, (socket.inet_ntop(family, rest[:n]), sport), (socket.inet_ntop(family, rest[n:2 * n]), dport)


def proxied(door, behind):
    for say_first in True, False:
        l = listen(behind)
        c = dial(door)
        if say_first:
            c.sendall(b"data")
        b, _ = accept(l)
        family, source, destination = proxy_header(b)
        check("family", family == c.family)
        check("source", source == c.getsockname()[:2], source)
        check("destination", destination == c.getpeername()[:2], destination)
        if not say_first:
            c.sendall(b"data")
        check("the data behind it", read_exactly(b, 4) == b"data")
        b.sendall(b"back")
        check("no header in the other direction", read_exactly(c, 4) == b"back")
        l.close()


def limit(door, behind, most):
    """With as many connections as the route may have, one more is reset and the others live; when one has ended there is room again."""
    l = listen(behind)
    held = []
    for _ in range(int(most)):
        c = dial(door)
        held.append((c, accept(l)[0]))
    how = fate(door)
    check("one more is reset", how == RESET, how)
    for c, b in held:
        c.sendall(b"x")
        check("those before it live", read_exactly(b, 1) == b"x")
    c, b = held.pop()
    c.close()
    check("one has ended", outcome(b) == END)
    b.close()

    def room():
        try:
            c = dial(door)
            c.sendall(b"y")
            l.settimeout(0.2)
            b = accept(l)[0]
            return read_exactly(b, 1) == b"y"
        except OSError:
            return False
    until("there is room again", room)


if __name__ == "__main__":
    run_cases(globals())
