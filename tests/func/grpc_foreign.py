"""Our gRPC client (program grpc_ask) against gRPC's own server (C core, by Python)."""
import concurrent.futures
import os
import subprocess
import sys
import tempfile
import time
import unittest

import grpc

from grpc_server import make_certificate

ASK = os.environ.get("GRPC_ECHO_WRAPPER", "").split() + [os.environ.get("GRPC_ASK", "./grpc_ask")]


class Service(grpc.GenericRpcHandler):
    def service(self, call):
        name = call.method.rpartition("/")[2]
        one = {"Unary": lambda m, _: m, "Slow": self.slow, "Abort": self.abort, "Compress": self.compress}
        many = {"Stream": lambda ms, _: ms, "Early": self.early, "Count": self.count}
        if name in one:
            return grpc.unary_unary_rpc_method_handler(one[name])
        if name in many:
            return grpc.stream_stream_rpc_method_handler(many[name])
        return None

    def slow(self, message, context):
        time.sleep(1)
        return message

    def abort(self, _, context):
        context.set_trailing_metadata([("x-trailer", "v" * 5000)])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "100 % über\nall")

    def compress(self, message, context):
        context.set_compression(grpc.Compression.Gzip)
        return message

    def early(self, messages, context):
        yield next(messages)

    def count(self, messages, context):
        yield b"%d" % sum(len(m) for m in messages)


class Client(unittest.TestCase):
    def ask(self, *args, target=None):
        p = subprocess.run([*ASK, *args[:-1], target or str(server.port), "/test.Foreign/" + args[-1]],
                           capture_output=True, text=True, timeout=60)
        self.assertEqual(p.stderr, "")
        return p.returncode, p.stdout.rstrip("\n")

    def test_unary(self):
        for target in (), ("-c", server.cert):
            port = str(server.tls_port if target else server.port)
            for size in "0", "5", "70000", "3000000":
                self.assertEqual(self.ask(*target, "-s", size, "Unary", target=port), (0, f"OK 1 {size} "))
        self.assertEqual(self.ask("Unary", target=server.path), (0, "OK 1 5 "))

    def test_streams(self):
        self.assertEqual(self.ask("-n", "1000", "Stream"), (0, "OK 1000 5000 "))
        self.assertEqual(self.ask("-n", "200", "-s", "100000", "Stream"), (0, "OK 200 20000000 "))
        self.assertEqual(self.ask("-n", "100", "-s", "100000", "Count"), (0, "OK 1 8 "))
        self.assertEqual(self.ask("-n", "0", "Stream"), (0, "OK 0 0 "))

    def test_server_ends_early(self):
        self.assertEqual(self.ask("-k", "-n", "1", "Early"), (0, "OK 1 5 "))
        self.assertEqual(self.ask("-k", "-n", "300", "-s", "100000", "Early"), (0, "OK 1 100000 "))

    def test_statuses(self):
        self.assertEqual(self.ask("Nothing"), (0, "UNIMPLEMENTED 0 0 Method not found!"))
        self.assertEqual(self.ask("Abort"), (0, "FAILED_PRECONDITION 0 0 100 % über?all"))
        code, text = self.ask("-d", "200", "Slow")  # whoever notices first
        self.assertEqual((code, text.lower()), (0, "deadline_exceeded 0 0 deadline exceeded"))
        self.assertEqual(self.ask("-d", "20000", "Slow"), (0, "OK 1 5 "))

    def test_compression(self):
        """We say that we accept "identity" only; this server compresses all the same when it is told to."""
        self.assertEqual(self.ask("-s", "10000", "Compress"), (0, "UNIMPLEMENTED 0 0 compressed messages are not supported"))

    def test_wrong_ca(self):
        with tempfile.TemporaryDirectory() as d:
            make_certificate(d + "/c", d + "/k")
            code, text = self.ask("-c", d + "/c", "Unary", target=str(server.tls_port))
        self.assertEqual((code, text[:9]), (1, "lost tls "))


class Server:
    def __enter__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="grpc-")
        self.cert, key, self.path = self.dir.name + "/cert", self.dir.name + "/key", self.dir.name + "/sock"
        make_certificate(self.cert, key)
        with open(self.cert, "rb") as c, open(key, "rb") as k:
            credentials = grpc.ssl_server_credentials([(k.read(), c.read())])
        self.s = grpc.server(concurrent.futures.ThreadPoolExecutor(8), [Service()],
                             options=[("grpc.max_receive_message_length", -1)])
        self.port = self.s.add_insecure_port("127.0.0.1:0")
        self.tls_port = self.s.add_secure_port("127.0.0.1:0", credentials)
        self.s.add_insecure_port("unix:" + self.path)
        self.s.start()
        return self

    def __exit__(self, *_):
        self.s.stop(None).wait()
        self.dir.cleanup()


if __name__ == "__main__":
    with Server() as server:
        result = unittest.main(exit=False, verbosity=2 if "-v" in sys.argv else 1).result
    sys.exit(not result.wasSuccessful())
