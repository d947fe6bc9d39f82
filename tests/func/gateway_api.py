"""Info, Sessions and Health of a real scistreamd, called by gRPC's own client with messages that protoc made from our .proto files.
   gateway_api.py MESSAGES SOCKET PORT CERTIFICATE: MESSAGES is the folder of the generated modules. Reads commands on standard input."""
import queue
import sys
import threading
import unittest

import grpc

sys.path.insert(0, sys.argv[1])
import gateway_pb2 as gw  # noqa: E402
import health_pb2 as health  # noqa: E402

SOCKET, PORT, CERTIFICATE = sys.argv[2:5]
GATEWAY, HEALTH = "/scistream.gateway.v1.Gateway/", "/grpc.health.v1.Health/"


def unary(channel, method, request, reply):
    return channel.unary_unary(method, request_serializer=request.SerializeToString, response_deserializer=reply.FromString)


def info(channel):
    return unary(channel, GATEWAY + "Info", gw.InfoRequest, gw.InfoReply)(gw.InfoRequest(), timeout=20)


def sessions(channel, **fields):
    return unary(channel, GATEWAY + "Sessions", gw.SessionsRequest, gw.SessionsReply)(gw.SessionsRequest(**fields), timeout=20)


def devices(channel):
    return unary(channel, GATEWAY + "Devices", gw.DevicesRequest, gw.DevicesReply)(gw.DevicesRequest(), timeout=20)


def check(channel, service):
    request = health.HealthCheckRequest(service=service)
    return unary(channel, HEALTH + "Check", health.HealthCheckRequest, health.HealthCheckResponse)(request, timeout=20).status


def watch(channel, service):
    call = channel.unary_stream(HEALTH + "Watch", request_serializer=health.HealthCheckRequest.SerializeToString,
                                response_deserializer=health.HealthCheckResponse.FromString)
    return call(health.HealthCheckRequest(service=service), timeout=60)


ADMINISTRATION = {"Watch": gw.WatchRequest, "Release": gw.ReleaseRequest, "Drain": gw.DrainRequest, "Reload": gw.ReloadRequest,
                  "Grant": gw.GrantRequest, "Renew": gw.RenewRequest, "Revoke": gw.RevokeRequest, "Grants": gw.GrantsRequest}


class Both:
    def refused(self, code, details, call, *args, **kw):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*args, **kw)
        self.assertEqual(caught.exception.code(), code)
        if details:
            self.assertIn(details, caught.exception.details())

    def test_info(self):
        r = info(self.channel)
        self.assertEqual((r.name, r.version_min, r.version_max, r.workers, r.draining), ("A", 1, 1, 2, False))
        self.assertEqual(sorted(r.transports), ["link", "ucx"])
        self.assertRegex(r.version, r"^[0-9]+\.[0-9]+")
        self.assertLess(r.uptime_s, 1000)
        local = self.channel is local_channel
        self.assertEqual(list(r.routes), ["detector"] if local else [])
        self.assertEqual(len(r.transport_states) > 0, local)
        self.assertEqual([w.index for w in r.worker_states], [0, 1] if local else [])
        self.assertEqual(sum(w.channels for w in r.worker_states), 1 if local else 0)

    def test_health(self):
        for service in "", "scistream.gateway.v1.Gateway", "grpc.health.v1.Health":
            self.assertEqual(check(self.channel, service), health.HealthCheckResponse.SERVING)
        self.refused(grpc.StatusCode.NOT_FOUND, "unknown service", check, self.channel, "nobody.Knows")

    def test_watch(self):
        for service, status in ("", health.HealthCheckResponse.SERVING), ("nobody.Knows", health.HealthCheckResponse.SERVICE_UNKNOWN):
            call = watch(self.channel, service)
            self.assertEqual(next(call).status, status)
            call.cancel()

    def test_unreadable(self):
        for method in [GATEWAY + m for m in ("Info", "Sessions", "Devices", *ADMINISTRATION)] + [HEALTH + "Check"]:
            call = self.channel.unary_unary(method)
            code = grpc.StatusCode.INVALID_ARGUMENT
            if method.endswith(("Sessions", "Devices", *ADMINISTRATION)) and self.channel is not local_channel:
                code = grpc.StatusCode.PERMISSION_DENIED
            self.refused(code, None, call, b"\xff\xff\xff", timeout=20)

    def test_unknown_method(self):
        self.refused(grpc.StatusCode.UNIMPLEMENTED, "unknown method", self.channel.unary_unary(GATEWAY + "Nothing"), b"", timeout=20)

    def test_attach_window(self):
        for window in 1, 7, 65535:
            offer = gw.Offer(version_min=1, version_max=1, route="detector", role=gw.SEND, window=window)
            call = self.channel.stream_stream(GATEWAY + "Attach")(iter([gw.AttachMessage(offer=offer).SerializeToString()]), timeout=20)
            self.refused(grpc.StatusCode.INVALID_ARGUMENT, "window of %d is below 64K" % window, list, call)

    def test_attach_garbage(self):
        for data in b"\xff\xff", gw.AttachMessage(done=gw.Done(total=1)).SerializeToString():
            call = self.channel.stream_stream(GATEWAY + "Attach")(iter([data]), timeout=20)
            with self.assertRaises(grpc.RpcError) as caught:
                for _ in call:
                    pass
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn("is not part of the protocol", caught.exception.details())


