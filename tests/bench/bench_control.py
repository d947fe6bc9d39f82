#!/usr/bin/python3
"""make bench-control: sessions of scistream.Control, as SciStream's own client arranges them: how fast they come and go, what they take, and what
applications get through two gateways that one joins, beside haproxy in the same run, in turn, medians of N.

Needs for the streams iperf3, haproxy, openssl and python3-zmq, and python3-grpcio for what its users' client gets; what is missing is said, and its rows
are left out. As root it moves into a network namespace of its own. All of it is in one machine, so the load shares its processors. Calls are
measured by ctlload (tests/bench/ctlload.c), since Python's gRPC needs a millisecond for each by itself. Figures of SciStream are those that were
measured of its server here ("SciStream here"), or that it has published ("its talk"); its sleeps are left out on our side only.
The gateways have two and more workers, TLS by pre-shared key on the WAN unless said otherwise, and log each decision, as they do by default.
Usage: bench_control.py BUILD_DIR [--runs N] [--seconds S] [--only GROUP]... [--list] [--json FILE]
"""
import functools, importlib.util, json, os, re, subprocess, sys

sys.dont_write_bytecode = True
import bench_tcp, common
from bench_tcp import HERE, MISSING, RAW, Bench, Haproxy, Nothing, Relay, iperf_rows, needs, raise_limits
from common import ROWS, Gateway, free_port, median_of, own_namespace, program, row, run, start, stop, wait_listen

ENDS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "control_ends.py")
PORTS = 5       # of a session, as s2uc asks for unless told otherwise


def judged(case, ours, peer, reach, note="", ratio=False):
    """A row that is held against its reach: a number, smaller being better; ratio: ours by the peer's, larger being better."""
    met = ours is not None and (ours / peer >= reach if ratio and peer else ours <= reach)
    known = not ratio or peer is not None
    row(case, ours, peer, f"{'>=' if ratio else '<='} {reach} {'yes' if met and known else 'NO' if known else '?'}", note)
    ROWS[-1]["met"] = met if known else None


# ---------------------------------------------------------------- gateways with sessions

def gateway(name="G", ports="5100-5199", wan="psk", more=""):
    conf = f'log_level = info\nscistream {{ enable = yes  auth = none  wan = {wan}  data_ports = "{ports}" {more} }}'
    return Gateway(name, conf, 'accept = {"link"} connect = "tcp://127.0.0.1:9"')


def ctlload(mode, *gateways, patience=None, **options):
    """What it says."""
    argv = [program("ctlload"), mode]
    for g in gateways:
        argv += ["--gateway", f"{g.port}:{g.folder}/gateway.crt"]
    for name, value in options.items():
        argv += ["--" + name] if value is True else [f"--{name}", str(value)]
    out = run(argv, patience, stdin=subprocess.DEVNULL)
    if out.returncode:
        raise RuntimeError(out.stderr.strip())
    return json.loads(out.stdout)


class Sessions(Relay):
    """Two gateways joined by a session: from the application, by the WAN, to the target."""

    def __init__(self, to, at=HERE, wan="psk"):
        self.gateways = [gateway("P", "5100-5199", wan), gateway("C", "5200-5299", wan)]
        said = ctlload("pair", *self.gateways, sessions=1, ports=1, target=to, hold=True)
        super().__init__(at, int(said["listener"].rsplit(":", 1)[1]), *(g.proc for g in self.gateways))


# ---------------------------------------------------------------- calls

def ms(runs, which, key):
    return median_of([r[which] for r in runs], key) / 1e3


def grpcio(g, n):
    """Mean of the four calls by Python's gRPC [ms], or None."""
    if not importlib.util.find_spec("grpc"):
        MISSING.add("python3-grpcio")
        return None
    out = run([sys.executable, ENDS, "calls", str(g.port), f"{g.folder}/gateway.crt", str(n), str(PORTS)], check=True)
    return json.loads(out.stdout)["mean_ms"]


