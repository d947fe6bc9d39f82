"""Sessions of class provisioned that users arrange. arrange_class.py CASE MESSAGES ARGUMENTS...: as arrange.py."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from arrange import Code, Gateway, check, dial_of, inbound, outbound, pb, port_of, refused, say, until  # noqa: E402

GBIT = 1000**3
NINE = ["127.0.0.1:9"]


def gold(rate):
    return {"class": "provisioned", "rate": rate}


def reserved(g):
    """by the segments that have a capacity"""
    root = Gateway(g.folder, local=True)
    return {s.name: s.reserved for s in root.call("Info", pb.InfoRequest(), pb.InfoReply).result().segments}


def wan(g, rate):
    return reserved(g)["wan"] == rate


def admission(folder_l, folder_d):
    """The first has 10Gbit, of which 9 can be reserved; the other nothing."""
    l, d = Gateway(folder_l), Gateway(folder_d)
    first = inbound(l, NINE, lifetime_s=3600, **gold(6 * GBIT))
    check("what it has", getattr(first, "class") == "provisioned" and first.rate == 6 * GBIT and wan(l, 6 * GBIT))
    session = Gateway(folder_l, local=True).sessions(first.uid).result().sessions[0]
    check("shown", getattr(session, "class") == "provisioned" and session.rate == 6 * GBIT)
    now = "4Gbit cannot be reserved now: of 10Gbit wan, 9Gbit can be, and 6Gbit are reserved by 1 session; 1Gbit are missing; the first to end does so at 2"
    refused("beside it", l.arrange(targets=NINE, **gold(4 * GBIT)), Code.RESOURCE_EXHAUSTED, now)
    refused("ever", l.arrange(targets=NINE, **gold(10 * GBIT)), Code.FAILED_PRECONDITION, "the wan segment has 10Gbit, of which 9Gbit can be")
    refused("at the other", d.arrange(uid=first.uid, listen=pb.Listen(), dial=dial_of(first), **gold(GBIT)), Code.FAILED_PRECONDITION, "it has no capacity.wan")
    refused("its uid", l.arrange(uid=first.uid, listen=pb.Listen(), dial=dial_of(first), **gold(GBIT)), Code.ALREADY_EXISTS)
    refused("a port that is none of ours", l.arrange(uid="another", listen=pb.Listen(ports=[22]), dial=dial_of(first), **gold(GBIT)), Code.INVALID_ARGUMENT)
    refused("rings", l.arrange(attach=pb.SEND, channels=65536, **gold(GBIT)), Code.RESOURCE_EXHAUSTED, "of memory_limit")
    check("nothing is left of those", wan(l, 6 * GBIT) and len(Gateway(folder_l, local=True).sessions().result().sessions) == 1)
    attached = l.arrange(attach=pb.SEND, **gold(3 * GBIT)).result()
    check("attached", attached.rate == 3 * GBIT and wan(l, 9 * GBIT))
    l.release(first.uid).result()
    check("released", wan(l, 3 * GBIT))
    l.revoke(attached.uid).result()
    until("revoked, and nobody is there", lambda: wan(l, 0))
    inbound(l, NINE, lifetime_s=1, **gold(9 * GBIT))
    until("over", lambda: wan(l, 0))
    l.arrange(attach=pb.RECV, lifetime_s=1, **gold(9 * GBIT)).result()
    until("attached, and over", lambda: wan(l, 0))


def policy(folder):
    """The token of somebody in ANNA, who may have 5Gbit and 2M of rings."""
    anna, most = Gateway(folder, os.environ["ANNA"]), Code.RESOURCE_EXHAUSTED
    here = [f"127.0.0.1:{anna.ports[0]}"]
    first = inbound(anna, here, **gold(3 * GBIT))
    refused("as much again", anna.arrange(targets=here, **gold(3 * GBIT)), most, "rate: 6Gbit would be more than its limit of 5Gbit")
    second = inbound(anna, here, channels=3)
    refused("rings", anna.arrange(targets=here), most, "ring_memory: 2560K would be more than its limit of 2M")
    anna.release(first.uid).result()

    def grant(**what):
        return anna.call("Grant", pb.GrantRequest(route="shared", **what), pb.GrantReply)

    refused("a grant for long", grant(channels=1), most, "lifetime: 1d would be more than its limit of 1h")
    third = inbound(anna, here)
    refused("a grant with rings", grant(lifetime_s=60), most, "ring_memory: 4M would be more than its limit of 2M")
    for s in (second, third):
        anna.release(s.uid).result()


def arranged(folder_l, folder_d, target, rate):
    """A session that stays, to that port: its uid, and its local port at the other gateway. rate: that it reserves at the first; 0: best effort"""
    t = inbound(Gateway(folder_l), [f"127.0.0.1:{target}"], **(gold(int(rate)) if int(rate) else {}))
    say(f"{t.uid} {port_of(outbound(Gateway(folder_d), t).listeners[0])}")


def attached(folder, rate):
    say(Gateway(folder).arrange(attach=pb.RECV, **gold(int(rate))).result().uid)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[3:])
    os._exit(0)