class Local(Both, unittest.TestCase):
    def setUp(self):
        self.channel = local_channel

    def test_sessions(self):
        r = sessions(self.channel)
        self.assertEqual([s.route for s in r.sessions], ["detector"])
        c = r.sessions[0].channels[0]
        self.assertEqual((c.number, c.state, c.window, c.source.transport, c.source.device, c.sink.transport, c.sink.dialed),
                         (0, "flowing", 4 << 20, "ucx", "lo", "link", True))
        self.assertGreater(c.bytes_out, 0)
        self.assertEqual(sessions(self.channel, uid=r.sessions[0].uid).sessions[0].uid, r.sessions[0].uid)
        self.refused(grpc.StatusCode.NOT_FOUND, "no session with that uid", sessions, self.channel, uid="0" * 32)
        self.assertFalse(c.HasField("back"))
        r = sessions(self.channel, route="detector", connections=5)
        self.assertEqual((len(r.sessions), len(r.routes), len(r.connections), r.more, r.next), (1, 0, 0, 0, ""))
        self.refused(grpc.StatusCode.NOT_FOUND, "no route of that name", sessions, self.channel, route="nobody")
        for after in "x", "1.2":
            self.refused(grpc.StatusCode.INVALID_ARGUMENT, "after must be", sessions, self.channel, connections=1, after=after)

    def test_watch_gateway(self):
        watch_one = self.channel.unary_stream(GATEWAY + "Watch", request_serializer=gw.WatchRequest.SerializeToString,
                                              response_deserializer=gw.WatchEvent.FromString)
        call = watch_one(gw.WatchRequest(interval_ms=20), timeout=20)
        e = next(call)
        self.assertEqual((e.what, e.route, e.channel.number, e.channel.state, e.dropped), ("opened", "detector", 0, "flowing", 0))
        e = next(call)
        self.assertEqual((e.what, e.progress.waiting_for, e.progress.window, e.progress.source_permille > 900), ("progress", "source", 4 << 20, True))
        call.cancel()
        self.refused(grpc.StatusCode.NOT_FOUND, "no session with that uid", list, watch_one(gw.WatchRequest(uid="0" * 32), timeout=20))
        self.refused(grpc.StatusCode.NOT_FOUND, "no route of that name", list, watch_one(gw.WatchRequest(route="nobody"), timeout=20))

    def test_reload(self):
        r = unary(self.channel, GATEWAY + "Reload", gw.ReloadRequest, gw.ReloadReply)(gw.ReloadRequest(), timeout=20)
        self.assertEqual((r.problem, list(r.changed), list(r.routes_changed), r.text), ("", [], [], "nothing changed"))

    def test_release_refused(self):
        release = unary(self.channel, GATEWAY + "Release", gw.ReleaseRequest, gw.ReleaseReply)
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "with a uid", release, gw.ReleaseRequest(), timeout=20)
        self.refused(grpc.StatusCode.NOT_FOUND, "no session with that uid", release, gw.ReleaseRequest(uid="x"), timeout=20)
        self.refused(grpc.StatusCode.NOT_FOUND, "no route of that name", release, gw.ReleaseRequest(route="nobody"), timeout=20)
        for connection in "r0.1", "r9.1", "x", "r0.", "r0.8000000000000000":
            self.refused(grpc.StatusCode.NOT_FOUND, "no open connection with that id", release, gw.ReleaseRequest(connection=connection), timeout=20)
        for two in dict(uid="x", route="detector"), dict(connection="r0.1", route="detector"), dict(route="detector", channel=0), dict(channel=0):
            self.refused(grpc.StatusCode.INVALID_ARGUMENT, "with a uid, a connection or a route", release, gw.ReleaseRequest(**two), timeout=20)
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "printable", release, gw.ReleaseRequest(uid="x", reason="a\033b"), timeout=20)

    def test_grant(self):
        grant = unary(self.channel, GATEWAY + "Grant", gw.GrantRequest, gw.GrantReply)
        renew = unary(self.channel, GATEWAY + "Renew", gw.RenewRequest, gw.GrantReply)
        revoke = unary(self.channel, GATEWAY + "Revoke", gw.RevokeRequest, gw.RevokeReply)
        self.refused(grpc.StatusCode.NOT_FOUND, "no route of that name", grant, gw.GrantRequest(), timeout=20)
        for text, options in (("fewer channels", dict(channels=2**32 - 1)), ("366 days", dict(lifetime_s=2**64 - 1)), ("SEND or RECV", dict(roles=[7])),
                              ("receivers do not attach", dict(roles=[gw.RECV]))):
            self.refused(grpc.StatusCode.INVALID_ARGUMENT, text, grant, gw.GrantRequest(route="detector", **options), timeout=20)
        r = grant(gw.GrantRequest(route="detector", lifetime_s=60), timeout=20)
        # the route goes on to another gateway: senders alone attach here
        self.assertEqual((len(r.uid), len(r.send_secret), len(r.recv_secret), r.expires_s - r.issued_s), (32, 32, 0, 60))
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, "366 days", renew, gw.RenewRequest(uid=r.uid, lifetime_s=2**64 - 1), timeout=20)
        again = renew(gw.RenewRequest(uid=r.uid), timeout=20)
        self.assertEqual((again.uid, again.send_secret, again.recv_secret, again.issued_s), (r.uid, r.send_secret, r.recv_secret, r.issued_s))
        self.assertGreaterEqual(again.expires_s, r.issued_s + 86400)
        revoke(gw.RevokeRequest(uid=r.uid), timeout=20)
        for uid in "", r.uid, "x" * 3000:
            self.refused(grpc.StatusCode.NOT_FOUND, "no granted session", revoke, gw.RevokeRequest(uid=uid), timeout=20)
            self.refused(grpc.StatusCode.NOT_FOUND, "no granted session", renew, gw.RenewRequest(uid=uid), timeout=20)

    def test_devices(self):
        names = [d.name for d in devices(self.channel).devices]
        self.assertEqual(len(names), len(set(names)))  # every worker sees them, each is shown once