def bench_calls():
    g = gateway()
    runs, many, by_grpcio = [], [], []
    ctlload("calls", g, sessions=200, ports=PORTS)    # workers and tables are warm
    for _ in range(common.ARGS.runs):
        runs.append(ctlload("calls", g, sessions=2000, ports=PORTS))
        by_grpcio.append(grpcio(g, 500))
    g.close()
    g = gateway(ports="4000-4999", more="sessions = 1000")
    for _ in range(common.ARGS.runs):
        many.append(ctlload("calls", g, sessions=4000, ports=PORTS, clients=200))
    g.close()
    RAW["calls"], RAW["calls of 200"] = runs, many
    each = ", ".join(f"{c} {ms(runs, c, 'mean_us'):.3f}" for c in ("req", "hello", "update", "release"))
    by = f"by Python's gRPC {sorted(by_grpcio)[len(by_grpcio) // 2]:.3f}" if by_grpcio[0] else "no python3-grpcio"
    judged("req + hello + update + release, mean [ms] vs SciStream here, 3 calls", ms(runs, "all", "mean_us"), 4.0, 1.0, f"{each}; {by}")
    judged("    p99 [ms]", ms(runs, "all", "p99_us"), None, 3.0, f"max {ms(runs, 'all', 'max_us'):.3f}")
    row("    p99 of 200 clients at once [ms]", ms(many, "all", "p99_us"), None, "reported",
        f"mean {ms(many, 'all', 'mean_us'):.1f}, {median_of(many, 'per_s'):.0f} sessions/s")
    judged("release, mean [ms] vs its talk", ms(runs, "release", "mean_us"), 3.0, 0.5, f"p99 {ms(runs, 'release', 'p99_us'):.3f}")


def bench_ready():
    p, c = gateway("P", "5100-5199"), gateway("C", "5200-5299")
    ctlload("pair", p, c, sessions=50, ports=PORTS, target=f"{HERE}:{free_port()}")
    runs = [ctlload("pair", p, c, sessions=500, ports=PORTS, target=f"{HERE}:{free_port()}") for _ in range(common.ARGS.runs)]
    p.close()
    c.close()
    RAW["ready"] = runs
    judged("request: both gateways ready to carry bytes, mean [ms] vs its talk", ms(runs, "ready", "mean_us"), 120.0, 5.0,
           f"p99 {ms(runs, 'ready', 'p99_us'):.3f}")
    judged("    first byte through both, mean [ms]", ms(runs, "first_byte", "mean_us"), None, 5.0, f"p99 {ms(runs, 'first_byte', 'p99_us'):.3f}")


# ---------------------------------------------------------------- many sessions

def resident_mb(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"^VmRSS:\s+(\d+)", f.read(), re.M).group(1)) * 1024 / 1e6


def bench_memory():
    n, runs = 1000, []
    for _ in range(common.ARGS.runs):
        g = gateway(ports="3000-9999")
        before = resident_mb(g.proc.pid)
        ctlload("calls", g, sessions=n, ports=PORTS, clients=16, hold=True)
        runs.append({"mb": resident_mb(g.proc.pid), "before": before})
        g.close()
    RAW["memory"] = runs
    judged(f"resident set of control, {n} sessions of {PORTS} ports [MB] vs SciStream here, none", median_of(runs, "mb"), 43.0, 24.0,
           f"with none {median_of(runs, 'before'):.1f}")


def descriptors(g):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in (g.proc.pid, *g.workers()))


