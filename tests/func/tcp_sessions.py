"""tcp_sessions.py CASE SCISTREAMCTL SOCKET DOOR BEHIND [DOOR OF ANOTHER ROUTE]: connections that workers relay, as scistreamctl shows and ends them."""
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from tcp_ends import NOTHING, RESET, Echo, all_descriptors, check, dial, echoes, outcome, run_cases, until

CTL = []


def ctl(*words, code=0):
    """What it says; on standard error when it is to fail."""
    p = subprocess.run([*CTL, *words], capture_output=True, text=True, timeout=60)
    check("the exit code of " + " ".join(words), p.returncode == code, p.returncode, p.stdout, p.stderr)
    return p.stderr if code else p.stdout


def sessions(*words):
    return json.loads(ctl("sessions", "--json", *words))


def route(name):
    return next((r for r in sessions()["routes"] if r["route"] == name), {"open": 0})


def name_of(s):
    return "%s:%d" % s.getsockname()[:2]


def setup(program, socket, behind):
    CTL[:] = [program, "-S", socket]
    return Echo(behind)


def moved(route):
    return route.get("forward", {}).get("bytes"), route.get("backward", {}).get("bytes")


def listed(program, socket, door, behind, other):
    """Each of them once, with all that it has moved; by route, in order, and by the route alone."""
    setup(program, socket, behind)
    check("nothing", sessions() == {"sessions": [], "routes": []}, sessions())
    check("no connections", ctl("sessions", "--connections") == "no sessions\nno connections\n")
    clients = []
    for i in range(5):
        clients.append(dial(door))
        check("echo", echoes(clients[i], b"x" * 1000 * (5 - i)))
        time.sleep(0.01)    # so that the ages differ
    elsewhere = dial(other)
    check("echo", echoes(elsewhere, b"x" * 7))
    until("all is counted", lambda: moved(route("app")) == (15000, 15000) and moved(route("other")) == (7, 7))
    until("all wait", lambda: route("app")["forward"]["waiting_source"] == route("app")["backward"]["waiting_source"] == 5)
    d = sessions("--connections")
    check("sums", [(r["route"], r["open"]) for r in d["routes"]] == [("app", 5), ("other", 1)], d["routes"])
    check("newest first", [c["peer"] for c in d["connections"]] == [name_of(s) for s in [elsewhere, *reversed(clients)]] and d["more"] == 0, d)
    for c in d["connections"]:
        bytes_ = [c[f][b] for f in ("forward", "backward") for b in ("bytes_in", "bytes_out")]
        size = {name_of(s): 1000 * (5 - i) for i, s in enumerate(clients)}.get(c["peer"], 7)
        check("bytes", bytes_ == [size] * 4, c)
        check("what it waits for", c["forward"]["waiting_for"] == c["backward"]["waiting_for"] == "source", c)
        check("where", c["backend"] == "127.0.0.1:" + behind.rsplit(":")[-1] and c["worker"] in (0, 1) and re.fullmatch("r[01]\\.[0-9a-f]+", c["id"]), c)
        check("age", 0 <= c["age_ms"] < 60000, c)
    check("ids", len({c["id"] for c in d["connections"]}) == 6)
    d = sessions("--connections", "--order", "busiest", "--limit", "2", "--route", "app")
    check("busiest first", [c["peer"] for c in d["connections"]] == [name_of(s) for s in clients[:2]] and d["more"] == 3, d)
    check("one route", [r["route"] for r in d["routes"]] == ["app"], d)
    text = ctl("sessions")
    check("a line for each route", re.fullmatch(r"no sessions\nroute app  5 connections, 14\.6 KiB there \(5 wait for source, 0 for sink\), 14\.6 KiB back "
                                                r"\(5 wait for source, 0 for sink\)\nroute other  1 connection, 7 B there .*\n", text), text)
    text = ctl("sessions", "--connections", "--limit", "1").splitlines()
    check("a table", len(text) == 6 and text[3].split()[:4] == ["CONNECTION", "ROUTE", "FROM", "TO"] and text[5] == "and 5 more (--limit)", text)
    check("a row", re.match(r"r[01]\.[0-9a-f]+ +other +%s +127\.0\.0\.1:[0-9]+ +.*s? +7 B +source +7 B +source +[01] +plaintext$" % name_of(elsewhere), text[4]), text)
    check("an unknown route", "no route of that name" in ctl("sessions", "--route", "nobody", code=64))
    check("not of a session", "leave UID out" in ctl("sessions", "0" * 32, "--connections", code=64))


