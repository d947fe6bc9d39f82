"""Sessions that users arrange between two gateways with tickets: Arrange, Show, Renew and Revoke by gRPC's own client.
   arrange.py CASE MESSAGES ARGUMENTS...: MESSAGES is the folder of the generated module, most arguments are folders of gateways."""
import os
import re
import socket
import subprocess
import sys
import time

import grpc

sys.path.insert(0, sys.argv[2])
sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import gateway_pb2 as pb  # noqa: E402
import scistream_pb2  # noqa: E402
import tcp_ends  # noqa: E402

from sessions import listening, port_of, ports_of, refused  # noqa: E402
from tcp_ends import PATIENCE, check, say, until  # noqa: E402

Code = grpc.StatusCode
DAY = 24 * 3600


class Gateway:
    """The one whose configuration lies in that folder; local: by its control socket, as an administrator."""

    def __init__(self, folder, token=None, local=False):
        self.token, self.folder = token, folder
        self.port, self.ports = ports_of(folder)
        if local:
            self.channel = grpc.insecure_channel(f"unix:{folder}/sock", [("grpc.default_authority", "localhost")])
            return
        certificate = open(folder + "/gateway.crt", "rb").read()
        options = [("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.secure_channel(f"127.0.0.1:{self.port}", grpc.ssl_channel_credentials(certificate), options)

    def call(self, method, request, reply, service="scistream.gateway.v1.Gateway"):
        stub = self.channel.unary_unary(f"/{service}/{method}", request_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
                                        response_deserializer=reply.FromString)
        return stub.future(request, timeout=PATIENCE, metadata=(("authorization", self.token),) if self.token else ())

    def arrange(self, **what):
        return self.call("Arrange", pb.ArrangeRequest(**what), pb.GrantReply)

    def show(self, uid):
        return self.call("Show", pb.ShowRequest(uid=uid), pb.ShowReply)

    def renew(self, uid, s=0):
        return self.call("Renew", pb.RenewRequest(uid=uid, lifetime_s=s), pb.GrantReply)

    def revoke(self, uid, abort=False):
        return self.call("Revoke", pb.RevokeRequest(uid=uid, abort=abort), pb.RevokeReply)

    def grants(self):
        return self.call("Grants", pb.GrantsRequest(), pb.GrantsReply).result().grants

    def sessions(self, uid=""):
        return self.call("Sessions", pb.SessionsRequest(uid=uid), pb.SessionsReply)

    def release(self, uid):
        return self.call("release", scistream_pb2.Release(uid=uid), scistream_pb2.Response, "scistream.Control")

    def gone(self, uid):
        error = self.show(uid).exception()
        return error is not None and error.code() == Code.NOT_FOUND


def dial_of(ticket, **other):
    what = {"addresses": ticket.addresses, "secret": ticket.wan_secret, "ports": ticket.ports, "expires_s": ticket.expires_s}
    what.update(other)
    return pb.Dial(**what)


def inbound(g, targets, **what):
    return g.arrange(targets=targets, **what).result()


def outbound(g, ticket, ports=(), **what):
    return g.arrange(uid=ticket.uid, listen=pb.Listen(ports=ports), dial=dial_of(ticket), **what).result()


class Stream:
    """A session through both gateways, to a server of this program."""

    def __init__(self, folder_l, folder_d, n=1, dialed=None, **what):
        self.l, self.d = Gateway(folder_l), Gateway(folder_d)
        self.servers = [tcp_ends.listen("0") for _ in range(n)]
        self.targets = ["127.0.0.1:%d" % s.getsockname()[1] for s in self.servers]
        self.ticket = inbound(self.l, self.targets, **what)
        self.uid = self.ticket.uid
        self.local = outbound(self.d, self.ticket, **(dialed or {}))

    def connect(self, channel=0):
        """A client and its server, with a byte between them."""
        client = tcp_ends.dial(self.local.listeners[channel])
        client.sendall(b"x")
        server, _ = tcp_ends.accept(self.servers[channel % len(self.servers)])
        check("a byte", server.recv(9) == b"x")
        return client, server

    def let_in(self):
        return tcp_ends.fate(self.local.listeners[0]) != tcp_ends.RESET

    def release(self):
        for g in (self.l, self.d):
            g.release(self.uid).result()


def lives(client, server):
    client.sendall(b"there")
    server.sendall(b"back")
    return tcp_ends.read_exactly(server, 5) == b"there" and tcp_ends.read_exactly(client, 4) == b"back"


def free_soon(g):
    until("all ports are free", lambda: not any(map(listening, g.ports)))


# ------------------------------------------------------------ what goes through

def carries(folder_l, folder_d):
    """Channel by channel to its target, both ways, half by half, and a reset as one; what the replies and lists have of it."""
    s = Stream(folder_l, folder_d, 2)
    t, now = s.ticket, time.time()
    check("the ticket", re.fullmatch("[0-9a-f]{32}", s.uid) and len(t.wan_secret) == 32 and t.channels == 2 == len(set(t.ports)) and len(t.pins) == 1, t)
    check("its ports", all(p in s.l.ports for p in t.ports) and list(t.addresses) == [f"127.0.0.1:{s.l.port}"] and not t.listeners)
    check("its times", abs(t.expires_s - now - DAY) < 60 and t.ends_s == 0 and t.wan_role == 0 and not t.send_secret and not t.recv_secret, t)
    check("here", len(s.local.listeners) == 2 and not s.local.wan_secret and not s.local.ports and s.local.uid == s.uid, s.local)
    check("security", t.security == s.local.security == "TLS, keyed by ticket" and getattr(t, "class") == "best effort")
    for channel in (0, 1):
        client, server = s.connect(channel)
        check("both ways", lives(client, server))
        client.shutdown(socket.SHUT_WR)
        check("the end of one half", server.recv(1) == b"")
        server.sendall(b"back" * 500000)
        server.close()
        check("the other half", tcp_ends.read_all(client) == b"back" * 500000)
    client, server = s.connect()
    tcp_ends.reset(server)
    check("a reset", tcp_ends.outcome(client) == tcp_ends.RESET)
    shown(s)
    s.release()
    for g in (s.l, s.d):
        refused("gone", g.show(s.uid), Code.NOT_FOUND)
        free_soon(g)


def shown(s):
    client, server = s.connect()
    l, d = Gateway(s.l.folder, local=True), Gateway(s.d.folder, local=True)
    for g, role, dials in ((l, "PROD", False), (d, "CONS", True)):
        m = g.show(s.uid).result()
        check("shown", m.grant.arranged and m.grant.by == "anonymous" and m.grant.dials == dials and m.grant.open == 1 and m.session.uid == s.uid, m)
        check("the secret is shown", bytes(s.ticket.wan_secret) not in m.SerializeToString())
        a = g.sessions(s.uid).result().sessions[0].arranged
        check("listed", a.role == role and a.security == "TLS, keyed by ticket" and a.state == "Listening" and a.expires_s and a.open == 1, a)
        check("the secret is listed", bytes(s.ticket.wan_secret) not in g.sessions().result().SerializeToString())
        check("among the grants", [x.uid for x in g.grants() if x.arranged] == [s.uid])
    check("where it goes", list(l.show(s.uid).result().grant.targets) == s.targets)
    check("by TLS", any("TLSv1.3" in c.peer_security for c in l.call("Sessions", pb.SessionsRequest(connections=10), pb.SessionsReply).result().connections))
    client.close()
    server.close()


def strangers(folder_l, folder_d):
    """Who has not the secret is not let in, and nobody dials the application: another secret, another uid, and what is no TLS."""
    l, d = Gateway(folder_l), Gateway(folder_d)
    server = tcp_ends.listen("0")
    t = inbound(l, ["127.0.0.1:%d" % server.getsockname()[1]])
    other = bytes(t.wan_secret[:-1]) + bytes([t.wan_secret[-1] ^ 1])
    for uid, secret in ((t.uid, other), ("0" * 32, t.wan_secret)):
        r = d.arrange(uid=uid, listen=pb.Listen(), dial=dial_of(t, secret=secret)).result()
        fate = tcp_ends.fate(r.listeners[0])
        check("not let in", fate == tcp_ends.RESET, fate)
        d.release(uid).result()
    s = tcp_ends.dial(str(t.ports[0]))
    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    check("no TLS", tcp_ends.outcome(s) != tcp_ends.NOTHING)
    server.setblocking(False)
    try:
        check("nobody dials", not server.accept())
    except BlockingIOError:
        pass
    l.release(t.uid).result()


# ------------------------------------------------------------ times

def expiry(folder_l, folder_d):
    """The ticket expires: who is there stays, nobody else is let in; renewed they are again; the session is gone with the last connection."""
    s = Stream(folder_l, folder_d, ticket_s=2)
    check("no longer than the ticket", s.local.expires_s <= s.ticket.expires_s)
    client, server = s.connect()
    until("both let nobody in", lambda: all(g.show(s.uid).result().session.arranged.state == "Closing" for g in (s.l, s.d)))
    check("not let in", not s.let_in() and tcp_ends.fate(str(s.ticket.ports[0])) == tcp_ends.RESET)
    check("who is there stays", lives(client, server))
    again = s.l.renew(s.uid, 600).result()
    check("renewed", abs(again.expires_s - time.time() - 600) < 60 and again.wan_secret == s.ticket.wan_secret and again.ports == s.ticket.ports)
    check("a day", s.d.renew(s.uid).result().expires_s > time.time() + DAY - 60)
    more = s.connect()
    check("again let in", lives(*more) and lives(client, server))
    for g in (s.l, s.d):
        g.renew(s.uid, 1).result()
    for end in (client, server) + more:
        end.close()
    for g in (s.l, s.d):
        until("gone", lambda: g.gone(s.uid))
        free_soon(g)


def lifetime(folder_l, folder_d):
    """Then it ends, whatever is open."""
    s = Stream(folder_l, folder_d, lifetime_s=2, dialed={"lifetime_s": 600})
    check("ends", abs(s.ticket.ends_s - time.time() - 2) < 3, s.ticket.ends_s)
    client, server = s.connect()
    check("reset", tcp_ends.outcome(client) == tcp_ends.RESET and tcp_ends.outcome(server) == tcp_ends.RESET)
    for g in (s.l, s.d):    # the ticket was no longer good, so nobody could come to the other one either
        until("gone", lambda: g.gone(s.uid))


def revoked(folder_l, folder_d):
    s = Stream(folder_l, folder_d)
    client, server = s.connect()
    r = s.l.revoke(s.uid).result()
    check("revoked", r.running == 1 and r.aborted == 0, r)
    check("not let in", not s.let_in())
    refused("renew", s.l.renew(s.uid), Code.FAILED_PRECONDITION, "revoked")
    check("who is there stays", lives(client, server))
    client.close(), server.close()
    until("gone", lambda: s.l.gone(s.uid))
    s.d.release(s.uid).result()
    s = Stream(folder_l, folder_d)
    client, server = s.connect()
    r = s.d.revoke(s.uid, True).result()
    check("aborted", r.running == 0 and r.aborted == 1, r)
    check("reset", tcp_ends.outcome(client) == tcp_ends.RESET and tcp_ends.outcome(server) == tcp_ends.RESET)
    check("gone", s.d.gone(s.uid))
    until("nobody is there", lambda: s.l.show(s.uid).result().grant.open == 0)
    r = s.l.revoke(s.uid).result()
    check("nobody was there", r.running == 0 and s.l.gone(s.uid), r)


# ------------------------------------------------------------ applications that attach

def write_ticket(path, r, role, secret):
    maker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib/make_ticket.py")
    what = {"uid": r.uid, "role": role, "channels": r.channels, "addresses": ",".join(r.addresses), "secret": secret.hex(), "issued": r.issued_s,
            "expires": r.expires_s, "pins": ",".join(p.removeprefix("sha256:") for p in r.pins)}
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
        subprocess.run([sys.executable, maker] + [f"{k}={v}" for k, v in what.items()], stdout=f, check=True)


def attached(folder_l, folder_d, role, to):
    """An application attaches at each gateway, the one of the second in that role: its ticket is TO/D.ticket, that of the first TO/L.ticket."""
    l, d = Gateway(folder_l), Gateway(folder_d)
    there = pb.Role.Value(role)
    here = pb.RECV if there == pb.SEND else pb.SEND
    t = l.arrange(attach=here, channels=2).result()
    own = {pb.SEND: t.send_secret, pb.RECV: t.recv_secret}
    check("secrets of each role", len(own[here]) == 32 == len(t.wan_secret) and not own[there] and t.wan_role == there and own[here] != t.wan_secret and
          not t.ports, t)
    dial = dial_of(t, role=there, pins=t.pins, tls_name="localhost")
    refused("another role", d.arrange(uid=t.uid, attach=here, dial=dial), Code.INVALID_ARGUMENT, "dial.role: ")
    refused("both sides here", l.arrange(uid=t.uid, attach=there, dial=dial), Code.ALREADY_EXISTS, "uid: ")
    r = d.arrange(uid=t.uid, attach=there, dial=dial).result()
    check("its secret", r.uid == t.uid and not r.wan_secret and len({pb.SEND: r.send_secret, pb.RECV: r.recv_secret}[there]) == 32, r)
    write_ticket(to + "/L.ticket", t, here, own[here])
    write_ticket(to + "/D.ticket", r, there, r.send_secret or r.recv_secret)
    for g, attach in ((l, here), (d, there)):
        m = g.show(t.uid).result().grant
        check("shown", m.arranged and m.attach == attach and m.dials == (g is d) and m.by == "anonymous", m)
    say(t.uid)


def beside(folder_l, folder_d, to, target):
    """The application of the first is a TCP peer, that of the second attaches as a sender: the same session has ports, and is attached to."""
    l, d = Gateway(folder_l), Gateway(folder_d)
    t = inbound(l, ["127.0.0.1:" + target])
    dial = dial_of(t, role=pb.SEND, pins=t.pins, tls_name="localhost")
    r = d.arrange(uid=t.uid, attach=pb.SEND, dial=dial).result()
    write_ticket(to + "/D.ticket", r, pb.SEND, r.send_secret)
    check("one of the list", [g.uid for g in Gateway(folder_l, local=True).grants()].count(t.uid) == 1)
    say(t.uid)


def taken(target):
    """What comes to a TCP peer, to standard output."""
    server, _ = tcp_ends.accept(tcp_ends.listen(target))
    sys.stdout.buffer.write(tcp_ends.read_all(server))
    sys.stdout.flush()


def vanishes(folder):
    """A caller that goes away while names are looked up."""
    g = Gateway(folder)
    for _ in range(20):
        call = g.arrange(targets=["127.0.0.1:9", "no-such-host.invalid:5"])
        call.cancel()
    check("nothing is left", not Gateway(folder, local=True).sessions().result().sessions)


# ------------------------------------------------------------ what cannot be had

def refusals(folder_l, folder_d):
    """Each is told what is wrong with which field, and nothing is left of it."""
    l, d = Gateway(folder_l), Gateway(folder_d)
    bad = Code.INVALID_ARGUMENT
    ticket = inbound(l, ["127.0.0.1:9"])
    here = {"uid": ticket.uid, "listen": pb.Listen(), "dial": dial_of(ticket)}
    refused("nothing", l.arrange(), bad, "one of targets, listen and attach")
    refused("two of them", l.arrange(targets=["127.0.0.1:9"], attach=pb.SEND), bad, "one of targets, listen and attach")
    refused("both wait", l.arrange(listen=pb.Listen()), bad, "listen: ")
    refused("both connect", d.arrange(uid=ticket.uid, targets=["127.0.0.1:9"], dial=dial_of(ticket)), bad, "dial: ")
    refused("a uid of our own", l.arrange(targets=["127.0.0.1:9"], uid="mine"), bad, "uid: ")
    for targets in (["127.0.0.1"], [":9"], ["127.0.0.1:0"], ["127.0.0.1:70000"], [""], ["a b:9"], ["x" * 300 + ":9"], ["127.0.0.1:9"] * 257):
        refused(f"targets {targets[:2]}", l.arrange(targets=targets), bad, "targets: ")
    refused("unresolvable", l.arrange(targets=["127.0.0.1:9", "no-such-host.invalid:5"]), bad, "targets: ")
    refused("more targets than channels", l.arrange(targets=["127.0.0.1:9", "127.0.0.1:10"], channels=1), bad, "targets: ")
    for n in (257, 2**31, 2**32 - 1):
        refused(f"{n} channels", l.arrange(targets=["127.0.0.1:9"], channels=n), bad, "channels: ")
    for what, field in (({"class": "gold"}, "class: "), ({"rate": 5}, "rate: "), ({"class": "provisioned"}, "rate: "), ({"ticket_s": 367 * DAY}, "ticket_s: "),
                        ({"lifetime_s": 2**63}, "lifetime_s: ")):
        refused(field, l.arrange(targets=["127.0.0.1:9"], **what), bad, field)
    for what, field in (({"uid": ""}, "uid: "), ({"uid": "a/b"}, "uid: "), ({"uid": "x" * 65}, "uid: "), ({"channels": 257}, "channels: "),
                        ({"listen": pb.Listen(ports=[70000])}, "listen.ports: "), ({"listen": pb.Listen(ports=[0])}, "listen.ports: "),
                        ({"listen": pb.Listen(ports=[5, 5])}, "listen.ports: "), ({"listen": pb.Listen(ports=[5, 6]), "channels": 3}, "listen.ports: "),
                        ({"listen": pb.Listen(ports=[22])}, "port 22 is none of data_ports")):
        refused(field, d.arrange(**{**here, **what}), bad, field)
    for what, field in (({"addresses": []}, "dial.addresses: "), ({"addresses": ["127.0.0.1:5000"] * 5}, "dial.addresses: "), ({"addresses": ["x"]}, "dial.addresses: "),
                        ({"addresses": ["no-such-host.invalid:5000"]}, "dial.addresses: "), ({"secret": ticket.wan_secret[:31]}, "dial.secret: "),
                        ({"secret": b""}, "dial.secret: "), ({"secret": bytes(32)}, "dial.secret: "), ({"ports": []}, "dial.ports: "), ({"ports": [0]}, "dial.ports: "),
                        ({"ports": [1 << 16]}, "dial.ports: "), ({"pins": ["x"] * 3}, "dial.pins: "), ({"expires_s": int(time.time()) - 1}, "dial.expires_s: ")):
        refused(field, d.arrange(**{**here, "dial": dial_of(ticket, **what)}), bad, field)
    for garbage in (b"\xff", b"\x0a\x05ab", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", os.urandom(300)):
        refused("garbage", l.call("Arrange", garbage, pb.GrantReply), bad)
    refused("both sides here", l.arrange(**here), Code.ALREADY_EXISTS, "uid: ")
    first = d.arrange(**here).result()
    refused("twice", d.arrange(**here), Code.ALREADY_EXISTS, "uid: ")
    taken = {**here, "uid": "another", "listen": pb.Listen(ports=[port_of(first.listeners[0])])}
    refused("a port that is taken", d.arrange(**taken), Code.ALREADY_EXISTS, f"port {port_of(first.listeners[0])} is in use")
    wanted = [d.ports[-1], d.ports[-2]]
    second = d.arrange(uid="another", listen=pb.Listen(ports=wanted), dial=dial_of(ticket)).result()
    check("those that are wanted", [port_of(w) for w in second.listeners] == wanted)
    refused("more than there are", d.arrange(**{**here, "uid": "a-third", "channels": 250}), Code.RESOURCE_EXHAUSTED, "250 ports are asked for")
    for g, uid in ((d, "another"), (d, ticket.uid), (l, ticket.uid)):
        g.release(uid).result()
    for g in (l, d):
        check("nothing is left", not Gateway(g.folder, local=True).sessions().result().sessions)
        free_soon(g)


def limit(folder):
    """scistream.sessions counts them, too."""
    g = Gateway(folder)
    uids = [inbound(g, ["127.0.0.1:9"]).uid for _ in range(2)]
    refused("a third", g.arrange(targets=["127.0.0.1:9"]), Code.RESOURCE_EXHAUSTED, "the gateway has its 2 sessions")
    for uid in uids:
        g.release(uid).result()


def owners(folder_l, folder_d):
    """The tokens of two principals in ANNA and BERT; what each may is in the configuration of the first. Nobody is asked at the other."""
    anna, bert, nobody, root = (Gateway(folder_l, os.environ["ANNA"]), Gateway(folder_l, os.environ["BERT"]), Gateway(folder_l), Gateway(folder_l, local=True))
    here = f"127.0.0.1:{anna.ports[0]}"
    denied, most = Code.PERMISSION_DENIED, Code.RESOURCE_EXHAUSTED
    refused("nobody", nobody.arrange(targets=[here]), Code.UNAUTHENTICATED)
    refused("bert", bert.arrange(targets=[here]), denied, "no policy allows bert@example.org the role PROD")
    refused("elsewhere", anna.arrange(targets=[here, "127.0.0.2:9"]), denied, 'policy "anna": 127.0.0.2:9 is in none of its targets')
    refused("four channels", anna.arrange(targets=[here], channels=4), most, "channels of a session: 4 would be more than its limit of 3")
    refused("a class", anna.arrange(targets=[here], **{"class": "provisioned"}, rate=5), denied, "provisioned")
    refused("for too long", anna.arrange(targets=[here], lifetime_s=3601), most, "lifetime: ")
    first, second = inbound(anna, [here]), inbound(anna, ["localhost:%d" % anna.ports[0]], lifetime_s=60)
    check("as long as she may", abs(first.ends_s - time.time() - 3600) < 60 and abs(second.ends_s - time.time() - 60) < 30)
    refused("a third", anna.arrange(targets=[here]), most, "sessions at once: 3 would be more than its limit of 2")
    for call in (bert.show(first.uid), bert.renew(first.uid), bert.revoke(first.uid), bert.release(first.uid)):
        refused("anna's", call, denied, "somebody else's")
    refused("of nobody", bert.show("0" * 32), Code.NOT_FOUND)
    for call in (nobody.show(first.uid), nobody.revoke(first.uid, True)):
        refused("by nobody", call, Code.UNAUTHENTICATED)
    refused("bert's grants", bert.call("Grants", pb.GrantsRequest(), pb.GrantsReply), denied)
    check("hers", anna.show(first.uid).result().grant.by == "anna@example.org" and anna.renew(first.uid, 100).result().uid == first.uid)
    check("root's, too", root.show(first.uid).result().grant.uid == first.uid and root.renew(first.uid, 200).result().wan_secret == first.wan_secret)
    anna.revoke(first.uid).result()
    root.revoke(second.uid, True).result()
    check("gone", anna.gone(first.uid) and anna.gone(second.uid))
    other = Gateway(folder_d, "a token that nobody knows")
    t = inbound(other, [here])
    check("anybody's", Gateway(folder_d).show(t.uid).result().grant.by == "anonymous")
    Gateway(folder_d).revoke(t.uid).result()


def dialing(folder):
    """Where the gateway would dial is judged as targets are, after names were looked up."""
    bert = Gateway(folder, os.environ["BERT"])
    dial = {"addresses": ["localhost:5000"], "secret": b"k" * 32, "ports": [5100, 5109]}
    refused("another port", bert.arrange(uid="u", listen=pb.Listen(), dial=pb.Dial(**{**dial, "ports": [5100, 5110]})), Code.PERMISSION_DENIED, ":5110 is in none")
    refused("another host", bert.arrange(uid="u", listen=pb.Listen(), dial=pb.Dial(**{**dial, "addresses": ["localhost:5000", "127.0.0.2:5000"]})),
            Code.PERMISSION_DENIED, "127.0.0.2:5100 is in none")
    refused("another role", bert.arrange(uid="0" * 32, attach=pb.SEND, dial=pb.Dial(role=pb.SEND, **dial)), Code.PERMISSION_DENIED, "the role SEND")
    refused("the gateway", bert.arrange(uid="0" * 32, attach=pb.RECV, dial=pb.Dial(role=pb.RECV, **dial)), Code.PERMISSION_DENIED, ":5000 is in none")
    dial["addresses"] = ["127.0.0.1:5000", "no-such-host.invalid:5000"]
    r = bert.arrange(uid="u", listen=pb.Listen(), dial=pb.Dial(**dial)).result()
    check("two channels", len(r.listeners) == 2 and list(bert.show("u").result().grant.targets) == ["127.0.0.1:5100", "127.0.0.1:5109"], r)
    bert.release("u").result()


def kept(folder):
    """A session of hers that stays."""
    anna = Gateway(folder, os.environ["ANNA"])
    say(inbound(anna, [f"127.0.0.1:{anna.ports[0]}"]).uid)


def taken_away(folder, uid):
    """Her policy is gone: the session stays hers, but for no longer than it was agreed."""
    anna = Gateway(folder, os.environ["ANNA"])
    refused("renew", anna.renew(uid, 9), Code.PERMISSION_DENIED, "no policy allows anna@example.org the role PROD")
    check("shown", anna.show(uid).result().grant.expires_s > time.time() + 600)
    check("the administrator's", Gateway(folder, local=True).renew(uid, 600).result().uid == uid)
    anna.revoke(uid).result()
    check("gone", anna.gone(uid))


def draining(folder):
    g = Gateway(folder)
    for what in ({"targets": ["127.0.0.1:9"]}, {"attach": pb.SEND}):
        refused("draining", g.arrange(**what), Code.UNAVAILABLE, "draining")


def no_entry(door):
    check("who came while it drained", tcp_ends.fate(door) == tcp_ends.RESET)


def ticket_wanted(folder):
    """require_ticket: what SciStream's client asks for is refused, what has a ticket is not."""
    g = Gateway(folder)
    call = g.call("req", scistream_pb2.Request(uid="u", role="PROD", num_conn=1), scistream_pb2.Response, "scistream.Control")
    refused("req", call, Code.FAILED_PRECONDITION, "require_ticket")
    g.release(inbound(g, ["127.0.0.1:9"]).uid).result()


def off(folder):
    refused("not enabled", Gateway(folder).arrange(targets=["127.0.0.1:9"]), Code.UNIMPLEMENTED, "not arranged here")


def arranged(folder_l, folder_d, target, *seconds):
    """A session that stays: its uid, the port on the WAN and the local one. seconds: of its ticket, of its lifetime."""
    what = dict(zip(("ticket_s", "lifetime_s"), map(int, seconds)))
    t = inbound(Gateway(folder_l), [f"127.0.0.1:{target}"], **what)
    say(f"{t.uid} {t.ports[0]} {port_of(outbound(Gateway(folder_d), t).listeners[0])}")


def call(method, folder, uid, *arguments):
    getattr(Gateway(folder), method)(uid, *map(int, arguments)).result()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[3:])
    os._exit(0)
