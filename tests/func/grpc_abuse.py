"""Peers that do their worst to our gRPC server while others want to be served. Frames are made by hand: no library sends these."""
import contextlib
import resource
import socket
import ssl
import struct
import sys
import threading
import time
import unittest

from grpc_server import Server

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4
MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CALM = 11


def frame(kind, flags=0, stream=0, body=b""):
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def literal(name_index, value):
    """Header with a name of HPACK's static table, without indexing."""
    head = bytes([name_index]) if name_index < 15 else bytes([15, name_index - 15])
    return head + bytes([len(value)]) + value


def headers(path):
    """POST, http, path, :authority, content-type"""
    return b"\x83\x86" + literal(4, path) + literal(1, b"x") + literal(31, b"application/grpc")


def request(stream, path=b"/test.Echo/Unary", message=b"x"):
    return (frame(HEADERS, END_HEADERS, stream, headers(path)) +
            frame(DATA, END_STREAM, stream, b"\0" + struct.pack(">I", len(message)) + message))


class Peer:
    """One connection that knows just enough HTTP/2."""

    def __init__(self, port, hello=True, tls=None):
        self.s = socket.create_connection(("127.0.0.1", int(port)), timeout=20)
        if tls:
            self.s = tls.wrap_socket(self.s, server_hostname="localhost")
        self.stream, self.rest = 1, b""
        if hello:
            self.send(MAGIC + frame(SETTINGS))

    def send(self, data):
        """False: the server closed before it had all."""
        try:
            self.s.sendall(data)
        except OSError:
            return False
        return True

    def frames(self):
        while True:
            while len(self.rest) >= 9 and len(self.rest) >= 9 + (n := int.from_bytes(self.rest[:3], "big")):
                body, kind, flags = self.rest[9:9 + n], self.rest[3], self.rest[4]
                yield kind, flags, int.from_bytes(self.rest[5:9], "big"), body
                self.rest = self.rest[9 + n:]
            try:
                got = self.s.recv(65536)
            except ConnectionResetError:
                return
            if not got:
                return
            self.rest += got

    def call(self):
        """An answered unary call."""
        stream, self.stream = self.stream, self.stream + 2
        self.send(request(stream))
        for kind, flags, at, body in self.frames():
            if kind == PING and not flags & 1:
                self.send(frame(PING, 1, 0, body))
            if kind == SETTINGS and not flags & 1:
                self.send(frame(SETTINGS, 1))
            if kind == HEADERS and flags & END_STREAM and at == stream:
                return True
        return False

    def farewell(self):
        """HTTP/2 error of the GOAWAY before the end, or None. The end must come."""
        code = None
        for kind, _, _, body in self.frames():
            if kind == GOAWAY:
                code = int.from_bytes(body[4:8], "big")
        return code

    def close(self):
        self.s.close()