def released(program, socket, door, behind, other):
    """One of several, and then all of a route: who is released reads a RST at both ends, the others notice nothing."""
    server = setup(program, socket, behind)
    clients, elsewhere = [dial(door) for _ in range(5)], dial(other)
    check("echo", all(echoes(s) for s in [*clients, elsewhere]))
    until("all are shown", lambda: len(sessions("--connections")["connections"]) == 6)
    ids = {c["peer"]: c["id"] for c in sessions("--connections")["connections"]}
    one = ids[name_of(clients[2])]
    check("what it says", ctl("release", one, "--reason", "enough") == "1 connection released\n")
    check("its client", outcome(clients.pop(2)) == RESET)
    until("its server", lambda: server.ended[RESET] == 1)
    check("the others", all(echoes(s) for s in [*clients, elsewhere]) and server.open == 5)
    until("it is not shown", lambda: route("app")["open"] == 4)
    for wrong in one, "r0.1", "r7.1", "r0.", "r":
        check("an unknown id", "no open connection with that id" in ctl("release", wrong, code=64))
    check("an unknown route", "no route of that name" in ctl("release", "--route", "nobody", code=64))
    check("neither", "needs either" in ctl("release", code=64))
    check("both", "needs either" in ctl("release", one, "--route", "app", code=64))
    check("what it says", json.loads(ctl("release", "--route", "app", "--json")) == {"channels": 0, "connections": 4})
    check("the clients", all(outcome(s) == RESET for s in clients))
    until("the servers", lambda: server.ended[RESET] == 5)
    check("the other route", echoes(elsewhere) and outcome(elsewhere, 0.1) == NOTHING)
    until("nothing is left", lambda: route("app")["open"] == 0)
    check("nothing is open", "neither an open channel nor an open connection" in ctl("release", "--route", "app", code=64))
    check("echo", echoes(dial(door)))   # others may come


def many(program, socket, door, behind, n):
    """More than one reply has room for; what is left out is told."""
    n = int(n)
    check("descriptors", all_descriptors() > 2 * n + 100)
    server = setup(program, socket, behind)
    clients = []
    while len(clients) < n:
        clients += [dial(door) for _ in range(min(100, n - len(clients)))]
        until("connections", lambda: server.open == len(clients))
    check("echo", all(echoes(s, b"y" * 100) for s in clients[:50]))
    until("all is counted", lambda: moved(route("app")) == (5000, 5000) and route("app")["open"] == n)
    text = ctl("sessions", "--connections", "--limit", "10").splitlines()
    check("some", len(text) == 2 + 1 + 10 + 1 and text[-1] == f"and {n - 10} more (--limit)", text)
    d = sessions("--connections", "--limit", "10")
    check("some, for scripts", len(d["connections"]) == 10 and d["more"] == n - 10, d["more"])
    begin = time.monotonic()
    d = sessions("--connections", "--limit", "1000000")
    check("all", len(d["connections"]) == n and len({c["id"] for c in d["connections"]}) == n and d["more"] == 0, len(d["connections"]), d["more"])
    check("their peers", {c["peer"] for c in d["connections"]} == {name_of(s) for s in clients})
    check("their bytes", sum(c["forward"]["bytes_out"] for c in d["connections"]) == 5000)
    print(f"{n} of them in {(time.monotonic() - begin) * 1000:.0f} ms")
    check("drain counts them", ctl("drain", "--timeout", "forever") == f"no new streams; {n} open connections get all the time it takes to finish\n")
    check("for scripts", json.loads(ctl("drain", "--timeout", "forever", "--json"))["connections"] == n)
    ctl("drain", "--resume")
    check("a route", ctl("release", "--route", "app") == f"{n} connections released\n")
    check("all are reset", all(outcome(s) == RESET for s in clients))


