"""scistream.Control as SciStream's own client uses it: gRPC's own client, messages that protoc made from our .proto file, calls in s2uc's order.
   scistream.py CASE MESSAGES CONFIGURATION ARGUMENTS...: MESSAGES is the folder of the generated module, CONFIGURATION that of the gateway."""
import concurrent.futures
import os
import socket
import sys
import threading
import time
import uuid

import grpc

sys.path.insert(0, sys.argv[2])
sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import scistream_pb2 as pb  # noqa: E402
import tcp_ends  # noqa: E402

from sessions import listening, port_of, ports_of, refused  # noqa: E402
from tcp_ends import PATIENCE, check, say, until  # noqa: E402

NO_TOKEN = "INVALID_TOKEN"    # what s2uc sends when its user has none
Code = grpc.StatusCode
pool = concurrent.futures.ThreadPoolExecutor(64)


class Gateway:
    """The one whose configuration lies in that folder."""

    def __init__(self, folder, plain=None):
        self.token = NO_TOKEN
        self.port, self.ports = ports_of(folder)
        if plain:
            self.channel = grpc.insecure_channel(f"127.0.0.1:{plain}")
        else:
            certificate = open(folder + "/gateway.crt", "rb").read()
            self.channel = self.connect(certificate)
        self.certificate = None if plain else certificate

    def connect(self, certificate=None, number=0):
        options = [("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1), ("number", number)]
        return grpc.secure_channel(f"127.0.0.1:{self.port}", grpc.ssl_channel_credentials(certificate or self.certificate), options)

    def call(self, method, request, reply, timeout, channel=None):
        stub = (channel or self.channel).unary_unary("/scistream.Control/" + method, request_serializer=lambda m: m if isinstance(m, bytes) else
                                                     m.SerializeToString(), response_deserializer=reply.FromString)
        return stub.future(request, timeout=timeout, metadata=(("authorization", self.token),) if self.token else ())

    def req(self, uid, role="PROD", n=1, timeout=PATIENCE, channel=None):
        return self.call("req", pb.Request(uid=uid, role=role, num_conn=n, rate=10000), pb.Response, timeout, channel)

    def hello(self, uid, listeners=("127.0.0.1:9",), role="PROD", timeout=PATIENCE, channel=None):
        return self.call("hello", pb.Hello(uid=uid, prod_listeners=listeners, role=role), pb.AppResponse, timeout, channel)

    def update(self, uid, targets, role="PROD", timeout=PATIENCE):
        return self.call("update", pb.UpdateTargets(uid=uid, remote_listeners=targets, role=role), pb.Response, timeout)

    def release(self, uid, timeout=PATIENCE):
        return self.call("release", pb.Release(uid=uid), pb.Response, timeout)

    def arrange(self, uid, targets, role="PROD", n=1):
        """All of it, without s2uc's sleeps; the listeners."""
        answer, hello = self.req(uid, role, n), self.hello(uid, targets)
        listeners = list(answer.result().listeners)
        hello.result()
        self.update(uid, targets, role).result()
        return listeners


def new_uid():
    return str(uuid.uuid1())


def take(g, n):
    """A session with n listeners. The gateway may hear of a deadline later than its caller, who has gone on: again, until they are back."""
    end = time.monotonic() + PATIENCE
    while True:
        uid = new_uid()
        call, hello = g.req(uid, n=n), g.hello(uid)
        if call.exception() is None:
            check("listeners are told twice", len(set(call.result().listeners)) == n)
            hello.result()
            return uid
        hello.cancel()
        check("ports are lost", call.exception().code() == Code.RESOURCE_EXHAUSTED and time.monotonic() < end, call.exception())


def all_free(g):
    """All its ports can be had at once: none was lost."""
    uids, n = [], len(g.ports)
    while n > 0:
        uids.append(take(g, min(n, 250)))
        n -= 250
    for uid in uids:
        g.release(uid).result()


# ------------------------------------------------------------ s2uc, as it is

def s2uc_request(g, role, n, receivers, uid=None):
    """A thread with req, half a second, hello, and then what both brought, by futures of five seconds."""
    uid = uid or new_uid()
    answer = pool.submit(lambda: g.req(uid, role, n, timeout=PATIENCE).result())
    time.sleep(0.5)
    hello = pool.submit(lambda: g.hello(uid, receivers, "PROD").result())
    check("hello says nothing", hello.result(timeout=PATIENCE).message)
    return uid, answer.result(timeout=PATIENCE)


def inbound(g, n, receivers):
    uid, r = s2uc_request(g, "PROD", n, receivers)
    check("req told other listeners of the application", list(r.prod_listeners) == receivers, r.prod_listeners)
    check("listeners", len(set(r.listeners)) == n and all(port_of(w) in g.ports and w.startswith("127.0.0.1:") for w in r.listeners), r.listeners)
    g.update(uid, r.prod_listeners, "PROD").result()
    return uid, list(r.listeners)


def outbound(g, uid, n, remote):
    """uid: what inbound-request has printed, to be given on the command line."""
    _, r = s2uc_request(g, "CONS", n, ["127.0.0.1:5074"], uid)
    g.update(uid, remote, "CONS").result()
    return list(r.listeners)


def arranged(folder_p, folder_c, n, *receivers):
    """inbound-request at one gateway, outbound-request at the other: prints the uid, the first listener on the WAN and those that the application connects to."""
    p, c = Gateway(folder_p), Gateway(folder_c)
    uid, listeners = inbound(p, int(n), list(receivers))
    local = outbound(c, uid, int(n), listeners)
    say(" ".join([uid, listeners[0]] + local))


def released(folder, *uids):
    g = Gateway(folder)
    for uid in uids:
        g.release(uid).result()
        refused("released twice", g.release(uid), Code.NOT_FOUND, "uid")


# ------------------------------------------------------------ applications

def fan(servers, *local):
    """Targets are taken by turns; a connection is carried both ways, ends half by half, and a reset arrives as one."""
    listeners = [tcp_ends.listen(p) for p in servers.split(",")]
    for i, port in enumerate(local):
        for _ in range(2):
            client = tcp_ends.dial(port)
            client.sendall(b"there")
            server, _ = tcp_ends.accept(listeners[i % len(listeners)])
            check("there", tcp_ends.read_exactly(server, 5) == b"there")
            client.shutdown(socket.SHUT_WR)
            check("the end of one half", server.recv(1) == b"")
            server.sendall(b"back" * 100000)
            server.close()
            check("the other half", tcp_ends.read_all(client) == b"back" * 100000)
        client = tcp_ends.dial(port)
        server, _ = tcp_ends.accept(listeners[i % len(listeners)])
        tcp_ends.reset(server)
        check("a reset", tcp_ends.outcome(client) == tcp_ends.RESET)
    say(f"{len(local)} listeners, {len(listeners)} targets")


def hold(door, behind):
    """A connection with something through it, and lines, until standard input ends, or says that the server does; how it ended then."""
    listener, client = tcp_ends.listen(behind), tcp_ends.dial(door)
    client.sendall(b"x")
    server, _ = tcp_ends.accept(listener)
    check("a byte", server.recv(9) == b"x")
    say("holds")
    for line in sys.stdin:
        if line == "bye\n":
            server.close()
            break
        server.sendall(line.encode())
        check("a line", tcp_ends.read_exactly(client, len(line)) == line.encode())
        say(line.strip())
    say(tcp_ends.outcome(client))


def fate(door):
    """What becomes of a new connection."""
    say(tcp_ends.fate(door))


def shouts(door):
    """Who connects to a WAN listener and speaks no TLS."""
    s = tcp_ends.dial(door)
    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    say(tcp_ends.outcome(s))


def stranger(folder_p, folder_c, receiver):
    """The other side has another uid: its TLS is refused, and nobody dials the application."""
    p, c = Gateway(folder_p), Gateway(folder_c)
    uid, listeners = inbound(p, 1, [receiver])
    other = new_uid()
    local = outbound(c, other, 1, listeners)
    listener = tcp_ends.listen(receiver)
    fate = tcp_ends.fate(local[0])
    check("not let in", fate == tcp_ends.RESET, fate)
    listener.setblocking(False)
    try:
        check("nobody dials", not listener.accept())
    except BlockingIOError:
        pass
    p.release(uid).result()
    c.release(other).result()


# ------------------------------------------------------------ orders of calls

def hello_first(g):
    """appctrl says hello five times, a tenth of a second apart, before req and after it; all of them are answered."""
    uid = new_uid()
    hellos = []
    for i in range(5):
        hellos.append(g.hello(uid, ["127.0.0.1:9", "127.0.0.1:10"]))
        if i == 2:
            r = g.req(uid, n=2).result()
            check("prod_listeners", list(r.prod_listeners) == ["127.0.0.1:9", "127.0.0.1:10"])
        time.sleep(0.1)
    for h in hellos:
        check("hello told other listeners", list(h.result().listeners) == list(r.listeners))
    g.release(uid).result()
    lonely = g.hello(new_uid(), timeout=PATIENCE)
    refused("a hello without req", lonely, Code.NOT_FOUND, "uid")


def overlapping(g):
    """Requests that overlap never mix: each gets what its own hello said, whatever the order."""
    uids = [new_uid() for _ in range(6)]
    answers = {u: g.req(u) for u in uids}
    for i, u in reversed(list(enumerate(uids))):
        g.hello(u, [f"127.0.0.1:{1000 + i}"]).result()
    ports = set()
    for i, u in enumerate(uids):
        r = answers[u].result()
        check("mixed", list(r.prod_listeners) == [f"127.0.0.1:{1000 + i}"], r.prod_listeners)
        ports.add(port_of(r.listeners[0]))
    check("ports given twice", len(ports) == 6)
    refused("a seventh of six ports", g.req(new_uid()), Code.RESOURCE_EXHAUSTED, "1 port is asked for, 0 of data_ports")
    refused("the same uid again", g.req(uids[0]), Code.ALREADY_EXISTS, "uid")
    for u in uids:
        g.release(u).result()


def in_order(g):
    uid = new_uid()
    refused("update of nothing", g.update(uid, ["127.0.0.1:9"]), Code.NOT_FOUND)
    refused("release of nothing", g.release(uid), Code.NOT_FOUND)
    answer = g.req(uid)
    until("req is there", lambda: g.update(uid, ["127.0.0.1:9"]).exception().code() == Code.FAILED_PRECONDITION)
    g.hello(uid).result()
    answer.result()
    g.release(uid).result()
    refused("release twice", g.release(uid), Code.NOT_FOUND)


def bad_input(g):
    bad = Code.INVALID_ARGUMENT
    for name, uid in (("empty", ""), ("256 bytes", "x" * 256), ("60 KiB", "x" * 60000), ("slash", "a/b"), ("newline", "a\nb"), ("escape", "\x1b[2J")):
        for what, call in (("req", g.req(uid)), ("hello", g.hello(uid)), ("update", g.update(uid, ["a:1"])), ("release", g.release(uid))):
            refused(f"{what} with uid: {name}", call, bad, "uid")
    refused("64 KiB uid", g.req("x" * 65536), Code.RESOURCE_EXHAUSTED)
    refused("NUL in uid", g.req("a\0b"), bad, "NUL")
    refused("NUL in a listener", g.hello("a", ["127.0.0.1:1\0"]), bad, "NUL")
    uid = new_uid()
    for n in (0, -1, -2**31, 257, 2**31 - 1):
        refused(f"num_conn {n}", g.req(uid, n=n), bad, "num_conn")
    for role in ("", "prod", "BOTH", "PROD "):
        refused(f"role '{role}'", g.req(uid, role=role), bad, "role")
    refused("update's role", g.update(uid, ["127.0.0.1:9"], role="x"), bad, "role")
    for garbage in (b"\xff", b"\x0a\x05ab", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0b\x0c", os.urandom(500)):
        for method, reply in (("req", pb.Response), ("hello", pb.AppResponse), ("update", pb.Response), ("release", pb.Response)):
            refused(f"garbage as {method}", g.call(method, garbage, reply, PATIENCE), bad)
    answer, hello = g.req(uid, n=2), g.hello(uid)
    answer.result(), hello.result()
    for targets in (["127.0.0.1"], [":7"], ["127.0.0.1:"], ["127.0.0.1:0"], ["127.0.0.1:70000"], ["127.0.0.1:x"], [""], ["::1:5:x"], ["a b:1"], [],
                    ["127.0.0.1:7"] * 257, ["x" * 300 + ":1"]):
        refused(f"targets {targets[:2]}", g.update(uid, targets), bad, "remote_listeners")
        if targets:
            refused(f"listeners {targets[:2]}", g.hello(uid, targets), bad, "prod_listeners")
    refused("unresolvable", g.update(uid, ["127.0.0.1:9", "no-such-host.invalid:5"], timeout=60), bad, "no-such-host.invalid")
    g.update(uid, ["[::1]:9"]).result()
    g.update(uid, ["localhost:9", "127.0.0.1:9", "[::1]:10"]).result()    # again, with one more than there are listeners
    g.release(uid).result()


# ------------------------------------------------------------ many

def pending(g, n):
    """So many req wait for their hello, by several connections; others are served meanwhile, and each of them gets its own at the end."""
    channels = [g.connect(number=i) for i in range(4)]
    uids = [new_uid() for _ in range(n)]
    answers = [g.req(u, timeout=180, channel=channels[i % 4]) for i, u in enumerate(uids)]
    begin = time.monotonic()
    other = new_uid()
    listeners = g.arrange(other, ["127.0.0.1:9"])
    g.release(other).result()
    say(f"another session beside {n} that wait: {1000 * (time.monotonic() - begin):.0f} ms")
    check("no listener", len(listeners) == 1)
    for i in range(0, n, 50):
        for h in [g.hello(u, [f"127.0.0.1:{1 + (i + k) % 60000}"], timeout=60) for k, u in enumerate(uids[i:i + 50])]:
            h.result()
    for i, a in enumerate(answers):
        check("mixed", list(a.result().prod_listeners) == [f"127.0.0.1:{1 + i % 60000}"], i)
    for i in range(0, n, 50):
        for r in [g.release(u, timeout=60) for u in uids[i:i + 50]]:
            r.result()
    for c in channels:
        c.close()


def hundred(g):
    """100 req at once, for 100 ports of which 50 are free."""
    held = []
    for port in list(g.ports)[::2]:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        s.listen(1)
        held.append(s)
    calls = {u: g.req(u, timeout=60) for u in (new_uid() for _ in range(100))}
    outcome = []
    for u in calls:
        threading.Thread(target=lambda u=u: g.hello(u, timeout=60).exception(), daemon=True).start()
    for u, c in calls.items():
        if c.exception() is None:
            outcome.append(port_of(c.result().listeners[0]))
        else:
            refused("one too many", c, Code.RESOURCE_EXHAUSTED, "1 port is asked for, 0 of data_ports")
            calls[u] = None
    check("half of them", len(outcome) == 50 == len(set(outcome)), len(outcome))
    refused("three of no port", g.req(new_uid(), n=3), Code.RESOURCE_EXHAUSTED, "3 ports are asked for, 0 of data_ports")
    for u, c in calls.items():
        if c:
            g.release(u).result()
    refused("51 of 50 ports", g.req(new_uid(), n=51), Code.RESOURCE_EXHAUSTED, "51 ports are asked for, 50 of data_ports")
    for s in held:
        s.close()
    all_free(g)


def all_wait(g, uids):
    """Their req have come, and wait for the hello: that is what update is told."""
    until("they wait", lambda: all(g.update(u, ["127.0.0.1:9"]).exception().code() == Code.FAILED_PRECONDITION for u in uids))


def vanished(g):
    """Callers that go away in mid-req, by cancelling, by their deadline, and by their connection: all is given back."""
    uids = [new_uid() for _ in g.ports]
    cancelled = [g.req(u) for u in uids]
    all_wait(g, uids)
    refused("no port is left", g.req(new_uid()), Code.RESOURCE_EXHAUSTED)
    for c in cancelled:
        c.cancel()
    all_free_soon(g)
    late = [g.req(new_uid(), timeout=0.5) for _ in g.ports]
    for c in late:
        refused("deadline", c, Code.DEADLINE_EXCEEDED)
    all_free_soon(g)
    channel = g.connect(number=99)
    cut = [g.req(u, channel=channel, timeout=60) for u in uids]
    all_wait(g, uids)
    channel.close()
    for c in cut:
        c.exception()
    all_free_soon(g)
    held = g.hello(new_uid())
    held.cancel()


def all_free_soon(g):
    until("all ports are back", lambda: g.req(new_uid(), n=len(g.ports), timeout=0.2).exception().code() == Code.DEADLINE_EXCEEDED)
    until("all ports are back again", lambda: g.req(new_uid(), n=len(g.ports), timeout=0.2).exception().code() == Code.DEADLINE_EXCEEDED)


def again(g, times):
    """Set up and released again and again, with a connection through each that is reset: no port is lost, none is left open."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(PATIENCE)
    target = f"127.0.0.1:{server.getsockname()[1]}"
    for i in range(times):
        uid = new_uid()
        listeners = g.arrange(uid, [target], n=len(g.ports))
        s = socket.create_connection(("127.0.0.1", port_of(listeners[i % len(listeners)])), PATIENCE)
        s.settimeout(PATIENCE)
        s.sendall(b"x")
        there, _ = server.accept()
        there.settimeout(PATIENCE)
        check("a byte", there.recv(10) == b"x")
        g.release(uid).result()
        for end in (s, there):
            try:
                check("not reset", end.recv(1) == b"never")
            except ConnectionResetError:
                pass
        check("still open", not any(listening(port_of(w)) for w in listeners))


def storm(g, times):
    """Of what is refused to nobody in particular not each has its line in the log."""
    calls = [g.release(f"nobody-{i}") for i in range(times)]
    for call in calls:
        refused("release of nothing", call, Code.NOT_FOUND, "uid: ")


def no_hello(g):
    """hello_timeout: the caller is told, and nothing is left."""
    refused("no hello", g.req(new_uid(), timeout=60), Code.DEADLINE_EXCEEDED, "no hello came within")
    uid = new_uid()
    answer, hello = g.req(uid), g.hello(uid)
    answer.result(), hello.result()
    until("a session that nobody updates ends", lambda: (e := g.release(uid).exception()) is not None and e.code() == Code.NOT_FOUND or
          g.req(uid).exception().code() == Code.DEADLINE_EXCEEDED)
    all_free_soon(g)


def off(g):
    for call in (g.req(new_uid()), g.hello("x"), g.update("x", ["a:1"]), g.release("x")):
        refused("not enabled", call, Code.UNIMPLEMENTED, "not enabled")


def policies(g):
    """The tokens of two principals in ANNA and BERT; what each may is in the gateway's configuration."""
    anna, bert = os.environ["ANNA"], os.environ["BERT"]
    here, elsewhere = f"127.0.0.1:{g.ports[0]}", "127.0.0.2:9"
    for g.token in (None, NO_TOKEN, anna + "x"):
        uid = new_uid()
        text = "is missing for scope facility" if g.token is None else "is invalid for scope facility"
        for call in (g.req(uid), g.hello(uid), g.update(uid, [here]), g.release(uid)):
            refused(f"token {g.token}", call, Code.UNAUTHENTICATED, "Authentication token " + text)
    g.token = bert
    refused("bert's", g.req(new_uid()), Code.PERMISSION_DENIED, "no policy allows bert@example.org the role PROD")
    g.token = "Bearer " + anna
    refused("four channels", g.req(new_uid(), n=4), Code.RESOURCE_EXHAUSTED, 'policy "anna": channels of a session: 4 would be more than its limit of 3')
    uids = [new_uid() for _ in range(2)]
    g.arrange(uids[0], [here], n=3)
    answer, hello = g.req(uids[1]), g.hello(uids[1])
    answer.result(), hello.result()
    refused("elsewhere", g.update(uids[1], [here, elsewhere]), Code.PERMISSION_DENIED, f"remote_listeners: {elsewhere}: ")
    g.update(uids[1], ["localhost:%d" % g.ports[0]]).result()    # it is judged by its address
    refused("a third session", g.req(new_uid()), Code.RESOURCE_EXHAUSTED, 'policy "anna": sessions at once: 3 would be more than its limit of 2')
    g.token = bert
    refused("anna's session", g.release(uids[0]), Code.PERMISSION_DENIED, "somebody else's")
    g.token = anna
    for uid in uids:
        until("the lifetime of both ends", lambda: (e := g.update(uid, [here]).exception()) and e.code() == Code.NOT_FOUND)
    check("their ports are given back", not any(map(listening, g.ports)))


def take_one(g):
    take(g, 1)


def draining(g):
    refused("draining", g.req(new_uid()), Code.UNAVAILABLE, "draining")


CASES = [hello_first, overlapping, in_order, bad_input, vanished]


def cases(folder):
    g = Gateway(folder)
    for case in CASES:
        case(g)
        all_free(g)
        say(case.__name__)


def plain(folder, port):
    g = Gateway(folder, port)
    uid = new_uid()
    check("listeners", len(g.arrange(uid, ["127.0.0.1:9"], n=2)) == 2)
    g.release(uid).result()
    try:
        g.channel.unary_unary("/scistream.gateway.v1.Gateway/Info")(b"", timeout=PATIENCE)
        sys.exit("other services are there without TLS, too")
    except grpc.RpcError as e:
        check("other services", e.code() == Code.UNIMPLEMENTED, e.code())


def arrange(folder, role, n, *targets):
    """A session without s2uc's sleeps: its uid and listeners."""
    uid = new_uid()
    say(" ".join([uid] + Gateway(folder).arrange(uid, targets, role, int(n))))


def update(folder, uid, *targets):
    Gateway(folder).update(uid, targets).result()


def many_sessions(folder, count, n):
    """As many with n listeners each, that stay."""
    g = Gateway(folder)
    for begin in range(0, int(count), 50):
        uids = [new_uid() for _ in range(50)]
        answers = [(g.req(u, n=int(n), timeout=60), g.hello(u, timeout=60)) for u in uids]
        for r, h in answers:
            r.result(), h.result()
        for u in [g.update(u, ["127.0.0.1:9"], timeout=60) for u in uids]:
            u.result()


def case(name, folder, *numbers):
    globals()[name](Gateway(folder), *map(int, numbers))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[3:])
    os._exit(0)    # not waiting for threads of calls that were left alone