def lost_ports(g):
    """Of its hundred: those that a session cannot have any more."""
    free = 0
    for _ in range(100 // PORTS):
        try:
            ctlload("calls", g, sessions=1, ports=PORTS, hold=True)
            free += PORTS
        except RuntimeError:
            break
    run([program("scistreamctl"), "--socket", f"{g.folder}/sock", "release", "--route", "scistream:sessions"])
    return 100 - free


def bench_churn():
    g, n = gateway(), common.ARGS.sessions
    ctlload("calls", g, sessions=200, ports=PORTS, clients=16)
    before = descriptors(g)
    runs = [ctlload("calls", g, sessions=n // common.ARGS.runs, ports=PORTS, clients=16, patience=1800) for _ in range(common.ARGS.runs)]
    common.wait_until("descriptors are as before", lambda: descriptors(g) <= before, 10)
    lost = lost_ports(g)
    g.close()
    RAW["churn"] = runs
    rate = median_of(runs, "per_s")
    judged(f"sessions of {PORTS} ports set up and released by 16 clients, each [ms]", 1e3 / rate, None, 1.0, f"{rate:.0f} sessions/s")
    judged(f"    ports lost of 100 after {sum(r['sessions'] for r in runs)}", lost, None, 0)


# ---------------------------------------------------------------- streams

def tls_pair():
    return needs("haproxy openssl", functools.partial(Haproxy, hops=2, tls=True))


def bench_iperf():
    if not needs("iperf3", Sessions):
        return
    iperf_rows("sessions", "iperf3, two gateways of a session, TLS by pre-shared key", {"ours": Sessions, "haproxy TLS pair": tls_pair()}, (1.2, 1.0))


def one_zeromq(relay, port, size):
    argv = [sys.executable, ENDS]
    pub = start([*argv, "publish", str(port), str(size)], stdin=subprocess.PIPE)
    wait_listen(port)
    before = relay.cpu()
    out = run([*argv, "subscribe", str(relay.port), str(size), str(common.ARGS.seconds / 2)])
    cpu = relay.cpu() - before
    pub.stdin.close()
    stop(pub)
    if out.returncode or not out.stdout:
        raise RuntimeError(f"ZeroMQ through {type(relay).__name__}: {out.stderr.strip()}")
    said = json.loads(out.stdout)
    return dict(said, cpu_gb=cpu / (said["bytes"] / 1e9))


def zeromq_rows(name, makers):
    port = free_port()
    b = Bench(f"zeromq {name}", dict(makers, direct=Nothing), f"{HERE}:{port}")
    for size in (1 << n for n in range(9, 21)):
        b.runs = RAW[f"zeromq {name} {size}"] = {n: [] for n in b.relays}
        b.turns(one_zeromq, port, size)
        ours, direct = b.median("ours", "gbit"), b.median("direct", "gbit")
        cpu = ", ".join(f"{n} {b.median(n, 'cpu_gb'):.2f}" for n in b.runs if n != "direct")
        judged(f"ZeroMQ PUB/SUB {size} B, {name} [Gbit/s] vs haproxy", ours, b.best("gbit"), 1.0,
               f"direct {direct:.2f}, ratio to it {ours / direct:.2f}; CPU-s/GB {cpu}", ratio=True)
    b.close()


def bench_zeromq():
    if not importlib.util.find_spec("zmq"):
        MISSING.add("python3-zmq")
        return
    zeromq_rows("plaintext", {"ours": functools.partial(Sessions, wan="plaintext"), "haproxy": needs("haproxy", functools.partial(Haproxy, hops=2))})
    zeromq_rows("TLS", {"ours": Sessions, "haproxy": tls_pair()})


# ---------------------------------------------------------------- main

BENCHES = {"calls": bench_calls, "ready": bench_ready, "memory": bench_memory, "churn": bench_churn, "iperf": bench_iperf, "zeromq": bench_zeromq}


def main():
    p = common.arguments(__doc__, BENCHES, "bench-control.json")
    p.add_argument("--sessions", type=int, default=100000, help="set up and released in the group churn")
    args = p.parse_args()
    if args.list:
        print("\n".join(BENCHES))
        return
    own_namespace()
    raise_limits()
    common.begin(args)
    common.measure(args, BENCHES)
    for m in sorted(MISSING - {"nginx"}):
        print(f"missing here: {m}")
    common.write_json(args.json, seconds=args.seconds, raw=RAW)


if __name__ == "__main__":
    main()
