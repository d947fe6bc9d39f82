"""Our gRPC server against gRPC's own client (C core, by Python)."""
import queue
import sys
import threading
import time
import unittest

import grpc

from grpc_server import Server

MIB = 1 << 20
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def same(b):
    return b


def unary(channel, name):
    return channel.unary_unary("/test.Echo/" + name, request_serializer=same, response_deserializer=same)


def stream(channel, name):
    return channel.stream_stream("/test.Echo/" + name, request_serializer=same, response_deserializer=same)


class Calls:
    """Run over each kind of channel."""

    def status(self, code, details, call, *args, **kw):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*args, timeout=kw.pop("timeout", 20), **kw)
        self.assertEqual(caught.exception.code(), code)
        if details is not None:
            self.assertEqual(caught.exception.details(), details)

    def test_unary(self):
        call = unary(self.channel, "Unary")
        for size in 0, 1, 5, 16384, 65535, 65536, MIB, 5 * MIB:
            data = bytes(i * 7 & 255 for i in range(256)) * (size // 256 + 1)
            self.assertEqual(call(data[:size], timeout=20), data[:size])

    def test_concurrent(self):
        call = unary(self.channel, "Unary")
        futures = [call.future(b"%d" % i, timeout=60) for i in range(500)]
        self.assertEqual([f.result() for f in futures], [b"%d" % i for i in range(500)])

    def test_threads(self):
        bad = []

        def work(n):
            call = unary(self.channel, "Unary")
            for i in range(100):
                if call(b"%d %d" % (n, i), timeout=60) != b"%d %d" % (n, i):
                    bad.append((n, i))
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        self.assertEqual(bad, [])

    def test_busy(self):
        """Thousands of calls one after the other, all at once, and given up all at once: a call that was there before them is there afterwards."""
        said = queue.SimpleQueue()
        stays = stream(self.channel, "Stream")(iter(said.get, None), timeout=120)
        said.put(b"before")
        self.assertEqual(next(stays), b"before")
        call, never = unary(self.channel, "Unary"), unary(self.channel, "Never")
        for i in range(3000):
            self.assertEqual(call(b"%d" % i, timeout=60), b"%d" % i)
        futures = [call.future(b"%d" % i, timeout=60) for i in range(3000)]
        self.assertEqual([f.result() for f in futures], [b"%d" % i for i in range(3000)])
        for _ in range(3):
            waiting = [never.future(b"x", timeout=2) for _ in range(500)]
            self.assertEqual({f.code() for f in waiting}, {grpc.StatusCode.DEADLINE_EXCEEDED})
        said.put(b"after")
        self.assertEqual(next(stays), b"after")
        said.put(None)

    def test_bidi(self):
        sent = [b"message %d" % i for i in range(1000)]
        self.assertEqual(list(stream(self.channel, "Stream")(iter(sent), timeout=60)), sent)

    def test_bidi_large(self):
        sent = [bytes([i]) * 100000 for i in range(100)]
        self.assertEqual(list(stream(self.channel, "Stream")(iter(sent), timeout=60)), sent)

    def test_bidi_in_turns(self):
        go = threading.Semaphore(1)

        def requests():
            for i in range(200):
                go.acquire()
                yield b"turn %d" % i
        got = []
        for m in stream(self.channel, "Stream")(requests(), timeout=60):
            got.append(m)
            go.release()
        self.assertEqual(got, [b"turn %d" % i for i in range(200)])

    def test_slow_reader(self):
        call = stream(self.channel, "Burst")(iter([(800).to_bytes(4, "big")]), timeout=60)
        time.sleep(0.2)
        self.assertEqual(sum(len(m) for m in call), 800 * 1024)

    def test_finish_early(self):
        def endless():
            while True:
                yield bytes(10000)
        call = stream(self.channel, "Early")(endless(), timeout=20)
        self.assertEqual(list(call), [])
        self.assertEqual((call.code(), call.details()), (grpc.StatusCode.OK, "early"))

    def test_statuses(self):
        fail = unary(self.channel, "Fail")
        for code in grpc.StatusCode:
            number = code.value[0]
            if number:
                self.status(code, "text 100 % ü\n" + code.name, fail, bytes([number]) + f"text 100 % ü\n{code.name}".encode())
        self.status(grpc.StatusCode.UNIMPLEMENTED, "unknown method /test.Echo/Nothing", unary(self.channel, "Nothing"), b"")

    def test_deadline(self):
        begin = time.monotonic()
        self.status(grpc.StatusCode.DEADLINE_EXCEEDED, None, unary(self.channel, "Never"), b"x", timeout=0.3)
        self.assertLess(time.monotonic() - begin, 5)
        self.calls_end()

    def test_cancel(self):
        call = stream(self.channel, "Stream")(iter([b"one"]), timeout=20)
        next(call)
        waiting = unary(self.channel, "Never").future(b"x", timeout=20)
        time.sleep(0.1)
        call.cancel()
        waiting.cancel()
        self.assertEqual(waiting.code(), grpc.StatusCode.CANCELLED)
        self.calls_end()

    def test_server_cancels(self):
        self.status(grpc.StatusCode.CANCELLED, None, unary(self.channel, "Cancel"), b"x")

    def test_metadata(self):
        call = unary(self.channel, "Meta")
        self.assertEqual(call(b"", metadata=[("x-test", "a token")], timeout=20), b"a token")
        self.assertEqual(call(b"", timeout=20), b"none")
        many = [("x-other-%d" % i, "v") for i in range(80)]
        self.assertEqual(call(b"", metadata=many[:40] + [("x-test", "last")], timeout=20), b"last")
        self.status(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many or too large headers", call, b"", metadata=many)

    def test_compression(self):
        self.status(grpc.StatusCode.UNIMPLEMENTED, "compressed messages are not supported",
                    unary(self.channel, "Unary"), bytes(10000), compression=grpc.Compression.Gzip)
        self.assertEqual(unary(self.channel, "Unary")(b"plain", timeout=20), b"plain")

    def test_oversize(self):
        small = unary(self.channel, "Small")
        self.assertEqual(len(small(bytes(1000), timeout=20)), 1000)
        self.status(grpc.StatusCode.RESOURCE_EXHAUSTED, "message of 1001 bytes is larger than 1000", small, bytes(1001))
        self.status(grpc.StatusCode.RESOURCE_EXHAUSTED, None, small, bytes(3 * MIB))

    def calls_end(self):
        for _ in range(200):
            if self.server.counters()["calls"] == 0:
                return
            time.sleep(0.05)
        self.fail("calls are left")


class Plain(Calls, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.channel = grpc.insecure_channel("127.0.0.1:" + cls.server.at["plain"], OPTIONS)

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()


class Unix(Plain):
    @classmethod
    def setUpClass(cls):
        cls.channel = grpc.insecure_channel("unix:" + cls.server.at["unix"], OPTIONS)


class Tls(Plain):
    @classmethod
    def setUpClass(cls):
        with open(cls.server.cert, "rb") as f:
            credentials = grpc.ssl_channel_credentials(root_certificates=f.read())
        cls.channel = grpc.secure_channel("localhost:" + cls.server.at["tls"], credentials, OPTIONS)

    def test_wrong_root(self):
        with Server(tls=True) as other, open(other.cert, "rb") as f:
            with grpc.secure_channel("localhost:" + self.server.at["tls"], grpc.ssl_channel_credentials(f.read())) as channel:
                self.status(grpc.StatusCode.UNAVAILABLE, None, unary(channel, "Unary"), b"")


if __name__ == "__main__":
    with Server(tls=True) as server:
        Plain.server = server
        before = server.counters()["fds"]
        result = unittest.main(exit=False, verbosity=2 if "-v" in sys.argv else 1).result
        for _ in range(100):
            if server.counters()["fds"] == before:
                break
            time.sleep(0.05)
        assert server.counters() | {"rss": 0} == {"fds": before, "calls": 0, "rss": 0}, server.counters()
    sys.exit(not result.wasSuccessful())