class Customer(threading.Thread):
    """Somebody who behaves, and notices when he has to wait."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.peer, self.port, self.stop, self.calls, self.failed, self.slowest = Peer(port), port, False, 0, 0, 0.0

    def run(self):
        while not self.stop:
            begin = time.monotonic()
            if not self.peer.call():
                self.failed += 1
                return
            self.calls += 1
            self.slowest = max(self.slowest, time.monotonic() - begin)
            time.sleep(0.01)


@contextlib.contextmanager
def served(port):
    c = Customer(port)
    c.start()
    yield c
    c.stop = True
    c.join()
    c.peer.close()


class Abuse(unittest.TestCase):
    def setUp(self):
        self.port, self.tls_port = server.at["plain"], server.at["tls"]
        self.before = server.counters()["fds"]
        self.customers = served(self.port)
        self.customer = self.customers.__enter__()

    def tearDown(self):
        calls = self.customer.calls
        time.sleep(0.1)
        self.assertGreater(self.customer.calls, calls, "the customer is not served any more")
        self.customers.__exit__(None, None, None)
        self.assertEqual(self.customer.failed, 0)
        self.assertLess(self.customer.slowest, 5)
        for _ in range(200):
            now = server.counters()
            if now["fds"] == self.before and now["calls"] == 0:
                return
            time.sleep(0.05)
        self.fail(f"descriptors or calls are left: {now}, {self.before} descriptors before")

    def ends(self, data, hello=False, port=None, code=None):
        p = Peer(port or self.port, hello)
        p.send(data)
        got = p.farewell()
        if code is not None:
            self.assertEqual(got, code)
        p.close()

    def test_garbage(self):
        for port in self.port, self.tls_port:
            for text in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 100, b"\xff" * 10000, b"SSH-2.0-x\r\n" * 10,
                         MAGIC[:-1] + b"X" * 50, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00" + b"\0" * 300):
                self.ends(text, port=port)

    def test_halves(self):
        hello = MAGIC + frame(SETTINGS)
        for text in (b"", MAGIC, MAGIC[:7], hello[:-4], hello + request(1)[:20], hello + request(1)[:-1],
                     b"\x16\x03\x01\x02\x00\x01"):
            for port in self.port, self.tls_port:
                p = Peer(port, hello=False)
                p.send(text)
                p.s.shutdown(socket.SHUT_WR)
                p.farewell()
                p.close()
                p = Peer(port, hello=False)
                p.send(text)
                p.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                p.close()

    def test_protocol_errors(self):
        for data, code in ((b"\xff\xff\xff\0\0\0\0\0\1", 6), (b"\x00\x40\x01\x01\x04\x00\x00\x00\x01" + bytes(100), 6),
                           (frame(DATA, 0, 1, b"x"), 1), (frame(HEADERS, END_HEADERS, 2, headers(b"/x")), 1),
                           (frame(WINDOW, 0, 0, b"\0\0\0\0"), 1), (frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff"), 3),
                           (frame(SETTINGS, 1, 0, b"x" * 6), 6), (frame(PING, 0, 0, b"short"), 6),
                           (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"), 9), (frame(CONTINUATION, 0, 1, b""), 1)):
            self.ends(data, hello=True, code=code)

    def test_floods(self):
        junk = {"ping": frame(PING, 0, 0, bytes(8)), "settings": frame(SETTINGS), "window": frame(WINDOW, 0, 0, b"\0\0\0\1"),
                "priority": frame(PRIORITY, 0, 1, b"\0\0\0\0\1"), "pong": frame(PING, 1, 0, bytes(8))}
        for name, one in junk.items():
            with self.subTest(name):
                self.ends(one * 5000, hello=True, code=CALM)

    def test_empty_data(self):
        self.ends(frame(HEADERS, END_HEADERS, 1, headers(b"/test.Echo/Never")) + frame(DATA, 0, 1) * 5000, hello=True, code=CALM)

    def test_rapid_reset(self):
        p = Peer(self.port)
        for i in range(1, 60000, 2):
            if not p.send(frame(HEADERS, END_HEADERS, i, headers(b"/test.Echo/Never")) + frame(RST, 0, i, struct.pack(">I", 8))):
                break
        self.assertIn(p.farewell(), (CALM, None))  # None: our own data met a closed socket and its reset overtook
        p.close()

    def test_made_to_reset(self):
        """Streams that are invalid from the start (no path): the server has to send the RST_STREAM."""
        p = Peer(self.port)
        for i in range(1, 20000, 2):
            if not p.send(frame(HEADERS, END_HEADERS, i, b"\x83\x86")):
                break
        self.assertIn(p.farewell(), (CALM, None))
        p.close()

    def test_continuations(self):
        self.ends(frame(HEADERS, 0, 1, headers(b"/x")) + frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 3000) * 100, hello=True)

    def test_header_bomb(self):
        """A large entry in the dynamic table, then named again and again."""
        big = b"\x40\x01a\x7f\xf0\x1d" + b"v" * 3951
        block = headers(b"/test.Echo/Unary") + big + b"\xbe" * 12000
        p = Peer(self.port)
        for i in range(1, 41, 2):
            p.send(frame(HEADERS, END_HEADERS | END_STREAM, i, block if i == 1 else headers(b"/test.Echo/Unary") + b"\xbe" * 15000))
        seen = set()
        for kind, flags, at, _ in p.frames():
            if kind == RST or kind == HEADERS and flags & END_STREAM:
                seen.add(at)
            if kind == GOAWAY or len(seen) == 20:
                break
        p.close()

    def test_reads_nothing(self):
        """Many calls, large answers, a closed window, and no read at all: bounded memory, and others go on."""
        before = server.counters()["rss"]
        peers = []
        for _ in range(10):
            p = Peer(self.port)
            p.s.settimeout(0.5)
            ask = frame(HEADERS, END_HEADERS, 0, headers(b"/test.Echo/Burst"))
            for i in range(1, 41, 2):
                p.send(ask[:5] + struct.pack(">I", i) + ask[9:] + frame(DATA, 0, i, b"\0\0\0\0\4" + (500).to_bytes(4, "big")))
            for _ in range(100000):
                if not p.send(frame(PING, 0, 0, bytes(8)) * 100):
                    break
            peers.append(p)
        self.assertLess(server.counters()["rss"] - before, 300 * 1024)
        for p in peers:
            p.close()

    def test_slow_drip(self):
        p = Peer(self.port, hello=False)
        for b in MAGIC + frame(SETTINGS) + request(1):
            p.send(bytes([b]))
        for kind, flags, _, _ in p.frames():
            if kind == HEADERS and flags & END_STREAM:
                break
        else:
            self.fail("not answered")
        p.close()

    def test_silent_connections(self):
        n = 5000
        before = server.counters()["rss"]
        silent = []
        for i in range(n):
            silent.append(socket.create_connection(("127.0.0.1", int(self.tls_port if i % 2 else self.port)), timeout=20))
        while server.counters()["fds"] < self.before + n:
            time.sleep(0.05)
        per = (server.counters()["rss"] - before) * 1024 / n
        self.assertLess(per, 2048)
        tls = ssl.create_default_context(cafile=server.cert)
        tls.set_alpn_protocols(["h2"])
        for p in Peer(self.port), Peer(self.tls_port, tls=tls):
            self.assertTrue(p.call())
            p.close()
        for s in silent:
            s.close()


class Limited(unittest.TestCase):
    """A small server: who is silent makes room, and does not stay for ever."""

    def test_limit(self):
        with Server("-n", "50", "-w", "3000") as small, contextlib.ExitStack() as stack:
            port = small.at["plain"]
            before = small.counters()["fds"]
            with served(port) as customer:
                silent = [stack.enter_context(socket.create_connection(("127.0.0.1", int(port)), timeout=20)) for _ in range(300)]
                peers = [Peer(port) for _ in range(49)]
                for p in peers:
                    self.assertTrue(p.call())
                more = Peer(port)
                self.assertFalse(more.call())  # nobody left to make room
                more.close()
                self.assertTrue(all(s.recv(1) == b"" for s in silent))
                for p in peers:
                    p.close()
                late = Peer(port, hello=False)
                late.send(MAGIC[:10])
                self.assertIsNone(late.farewell())  # after -w
                late.close()
            self.assertEqual(customer.failed, 0)
            for _ in range(100):
                if small.counters()["fds"] == before:
                    return
                time.sleep(0.05)
            self.fail("descriptors are left")


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 8000:
        print("skipped: the limit of open files is below 8000 (ulimit -Hn)")
        sys.exit(77)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Server(tls=True) as server:
        result = unittest.main(exit=False, verbosity=2 if "-v" in sys.argv else 1).result
        assert len(server.stderr().splitlines()) < 60, "the log is flooded"
    sys.exit(not result.wasSuccessful())
