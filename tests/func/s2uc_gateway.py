#!/usr/bin/env python3
"""A gateway that arranges nothing and answers as it is told: s2uc_gateway.py MESSAGES PORT CERTIFICATE KEY FOLDER.

FOLDER/mode is read at each Arrange: "grant", "refuse" (PERMISSION_DENIED), "never" (FAILED_PRECONDITION), "hang" (it is arranged, and no answer comes), "nonsense", "die" (it is arranged, and
the gateway ends). FOLDER/revoke likewise at each Revoke: "refuse", else it works. Each call is a line in FOLDER/asked: its name, and its message as JSON.
"""
import concurrent.futures
import json
import os
import sys
import threading
import time

import grpc
from google.protobuf import json_format

sys.path.insert(0, sys.argv[1])
import gateway_pb2 as gw  # noqa: E402

PORT, CERTIFICATE, KEY, FOLDER = sys.argv[2:6]
SECRET = bytes(range(1, 33))
sessions = set()
lock = threading.Lock()


def told(name):
    try:
        with open(os.path.join(FOLDER, name)) as f:
            return f.read().strip()
    except FileNotFoundError:
        return ""


def note(name, request):
    with lock, open(os.path.join(FOLDER, "asked"), "a") as f:
        f.write("%s %s\n" % (name, json.dumps(json_format.MessageToDict(request))))


def grant(request):
    now = int(time.time())
    r = gw.GrantReply(uid=request.uid or "0" * 31 + "1", channels=request.channels or 1, issued_s=now, expires_s=now + (request.ticket_s or 86400),
                      addresses=["gw.example.org:5000"], pins=["sha256:" + "ab" * 32], security="TLS, keyed by ticket",
                      ends_s=now + request.lifetime_s if request.lifetime_s else 0)
    setattr(r, "class", getattr(request, "class") or "best effort")
    r.rate = request.rate
    if request.attach == gw.SEND:
        r.send_secret = SECRET
    if request.attach == gw.RECV:
        r.recv_secret = SECRET
    if not request.HasField("dial"):
        r.wan_secret = SECRET[::-1]
        if request.targets:
            r.ports.extend(5100 + i for i in range(r.channels))
        else:
            r.wan_role = gw.RECV if request.attach == gw.SEND else gw.SEND
    if request.HasField("listen"):
        r.listeners.extend("192.0.2.2:%d" % p for p in request.listen.ports or range(5150, 5150 + r.channels))
    return r


def arrange(request, context):
    note("Arrange", request)
    mode = told("mode")
    if mode == "refuse":
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "no policy allows you that")
    if mode == "never":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "50Gbit cannot be reserved")
    if mode == "nonsense":
        return gw.GrantReply()
    sessions.add(request.uid)
    if mode == "hang":
        time.sleep(60)
    if mode == "die":
        os._exit(0)
    return grant(request)


def revoke(request, context):
    note("Revoke", request)
    if told("revoke") == "refuse":
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")
    if request.uid not in sessions:
        context.abort(grpc.StatusCode.NOT_FOUND, "no granted session with that uid")
    sessions.remove(request.uid)
    return gw.RevokeReply()


def info(request, context):
    return gw.InfoReply(name="fake", link_ports="6010-6013", data_ports="6100-6109")


def main():
    handlers = {name: grpc.unary_unary_rpc_method_handler(f, request_deserializer=q.FromString, response_serializer=r.SerializeToString)
                for name, f, q, r in (("Arrange", arrange, gw.ArrangeRequest, gw.GrantReply), ("Revoke", revoke, gw.RevokeRequest, gw.RevokeReply),
                                      ("Info", info, gw.InfoRequest, gw.InfoReply))}
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("scistream.gateway.v1.Gateway", handlers),))
    with open(KEY, "rb") as k, open(CERTIFICATE, "rb") as c:
        server.add_secure_port("127.0.0.1:" + PORT, grpc.ssl_server_credentials([(k.read(), c.read())]))
    server.start()
    print("ready", file=sys.stderr, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