class Watch:
    """scistreamctl watch; .events are those of connections, as they came so far."""

    def __init__(self, *words):
        self.path = os.path.join(os.path.dirname(CTL[2]), "watch.%d" % time.monotonic_ns())
        with open(self.path, "w") as out:
            self.process = subprocess.Popen([*CTL, "watch", *words], stdout=out)

    def text(self):
        with open(self.path) as f:
            return f.read().rpartition("\n")[0]

    def events(self):
        return [e["connections"] for e in map(json.loads, self.text().splitlines()) if e["what"] == "connections"]

    def any(self, condition):
        return any(condition(e, {r["route"]: r for r in e["routes"]}) for e in self.events())

    def end(self):
        self.process.terminate()
        check("it ends well", self.process.wait(10) == 0)


def watched(program, socket, door, behind, other):
    """Rates by route, and of the fastest; nobody is flooded, however many come and go, and all of them are counted."""
    setup(program, socket, behind)
    w, of_other = Watch("--json", "--interval", "50ms", "--connections", "--limit", "2"), Watch("--json", "--interval", "50ms", "--route", "other")
    lines = Watch("--interval", "50ms", "--connections", "--limit", "1")
    slow, fast, last = dial(door), dial(door), dial(other)
    check("echo", echoes(last))
    until("they are there", lambda: w.any(lambda e, r: r.get("app", {}).get("open") == 2 and r.get("other", {}).get("open") == 1))
    end = time.monotonic() + 1
    while time.monotonic() < end:
        check("echo", echoes(fast, b"z" * 50000) and echoes(slow, b"z" * 10))
    until("rates", lambda: w.any(lambda e, r: r["app"]["forward"]["rate"] > 1e6 and r["app"]["backward"]["rate"] > 1e6 and e["more"] == 1 and
                                 len(e["fastest"]) == 2 and e["fastest"][0]["peer"] == name_of(fast) and e["fastest"][0]["forward"]["rate"] > 1e6))
    until("that nothing moves any more", lambda: w.events()[-1]["routes"][0]["forward"]["rate"] == 0)
    n, begin = len(w.events()), time.monotonic()
    for _ in range(500):
        dial(door).close()
    sums = lambda what: sum(r[what] for e in w.events()[n:] for r in e["routes"] if r["route"] == "app")
    until("each is counted", lambda: sums("opened") == 500 and sums("ended") == 500)
    check("no flood", len(w.events()) - n <= 20 * (time.monotonic() - begin) + 2, len(w.events()) - n)
    n = len(w.events())
    check("silence", outcome(fast, 0.5) == NOTHING and len(w.events()) - n <= 4, len(w.events()) - n)
    check("one route", of_other.events() and all([r["route"] for r in e["routes"]] in ([], ["other"]) for e in of_other.events()))
    check("lines", re.search(r"^..:..:..  app: 2 open connections \(\+[0-9]+ -[0-9]+, 0 failed, 0 refused\), .*bit/s there, .*bit/s back, .*B, waits for .*\n"
                             r"(..:..:..  other: .*\n)?..:..:..  r[01]\.[0-9a-f]+ \(app\) %s -> 127.0.0.1:[0-9]+: .*\n"
                             r"..:..:..  and 2 connections that are not faster" % name_of(fast), lines.text(), re.M), lines.text())
    for one in w, of_other, lines:
        one.end()
    check("an unknown route", "no route of that name" in ctl("watch", "--route", "nobody", code=64))


def duplex(program, socket, door, behind):
    """The flow back of a channel to another gateway."""
    setup(program, socket, behind)
    s = dial(door)
    check("echo", echoes(s, b"x" * 5000))

    def channel():
        found = sessions()["sessions"]
        return found[0]["channels"][0] if found else {}

    until("bytes", lambda: (channel().get("back") or {}).get("bytes_out") == 5000)
    until("waits", lambda: channel()["back"]["waiting_for"] == channel()["waiting_for"] == "source")
    check("they are not connections of workers", sessions()["routes"] == [], sessions()["routes"])
    text = ctl("sessions")
    check("text", re.search(r"^    back    4\.88 KiB, mean .*bit/s, waits for source$", text, re.M), text)


run_cases({f.__name__: f for f in (listed, released, many, watched, duplex)})
