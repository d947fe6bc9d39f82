"""Arrange while names are looked up (arrange_names.sh): the name server, and the callers.
   arrange_names.py serve FOLDER | CASE MESSAGES GATEWAY FOLDER PID
   Names: here.* is 127.0.0.1; half.*, too, but whether it has an IPv6 address is never answered, nor is silent.*; gate.* is 127.0.0.1 as soon as FOLDER/open is there. FOLDER/asked: the first question came."""
import os
import signal
import socket
import struct
import sys
import threading
import time


def answer(folder, query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind = struct.unpack(">H", query[at + 1:at + 3])[0]
    open(folder + "/asked", "w").close()
    if labels[0] == "silent" or (labels[0] == "half" and kind == 28):
        return None
    while labels[0] == "gate" and not os.path.exists(folder + "/open"):
        time.sleep(0.01)
    known = labels[0] in ("here", "half", "gate")
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([127, 0, 0, 1]) if known and kind == 1 else b""
    return query[:2] + struct.pack(">HHHHH", 0x8180 | (0 if known else 3), 1, 1 if record else 0, 0, 0) + query[12:at + 5] + record


def serve(folder):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    s.bind(("127.0.0.1", 53))
    print("serves", flush=True)

    def one(query, peer):
        reply = answer(folder, query)
        if reply:
            s.sendto(reply, peer)
    while True:
        threading.Thread(target=one, args=s.recvfrom(2000), daemon=True).start()


if sys.argv[1] == "serve":
    serve(sys.argv[2])

from arrange import PATIENCE, Code, Gateway, check, inbound, pb, refused, until  # noqa: E402

SILENT = ["silent.x%d.test:9" % i for i in range(256)]


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def nothing_is_left(folder):
    root = Gateway(folder, local=True)
    check("nothing is left", not root.sessions().result().sessions and not root.grants())


def denied(folder, tmp, _):
    """Whom no policy allows it has nobody asked for him."""
    bert = Gateway(folder, os.environ["BERT"])
    refused("bert", bert.arrange(targets=["here.test:9"]), Code.PERMISSION_DENIED, "no policy allows")
    check("the name server was asked", not os.path.exists(tmp + "/asked"))
    check("anna", inbound(Gateway(folder, os.environ["ANNA"]), ["here.test:9"]).ports)
    root = Gateway(folder, local=True)
    for g in root.grants():
        root.revoke(g.uid, True).result()


def patient(folder, _, pid):
    """Forty calls of one principal with 256 names each that nobody answers for: some wait, and neither he nor others are kept from anything else."""
    anna, bert = Gateway(folder, os.environ["ANNA"]), Gateway(folder, os.environ["BERT"])
    before = descriptors(pid)
    calls = [anna.arrange(targets=SILENT) for _ in range(40)]
    until("those that are too many are refused", lambda: sum(c.done() for c in calls) >= 24)
    for c in calls:
        if c.done():
            refused("too many", c, Code.RESOURCE_EXHAUSTED, "requests of anna@example.org wait for names")
    check("descriptors", descriptors(pid) < before + 600, descriptors(pid))
    begin = time.monotonic()
    uid = inbound(anna, ["127.0.0.1:9"]).uid
    took = time.monotonic() - begin
    check("others have to wait", took < PATIENCE / 10, took)
    r = bert.arrange(uid="u", listen=pb.Listen(), dial=pb.Dial(addresses=["here.test:5000"], secret=b"k" * 32, ports=[9])).result()
    check("a name that is answered for", len(r.listeners) == 1)
    for c in calls:
        c.cancel()
    anna.release(uid).result()
    bert.release("u").result()
    until("descriptors are given back", lambda: descriptors(pid) <= before + 8)


def vanishes(folder, tmp, pid):
    """Callers that go away while the name server is silent."""
    before = descriptors(pid)
    for i in range(10):
        os.unlink(tmp + "/asked")
        g = Gateway(folder, os.environ["ANNA"])
        call = g.arrange(targets=["half.test:9", "silent.test:9"])
        until("the name server is asked", lambda: os.path.exists(tmp + "/asked"))
        if i % 2:
            call.cancel()
        g.channel.close()
    until("descriptors are given back", lambda: descriptors(pid) <= before + 8)
    nothing_is_left(folder)


def frozen(folder, _tmp, _pid):
    """By the time that its name is answered another program has been told of all that there is: it would not know of this session."""
    bert = Gateway(folder, os.environ["BERT"])
    call = bert.arrange(uid="0" * 32, attach=pb.RECV, dial=pb.Dial(role=pb.RECV, addresses=["gate.test:5000"], secret=b"k" * 32))
    refused("frozen", call, Code.UNAVAILABLE, "an upgrade is under way")
    nothing_is_left(folder)


def served(folder, _tmp, _pid):
    bert = Gateway(folder, os.environ["BERT"])
    r = bert.arrange(uid="0" * 32, attach=pb.RECV, dial=pb.Dial(role=pb.RECV, addresses=["gate.test:5000"], secret=b"k" * 32)).result()
    bert.release(r.uid).result()
    nothing_is_left(folder)


def released(folder, tmp, _pid):
    """Two sessions; the new program has been told of both when one is released."""
    anna, root = Gateway(folder, os.environ["ANNA"]), Gateway(folder, local=True)
    stays, goes = inbound(anna, ["127.0.0.1:9"]).uid, inbound(anna, ["127.0.0.1:9"]).uid
    upgrade = root.call("Upgrade", pb.UpgradeRequest(), pb.UpgradeReply)
    until("the upgrade is under way", lambda: anna.renew(goes).exception())
    anna.release(goes).result()
    open(os.path.join(tmp, "go"), "w").close()  # the new program has waited for that
    upgrade.result()
    anna, root = Gateway(folder, os.environ["ANNA"]), Gateway(folder, local=True)
    until("the other is there", lambda: not anna.show(stays).exception())
    check("the one that stays is alone", [g.uid for g in root.grants()] == [stays] and anna.gone(goes))
    info = root.call("Info", pb.InfoRequest(), pb.InfoReply).result()
    os.kill(info.pid, signal.SIGTERM)
    until("the new program has ended", lambda: not os.path.exists(f"/proc/{info.pid}"))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[3:])
    os._exit(0)
