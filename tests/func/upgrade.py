"""Applications while a gateway is upgraded. echo: the server. hold: one connection; each line that comes goes there and back, until one is "over".
hammer: one short connection after the other, and a burst now and then, until a line comes; says how many were made, and at last how many went wrong."""
import os
import select
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from tcp_ends import END, Echo, address, check, dial, outcome, read_exactly, run_cases, say

BURST = 40    # so many at once that a worker hands some on to another


def echo(at):
    Echo(at)
    say("listens")
    time.sleep(600)


def hold(at):
    s = dial(at)
    for line in sys.stdin:
        if line == "over\n":
            break
        s.sendall(line.encode())
        print(read_exactly(s, len(line)).decode(), end="", flush=True)
    s.shutdown(socket.SHUT_WR)
    check("no clean end", outcome(s) == END)


def hammer(at):
    made = bad = 0
    while not select.select([sys.stdin], [], [], 0.002)[0]:
        many, open_ones = BURST if made % 50 == 0 else 1, []
        try:
            for _ in range(many):
                open_ones.append(socket.create_connection(address(at), timeout=30))
            for i, s in enumerate(open_ones):
                s.sendall(b"%08d" % i)
            for i, s in enumerate(open_ones):
                check("an echo is another", read_exactly(s, 8) == b"%08d" % i)
        except (OSError, SystemExit) as e:
            bad += 1
            print(e, file=sys.stderr, flush=True)
        for s in open_ones:
            s.close()
        made += 1
        say(made)
    say(f"bad {bad}")


run_cases({f.__name__: f for f in (echo, hold, hammer)})