class Tls(Both, unittest.TestCase):
    def setUp(self):
        self.channel = tls_channel

    def test_sessions(self):
        for uid in "", "0" * 32:
            self.refused(grpc.StatusCode.PERMISSION_DENIED, "local control socket only", sessions, self.channel, uid=uid)

    def test_devices(self):
        self.refused(grpc.StatusCode.PERMISSION_DENIED, "local control socket only", devices, self.channel)

    def test_administration(self):
        """Whatever is asked, and whether it makes sense or not."""
        for method, request in ADMINISTRATION.items():
            for data in b"", request().SerializeToString(), b"\xff\xff":
                call = self.channel.unary_unary(GATEWAY + method)
                self.refused(grpc.StatusCode.PERMISSION_DENIED, "on the local control socket only", call, data, timeout=20)

    def test_attach_without_proof(self):
        """An unknown route and a wrong proof are the same to the caller."""
        seen = []
        for route, proof in ("detector", b""), ("detector", b"\0" * 32), ("detector", b"\0" * 4000), ("no-such-route", b"\0" * 32):
            offer = gw.Offer(version_min=1, version_max=1, route=route, role=gw.SEND, proof=proof, window=1 << 20,
                             transports=[gw.TransportOffer(name="link")])
            call = self.channel.stream_stream(GATEWAY + "Attach")(iter([gw.AttachMessage(offer=offer).SerializeToString()]), timeout=20)
            messages = []
            with self.assertRaises(grpc.RpcError) as caught:
                messages.extend(call)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
            seen.append(caught.exception.details())
        self.assertEqual(set(seen), {"no such route, or wrong secret"})


def watch_the_stop():
    """Watchers are told when the gateway begins to stop; then it says so to everybody who asks."""
    told = queue.Queue()
    call = watch(local_channel, "")
    threading.Thread(target=lambda: [told.put(r.status) for r in call], daemon=True).start()
    assert told.get(timeout=20) == health.HealthCheckResponse.SERVING
    print("watching", flush=True)
    assert told.get(timeout=20) == health.HealthCheckResponse.NOT_SERVING
    assert check(local_channel, "") == health.HealthCheckResponse.NOT_SERVING
    assert info(local_channel).draining
    print("told", flush=True)


if __name__ == "__main__":
    with open(CERTIFICATE, "rb") as f:
        credentials = grpc.ssl_channel_credentials(f.read())
    local_channel = grpc.insecure_channel("unix:" + SOCKET)
    tls_channel = grpc.secure_channel("localhost:" + PORT, credentials)
    result = unittest.main(argv=sys.argv[:1], exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    print("called", flush=True)
    sys.stdin.readline()
    watch_the_stop()
