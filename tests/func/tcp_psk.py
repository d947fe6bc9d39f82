"""tcp_psk.py CLIENT_PORT SERVER_PORT CASE: an application on each side of a path that has TLS by pre-shared key in its middle."""
import os, socket, subprocess, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from tcp_ends import RESET, check, dial, listen, accept, reset, read_all, read_exactly, outcome  # noqa: E402

client_at, server_at = sys.argv[1:3]
more = sys.argv[4:]
listener = listen(server_at) if sys.argv[3] != "s_server" else None
SIZE = 5_000_000


def pair():
    c = dial(client_at)
    c.sendall(b"x")
    s, _ = accept(listener)
    check("the first byte", read_exactly(s, 1) == b"x")
    return c, s


def data(seed):
    return bytes((i * seed) & 255 for i in range(65536)) * (SIZE // 65536)


# stunnel 5.68 throws away what it has not read yet of a connection that has ended both ways ("Read socket closed (HUP)"), and says close_notify: behind
# one nothing ends before all is read.
GENTLE = "gentle" in more


def sends(s, what):
    s.sendall(what)
    if not GENTLE:
        s.shutdown(socket.SHUT_WR)


def reads(what, s, other, want):
    """All that is wanted, then the end, which other makes when it may not come sooner."""
    if GENTLE:
        check(what, read_exactly(s, len(want)) == want)
        other.shutdown(socket.SHUT_WR)
    check(what + ", and its end", read_all(s) == (b"" if GENTLE else want))


def bulk():
    c, s = pair()
    there, back = data(3), data(7)
    threads = [threading.Thread(target=sends, args=a) for a in ((c, there), (s, back))]
    for t in threads:
        t.start()
    if GENTLE:
        check("bytes there", read_exactly(s, len(there)) == there)
        reads("bytes back", c, s, back)
        c.shutdown(socket.SHUT_WR)
        check("the end there", read_all(s) == b"")
    else:
        got = []
        threads.append(threading.Thread(target=lambda: got.append(read_all(c))))
        threads[-1].start()
        check("bytes there", read_all(s) == there)
        threads[-1].join()
        check("bytes back", got == [back])
    for t in threads:
        t.join()


def half_close(first, second):
    first.sendall(b"question")
    first.shutdown(socket.SHUT_WR)
    check("the question, and its end", read_all(second) == b"question")
    sender = threading.Thread(target=sends, args=(second, data(5)))
    sender.start()
    reads("the answer", first, second, data(5))
    sender.join()


def half_close_client():
    half_close(*pair())


def half_close_server():
    c, s = pair()
    half_close(s, c)


def resets(one, other):
    """What the other sees of it: a reset, or what is said to become of it."""
    reset(one)
    ended = outcome(other)
    check("a reset", ended == (more[0] if more else RESET), ended)


def reset_client():
    resets(*pair())


def reset_server():
    c, s = pair()
    resets(s, c)


def nobody_comes():
    listener.settimeout(0.3)
    try:
        listener.accept()
        check("nobody came", False)
    except socket.timeout:
        pass


def not_let_in():
    c = dial(client_at)
    try:
        c.sendall(b"x")
        check("nothing comes", c.recv(100) == b"")
    except (ConnectionResetError, BrokenPipeError):
        pass
    nobody_comes()


def scan():
    """Who speaks no TLS, or begins and goes, reaches nobody."""
    for said in b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", bytes(5000):
        for end in socket.socket.close, reset, lambda s: (s.shutdown(socket.SHUT_WR), outcome(s)):
            s = dial(client_at)
            s.sendall(said)
            try:
                end(s)
            except OSError:
                pass
    nobody_comes()


def openssl(*args):
    return subprocess.Popen(["openssl", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)


def s_client():
    p = openssl("s_client", "-connect", "127.0.0.1:" + client_at, "-quiet", "-no_ign_eof", *more)
    p.stdin.write(b"hello\n")
    s, _ = accept(listener)
    check("hello", read_exactly(s, 6) == b"hello\n")
    s.sendall(b"back\n")
    check("back", p.stdout.readline() == b"back\n")
    p.stdin.close()
    check("a clean end", read_all(s) == b"")
    s.close()
    p.wait()


def s_server():
    p = openssl("s_server", "-accept", "127.0.0.1:" + server_at, "-nocert", "-quiet", *more)
    while True:
        try:
            dial(server_at).close()
            break
        except ConnectionRefusedError:
            pass
    c = dial(client_at)
    c.sendall(b"hello\n")
    check("hello", p.stdout.readline() == b"hello\n")
    p.stdin.write(b"back\n")
    check("back", read_exactly(c, 5) == b"back\n")
    c.close()
    p.kill()
    p.wait()


globals()[sys.argv[3]]()
