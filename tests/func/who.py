#!/usr/bin/env python3
"""For who.sh: an introspection server that does what the token says, and callers in numbers.

who.py server PORT CERT KEY FOLDER: answers POST /introspect over TLS. Each question is a line in FOLDER/asked.
who.py ask ADDRESS GATEWAY_CERT N TOKEN: N calls of Sessions at once; prints how often each status came, and the texts.
who.py vanish ADDRESS GATEWAY_CERT TOKEN FILE: calls, waits until FILE is not empty, and is killed in mid-call by itself.
"""
import base64
import collections
import http.server
import json
import os
import signal
import ssl
import sys
import time
import urllib.parse

GOOD = "Basic " + base64.b64encode(b"gateway:pass:word").decode()


class Introspection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder = ""

    def log_message(self, *args):
        pass

    def note(self, name, text):
        with open(os.path.join(self.folder, name), "a") as f:
            f.write(text + "\n")

    def is_there(self, name):
        return os.path.exists(os.path.join(self.folder, name))

    def reply(self, data, status=200):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def huge(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        sent, piece = 0, b" " * 65536
        try:
            while sent < 1 << 30:
                self.wfile.write(piece)
                sent += len(piece)
        except OSError:
            pass
        self.note("huge", str(sent))
        self.close_connection = True

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        token = form["token"][0]
        self.note("asked", token)
        what, _, name = token.partition(":")
        if self.path != "/introspect" or self.headers["Authorization"] != GOOD or form["token_type_hint"] != ["access_token"]:
            self.reply({"error": "invalid_client"}, 401)
        elif what == "garbage":
            self.reply(b"<html>It works!</html>")
        elif what == "huge":
            self.huge()
        elif what == "slow":
            time.sleep(600)
        elif what == "broken":
            self.reply({"active": True, "username": name, "scope": "stream"}, 500)
        elif what == "redirect":
            self.send_response(307)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif what == "cut":
            self.close_connection = True
        elif what == "noscope":
            self.reply({"active": True, "username": name, "scope": "openid email"})
        elif what in ("good", "gate") and not self.is_there("revoked"):
            while what == "gate" and not self.is_there("gate"):
                time.sleep(0.02)
            self.reply({"active": True, "username": name, "scope": "openid stream", "exp": int(time.time()) + 3600})
        elif what == "brief":
            self.reply({"active": True, "username": name, "scope": "stream", "exp": int(time.time()) + 2})
        else:
            self.reply({"active": False})


def serve(port, cert, key, folder):
    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request, address):
            pass

    Introspection.folder = folder
    server = Server(("127.0.0.1", int(port)), Introspection)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("ready", file=sys.stderr, flush=True)
    server.serve_forever()


def start_calls(address, cert, token, n):
    import grpc
    with open(cert, "rb") as f:
        credentials = grpc.ssl_channel_credentials(f.read())
    channels, calls = [], []
    for at in range(0, n, 100):  # a connection for each hundred
        channels.append(grpc.secure_channel(address, credentials, options=[("grpc.use_local_subchannel_pool", 1)]))
        method = channels[-1].unary_unary("/scistream.gateway.v1.Gateway/Sessions")
        calls += [method.future(b"", timeout=100, metadata=(("authorization", token),)) for _ in range(min(100, n - at))]
    return channels, calls


def ask(address, cert, n, token):
    import grpc
    kept, calls = start_calls(address, cert, token, int(n))
    seen = collections.Counter()
    for call in calls:
        try:
            call.result()
            seen["OK"] += 1
        except grpc.RpcError as e:
            seen["%s: %s" % (e.code().name, e.details())] += 1
    del kept
    for text, times in sorted(seen.items()):
        print(times, text)


def vanish(address, cert, token, file):
    kept = start_calls(address, cert, token, 3)
    while not (kept and os.path.exists(file) and os.path.getsize(file)):
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)


{"server": serve, "ask": ask, "vanish": vanish}[sys.argv[1]](*sys.argv[2:])
