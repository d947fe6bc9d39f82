"""Applications that know nothing of a gateway.
   tcp_apps.py http PORT            HTTP/1.1 with keep-alive: GET /SIZE[/SEED] has that many bytes, PUT answers the digest of what it got
   tcp_apps.py bytes SIZE [SEED]    the same bytes on standard output
   tcp_apps.py publish PORT         ZeroMQ PUB, binds: numbered messages until standard input ends
   tcp_apps.py subscribe PORT N     ZeroMQ SUB, connects: N of them, whole, in order and without a gap
   tcp_apps.py reply PORT           ZeroMQ REP, binds: sends back what it gets, until that is nothing
   tcp_apps.py request PORT N       ZeroMQ REQ, connects: N requests, the last of them nothing
"""
import hashlib
import http.server
import sys


def block(seed):
    return hashlib.shake_256(str(seed).encode()).digest(1 << 20)


def pieces(size, seed):
    data = block(seed)
    for at in range(0, size, len(data)):
        yield data[:min(len(data), size - at)]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        size, _, seed = self.path[1:].partition("/")
        self.send_response(200)
        self.send_header("Content-Length", size)
        self.end_headers()
        for piece in pieces(int(size), seed):
            self.wfile.write(piece)

    def do_PUT(self):
        h, left = hashlib.sha256(), int(self.headers["Content-Length"])
        if self.headers.get("Expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        while left:
            data = self.rfile.read(min(left, 1 << 20))
            h.update(data)
            left -= len(data)
        body = h.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve_http(port):
    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


def write_bytes(size, seed=""):
    for piece in pieces(int(size), seed):
        sys.stdout.buffer.write(piece)


def message(i):
    """Sizes from nothing to a quarter of a megabyte."""
    n = i * 7919 % (1 << (i % 19))
    return [b"%d" % i, hashlib.shake_256(b"%d" % i).digest(n)]


def publish(port):
    import zmq
    s = zmq.Context().socket(zmq.PUB)
    s.sndhwm = 0
    s.bind(f"tcp://127.0.0.1:{port}")
    i, poller = 0, zmq.Poller()
    poller.register(0, zmq.POLLIN)
    while not poller.poll(1):
        for _ in range(10):
            s.send_multipart(message(i))
            i += 1


def subscribe(port, count):
    import zmq
    s = zmq.Context().socket(zmq.SUB)
    s.rcvhwm = 0
    s.rcvtimeo = 20000
    s.subscribe(b"")
    s.connect(f"tcp://127.0.0.1:{port}")
    first = int(s.recv_multipart()[0])
    for i in range(first + 1, first + int(count)):
        got = s.recv_multipart()
        if got != message(i):
            sys.exit(f"message {i} is another one: {got[0]!r}, {len(got[1])} bytes")
    print(f"{count} messages from number {first}")


def reply(port):
    import zmq
    s = zmq.Context().socket(zmq.REP)
    s.rcvtimeo = 20000
    s.bind(f"tcp://127.0.0.1:{port}")
    while (got := s.recv_multipart()) != [b""]:
        s.send_multipart(got)
    s.send(b"")


def request(port, count):
    import zmq
    s = zmq.Context().socket(zmq.REQ)
    s.rcvtimeo = 20000
    s.connect(f"tcp://127.0.0.1:{port}")
    for i in range(int(count) - 1):
        s.send_multipart(message(i))
        if s.recv_multipart() != message(i):
            sys.exit(f"another answer to request {i}")
    s.send(b"")
    s.recv()
    print(f"{count} requests answered")


if __name__ == "__main__":
    {"http": serve_http, "bytes": write_bytes, "publish": publish, "subscribe": subscribe, "reply": reply, "request": request}[sys.argv[1]](*sys.argv[2:])
