"""tcp_psk.py CLIENT_PORT SERVER_PORT CASE: an application on each side of a path that has TLS by pre-shared key in its middle."""
import os, socket, subprocess, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from tcp_ends import RESET, check, dial, listen, accept, reset, read_all, read_exactly, outcome  # noqa: E402

client_at, server_at = sys.argv[1:3]
more = sys.argv[4:]
listener = listen(server_at) if sys.argv[3] != "s_server" else None
SIZE = 20_000_000


def pair():
    c = dial(client_at)
    c.sendall(b"x")
    s, _ = accept(listener)
    check("the first byte", read_exactly(s, 1) == b"x")
    return c, s


def data(seed):
    return bytes((i * seed) & 255 for i in range(65536)) * (SIZE // 65536)


def bulk(both=True):
    c, s = pair()
    there, back = data(3), data(7) if both else b""
    got = {}
    threads = [threading.Thread(target=f) for f in (
        lambda: (c.sendall(there), c.shutdown(socket.SHUT_WR)), lambda: (s.sendall(back), s.shutdown(socket.SHUT_WR)),
        lambda: got.update(back=read_all(c)), lambda: got.update(there=read_all(s)))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check("bytes there", got["there"] == there, len(got["there"]))
    check("bytes back", got["back"] == back, len(got["back"]))


def half_close(first, second):
    first.sendall(b"question")
    first.shutdown(socket.SHUT_WR)
    check("the question, and its end", read_all(second) == b"question")
    sender = threading.Thread(target=lambda: (second.sendall(data(5)), second.shutdown(socket.SHUT_WR)))
    sender.start()
    check("the answer, and its end", read_all(first) == data(5))
    sender.join()


def half_close_client():
    half_close(*pair())


def half_close_server():
    c, s = pair()
    half_close(s, c)


def reset_client():
    c, s = pair()
    reset(c)
    check("a reset", outcome(s) == RESET)


def reset_server():
    c, s = pair()
    reset(s)
    check("a reset", outcome(c) == RESET)


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
    p = openssl("s_client", "-connect", "127.0.0.1:" + client_at, "-quiet", *more)
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
