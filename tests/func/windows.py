"""What windows a gateway tells and takes, as seen by a receiver, a sender and the next gateway, which are all this program.
   windows.py MESSAGES SOCKET PORT CERTIFICATE KEY: SOCKET is the gateway's; it has the routes "here" and, on to us at PORT, "on"."""
import queue
import sys
import time
import unittest
from concurrent import futures

import grpc

sys.path.insert(0, sys.argv[1])
import gateway_pb2 as gw  # noqa: E402

SOCKET, PORT, CERTIFICATE, KEY = sys.argv[2:6]
ATTACH = "/scistream.gateway.v1.Gateway/Attach"
RING = 4 << 20
offered = queue.Queue()
answers = queue.Queue()


def be_gateway(requests, context):
    """The next gateway: one ANSWER to an OFFER, with the window that the test wants."""
    offer = next(requests).offer
    offered.put(offer)
    yield gw.AttachMessage(answer=gw.Answer(version=1, session="next", transport=offer.transports[0].name, port=9, cookies=[b"c" * 16],
                                            nonce=b"n" * 16, window=answers.get(timeout=20), chunk_max=65536, plaintext=True))
    for _ in requests:
        pass


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(4))
    handler = grpc.stream_stream_rpc_method_handler(be_gateway, gw.AttachMessage.FromString, gw.AttachMessage.SerializeToString)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("scistream.gateway.v1.Gateway", {"Attach": handler}),))
    with open(KEY, "rb") as k, open(CERTIFICATE, "rb") as c:
        server.add_secure_port("127.0.0.1:" + PORT, grpc.ssl_server_credentials([(k.read(), c.read())]))
    server.start()
    return server


class Attach:
    def __init__(self, route, role, window):
        self.say = queue.Queue()
        self.say.put(gw.AttachMessage(offer=gw.Offer(version_min=1, version_max=1, route=route, role=role, window=window,
                                                     transports=[gw.TransportOffer(name="link")])))
        call = channel.stream_stream(ATTACH, gw.AttachMessage.SerializeToString, gw.AttachMessage.FromString)
        self.call = call(iter(self.say.get, None), timeout=30)

    def hear(self, what):
        for m in self.call:
            if m.WhichOneof("what") == what:
                return getattr(m, what)
            assert m.WhichOneof("what") == "waiting", m

    def end(self):
        self.call.cancel()
        while gateway_busy():
            time.sleep(0.02)


def gateway_busy():
    call = channel.unary_unary("/scistream.gateway.v1.Gateway/Sessions", gw.SessionsRequest.SerializeToString, gw.SessionsReply.FromString)
    return len(call(gw.SessionsRequest(), timeout=20).sessions)


class Windows(unittest.TestCase):
    def test_receiver(self):
        """The receiver is told the smallest ring before it, if that is known."""
        for told, expect in (1 << 17, 1 << 17), (64 << 10, 64 << 10), (0, RING), (16 << 20, RING):
            receiver = Attach("here", gw.RECV, 1 << 20)
            sender = Attach("here", gw.SEND, told)
            self.assertEqual(receiver.hear("answer").window, expect)
            self.assertEqual(sender.hear("answer").window, RING)
            sender.end()

    def test_next_gateway(self):
        """So is the next gateway, which tells it on."""
        for told, expect in (1 << 17, 1 << 17), (0, RING), (16 << 20, RING):
            sender = Attach("on", gw.SEND, told)
            self.assertEqual(sender.hear("answer").window, RING)
            self.assertEqual(offered.get(timeout=20).window, expect)
            answers.put(RING)
            sender.end()

    def test_absurd_answer(self):
        for window in 1, 7, 65535:
            sender = Attach("on", gw.SEND, 1 << 17)
            offered.get(timeout=20)
            sender.hear("answer")
            answers.put(window)
            self.assertIn("ANSWER has a window below 64K", sender.hear("abort").text)
            sender.end()

    def test_absurd_offer(self):
        for window in 1, 7, 65535:
            for role in gw.SEND, gw.RECV:
                self.assertIn("window of %d is below 64K" % window, Attach("here", role, window).hear("abort").text)


if __name__ == "__main__":
    channel = grpc.insecure_channel("unix:" + SOCKET)
    server = serve()
    result = unittest.main(argv=sys.argv[:1], exit=False).result
    server.stop(None)
    sys.exit(not result.wasSuccessful())
