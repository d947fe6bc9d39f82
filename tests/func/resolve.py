"""Our resolver against a name server of ours, in a network and mount namespace of its own (resolve.sh made them)."""
import os
import socket
import struct
import subprocess
import threading
import time
import unittest

A, AAAA = 1, 28
ASK = os.environ.get("RESOLVE_ASK", "./resolve_ask")

# name -> what each type is answered with; missing: NXDOMAIN
ZONE = {
    "both.test": {A: ["192.0.2.1"], AAAA: ["2001:db8::1"]},
    "four.test": {A: ["192.0.2.4", "192.0.2.5"], AAAA: []},
    "six.test": {A: [], AAAA: ["2001:db8::6"]},
    "none.test": {A: [], AAAA: []},
    "four-only.test": {A: ["192.0.2.6"]},                                   # silence for the other type
    "late.test": {A: ["192.0.2.9"], AAAA: []},
    "many.test": {A: ["192.0.2.%d" % i for i in range(20, 50)], AAAA: []},  # truncated over UDP
    "half.test": {A: ["192.0.2.7"], AAAA: None},                            # SERVFAIL for one type
    "lost.test": {A: ["192.0.2.8"], AAAA: []},                              # the first questions get lost
}
asked = {}


def answer(query, over_udp):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    name, kind = ".".join(labels).lower(), struct.unpack(">H", query[at + 1:at + 3])[0]
    question, zone = query[12:at + 5], ZONE.get(name)
    asked[name, kind] = asked.get((name, kind), 0) + 1
    if name == "silent.test" or (name == "four-only.test" and kind == AAAA) or (name == "lost.test" and asked[name, kind] == 1):
        return None
    if name == "late.test":
        time.sleep(0.5)
    found = zone.get(kind, []) if zone else []
    code = 3 if zone is None else 2 if found is None else 0
    cut = over_udp and len(found or []) > 20
    records = b""
    for text in [] if cut else found or []:
        data = socket.inet_pton(socket.AF_INET if kind == A else socket.AF_INET6, text)
        records += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
    flags = 0x8180 | code | (0x0200 if cut else 0)
    return query[:2] + struct.pack(">HHHHH", flags, 1, 0 if cut else len(found or []), 0, 0) + question + records


def serve_udp(s):
    def one(query, peer):
        if (reply := answer(query, True)):
            s.sendto(reply, peer)
    while True:
        threading.Thread(target=one, args=s.recvfrom(2000), daemon=True).start()


def serve_tcp(s):
    while True:
        c, _ = s.accept()
        head = c.recv(2)
        reply = answer(c.recv(int.from_bytes(head, "big")), False)
        c.sendall(len(reply).to_bytes(2, "big") + reply)
        c.close()


class Resolve(unittest.TestCase):
    def ask(self, *names):
        begin = time.monotonic()
        p = subprocess.run([ASK, *names], capture_output=True, text=True, timeout=60)
        self.assertEqual((p.returncode, p.stderr), (0, ""))
        self.took = time.monotonic() - begin
        return dict(line.split(" ", 1) for line in p.stdout.splitlines())

    def test_addresses(self):
        got = self.ask("both.test", "four.test", "six.test", "half.test")
        self.assertEqual(set(got["both.test"].split()), {"192.0.2.1:80", "[2001:db8::1]:80"})
        self.assertEqual(set(got["four.test"].split()), {"192.0.2.4:80", "192.0.2.5:80"})
        self.assertEqual(got["six.test"], "[2001:db8::6]:80")
        self.assertEqual(got["half.test"], "192.0.2.7:80")

    def test_truncated(self):
        got = self.ask("many.test")["many.test"].split()
        self.assertEqual(len(got), 8)
        self.assertTrue(all(a.startswith("192.0.2.") for a in got))

    def test_failures(self):
        for name in "nothing.test", "none.test":
            self.assertIn(f'"{name}" cannot be resolved: ', self.ask(name)[name])

    def test_nobody_waits_for_another(self):
        got = self.ask("late.test", "four.test", "localhost", "192.0.2.77")
        self.assertEqual(list(got)[-1], "late.test")
        self.assertEqual(got["late.test"], "192.0.2.9:80")
        self.assertIn("127.0.0.1:80", got["localhost"])

    def test_dropped_half_way(self):
        """What has one half of its answer leaves nothing behind: a sanitizer would say so."""
        self.assertEqual(list(self.ask("late.test", "--", "four-only.test", "silent.test")), ["late.test"])

    def test_question_is_asked_again(self):
        self.assertEqual(self.ask("lost.test")["lost.test"], "192.0.2.8:80")
        self.assertGreater(self.took, 1.5)

    def test_silent_server(self):
        self.assertIn("cannot be resolved: ", self.ask("silent.test")["silent.test"])
        self.assertLess(self.took, 40)


if __name__ == "__main__":
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 53))
    tcp = socket.create_server(("127.0.0.1", 53))
    threading.Thread(target=serve_udp, args=(udp,), daemon=True).start()
    threading.Thread(target=serve_tcp, args=(tcp,), daemon=True).start()
    unittest.main()
