#!/usr/bin/python3
"""make bench-tcp: applications' TCP connections through gateways and through what people use today, in the same run, in turn, medians of N.

Needs iperf3, haproxy, nginx with its stream module (Debian: nginx, libnginx-mod-stream), stunnel4 and openssl; a peer that is missing is said, and
the rows are beside the others. As root it moves into a network namespace of its own with the congestion control reno, since BBR paces a
connection and would itself be measured; the rows over veth make two more, for the two applications. All of it is in one machine, so the load and
the relays share its processors, and only ratios mean something.

Peers: haproxy with a thread for each processor, with splice and without; nginx with a worker for each, buffers of 256 KiB; both without a log. Where
the table says "best", each figure is held against the best that any peer has reached in that figure. CPU seconds are those of the relaying processes
(ours: control and workers) for each 10^9 bytes of the stream.
Usage: bench_tcp.py BUILD_DIR [--runs N] [--seconds S] [--only GROUP]... [--list] [--json FILE]
"""
import functools, glob, json, os, re, resource, shutil, statistics, subprocess, sys, time

sys.dont_write_bytecode = True
import common
from common import (Direct, Gateway, children_of, cpu_of, free_port, hole, in_work, iperf_end, iperf_server, median_of, own_namespace, program, row,
                    run, start, stop, wait_listen, wait_until)

HERE = "127.0.0.1"
RAW = {}        # everything measured: {group: {relay: [run, …]}}, for the JSON file
MISSING = set()


def most():
    """Connections that a relay may have at once: each takes two descriptors, and haproxy wants some for pipes."""
    return min(12000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200) // 3)


# ---------------------------------------------------------------- relays: ours and others, all with the same face

class Relay:
    """Whatever takes connections at (at, port). procs: started by us; their children belong to it, too."""

    def __init__(self, at, port, *procs):
        self.at, self.port, self.procs = at, port, procs
        wait_listen(port)

    def pids(self):
        return [pid for p in self.procs for pid in (p.pid, *children_of(p.pid))]

    def holders(self):
        """The processes that hold connections."""
        return self.pids()

    def cpu(self):
        return sum(map(cpu_of, self.pids()))

    def close(self):
        stop(*self.procs)


class Ours(Relay):
    """One gateway, or two by a link (None, "plaintext" or "tls")."""

    def __init__(self, to, at=HERE, link=None):
        port, conf, more = free_port(), "workers = 0", f"connections = {most()}"
        self.gateways = []
        if link:
            plain = "plaintext = yes" if link == "plaintext" else ""
            b = Gateway("B", conf, f'accept = {{"link"}} connect = "tcp://{to}" {plain} channels = 1000')
            a = Gateway("A", conf, f'accept = {{"tcp://{at}:{port}"}} connect = "gateway://{b.host}:{b.port}/bench" connect_pin = {{"{b.pin}"}} '
                        f'{plain} {more} channels = 1000')
            self.gateways = [a, b]
        else:
            self.gateways = [Gateway("A", conf, f'accept = {{"tcp://{at}:{port}"}} connect = "tcp://{to}" {more}')]
        super().__init__(at, port, *(g.proc for g in self.gateways))


# Of haproxy's ways to move bytes, each with what has measured best for it: CPU-s/GB of one hop with pipes of 64K, 256K, 1M: 0.22, 0.11, 0.08; with
# buffers of 16K, 64K, 256K: 0.78, 0.35, 0.23 (a TLS pair 2.5, 2.0, 1.8). Its splice-auto copies most of such a stream: 0.76.
SPLICE = {"options": "  option splice-request\n  option splice-response", "tune": "  tune.pipesize 1048576"}
COPY = {"tune": "  tune.bufsize 262144"}


class Haproxy(Relay):
    """One process, or a chain of two, the connection between them plain or TLS."""

    def __init__(self, to, at=HERE, way=COPY, hops=1, tls=False):
        name, port, between = f"relay-{free_port()}", free_port(), free_port()
        kw = dict(way, maxconn=most())
        procs = []
        if hops == 2:
            crypt = f" ssl crt {certificate()} ssl-min-ver TLSv1.3 ciphersuites {CIPHER}" if tls else ""
            procs.append(common.haproxy(f"{name}b", f"{HERE}:{between}{crypt}", to, **kw))
            to = f"{HERE}:{between}" + (f" ssl verify none ssl-min-ver TLSv1.3 ciphersuites {CIPHER}" if tls else "")
        procs.append(common.haproxy(name, f"{at}:{port}", to, **kw))
        super().__init__(at, port, *procs)


NGINX = """{module}
worker_processes auto;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections {connections}; }}
stream {{
  access_log off;
  proxy_buffer_size {buffer};
  server {{ listen {at}:{port} backlog=4096; proxy_pass {to}; proxy_connect_timeout 5s; tcp_nodelay on; }}
}}
"""


class Nginx(Relay):
    def __init__(self, to, at=HERE, buffer="256k"):
        port = free_port()
        folder = in_work(f"nginx-{port}")
        os.mkdir(folder)
        module = glob.glob("/usr/lib*/nginx/modules/ngx_stream_module.so")
        path = os.path.join(folder, "conf")
        with open(path, "w") as f:
            f.write(NGINX.format(module=f"load_module {module[0]};" if module else "", connections=2 * most(), folder=folder, at=at, port=port, to=to,
                                 buffer=buffer))
        p = start(["nginx", "-c", path, "-p", folder, "-e", f"{folder}/error.log"], stderr=subprocess.DEVNULL)
        wait_until("nginx has workers", lambda: children_of(p.pid) or p.poll() is not None)
        super().__init__(at, port, p)

    def holders(self):
        return children_of(self.procs[0].pid)


STUNNEL = """foreground = yes
pid =
debug = err
sslVersion = TLSv1.3
ciphersuites = {cipher}
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[relay]
accept = {at}
connect = {to}
{more}
"""
CIPHER = "TLS_AES_256_GCM_SHA384"   # that of our links


class StunnelPair(Relay):
    def __init__(self, to, at=HERE):
        port, between = free_port(), free_port()
        procs = [self.begin("b", f"{HERE}:{between}", to, f"cert = {certificate()}"),
                 self.begin("a", f"{at}:{port}", f"{HERE}:{between}", "client = yes")]
        wait_listen(between)
        super().__init__(at, port, *procs)

    def begin(self, name, at, to, more):
        path = in_work(f"stunnel-{name}.conf")
        with open(path, "w") as f:
            f.write(STUNNEL.format(cipher=CIPHER, at=at, to=to, more=more))
        return start([shutil.which("stunnel4") or "stunnel", path], stderr=subprocess.DEVNULL)


def certificate():
    pem = in_work("peers.pem")
    if not os.path.exists(pem):
        run([*"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost".split(),
             "-keyout", pem + ".key", "-out", pem + ".crt"], check=True)
        with open(os.open(pem, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(open(pem + ".crt").read() + open(pem + ".key").read())
    return pem


class Nothing(Relay):
    """The server itself."""

    def __init__(self, to, at=HERE):
        self.at, self.port, self.procs = at, int(to.rsplit(":", 1)[1]), ()


def needs(command, make):
    """That relay, if the machine has the command; else None, said once."""
    have = all(shutil.which(c) or c == "stunnel" and shutil.which("stunnel4") for c in command.split())
    if not have:
        MISSING.add(command)
    return make if have else None


ONE_HOP = {"ours": Ours, "haproxy splice": needs("haproxy", functools.partial(Haproxy, way=SPLICE)), "haproxy copy": needs("haproxy", Haproxy),
           "nginx": needs("nginx", Nginx)}


class Bench:
    """All relays of a group, made at once, as idle ones cost nothing; what they are asked in turn, and what came of it."""

    def __init__(self, group, makers, to, **kw):
        self.runs = RAW[group] = {name: [] for name, make in makers.items() if make}
        self.relays = {}
        for name, make in makers.items():
            if make and (not common.ARGS.without_ours or not name.startswith("ours")):
                self.relays[name] = make(to, **kw)

    def turns(self, measure, *args):
        for _ in range(common.ARGS.runs):
            for name, relay in self.relays.items():
                self.runs[name].append(measure(relay, *args))

    def close(self):
        for r in self.relays.values():
            r.close()

    def median(self, name, key):
        return median_of(self.runs[name], key) if self.runs.get(name) else None

    def peers(self):
        return [n for n in self.runs if n not in ("ours", "direct") and self.runs[n]]

    def best(self, key, least=False):
        return (min if least else max)((self.median(n, key) for n in self.peers()), default=None)

    def all_of(self, key, digits=1):
        return ", ".join(f"{n} {self.median(n, key):.{digits}f}" for n in self.runs if self.runs[n] and n != "ours")


# ---------------------------------------------------------------- iperf3

class Place:
    """Where the two applications are: here, or each in a namespace of its own behind a pair of veth."""

    def __init__(self, mtu=None):
        self.procs, self.client, self.server, self.at, self.backend = [], [], [], HERE, HERE
        if mtu:
            self.at, self.backend = "10.201.1.1", "10.201.2.2"
            self.client = self.namespace("vc", mtu, "10.201.1.2", self.at)
            self.server = self.namespace("vs", mtu, self.backend, "10.201.2.1")

    def namespace(self, name, mtu, there, here):
        p = start(["unshare", "-n", "sleep", "infinity"])
        mine = os.readlink("/proc/self/ns/net")
        wait_until("a network namespace", lambda: os.readlink(f"/proc/{p.pid}/ns/net") != mine)
        inside = ["nsenter", "-t", str(p.pid), "-n"]
        for command in (f"ip link add {name} mtu {mtu} type veth peer name {name}p mtu {mtu} netns {p.pid}", f"ip addr add {here}/24 dev {name}",
                        f"ip link set {name} up"):
            run(command.split(), check=True)
        for command in (f"ip addr add {there}/24 dev {name}p", f"ip link set {name}p up", "ip link set lo up",
                        "sysctl -q -w net.ipv4.tcp_congestion_control=reno"):
            run([*inside, *command.split()], check=True)
        self.procs.append(p)
        return inside

    def close(self):
        stop(*self.procs)


def one_iperf(relay, place, port):
    server = iperf_server(port, prefix=place.server)
    before = relay.cpu()
    got = iperf_end(relay.at, relay.port, common.ARGS.seconds, prefix=place.client)
    cpu = relay.cpu() - before
    stop(server)
    return {"gbit": got["bits_per_second"] / 1e9, "cpu_gb": cpu / (got["bytes"] / 1e9)}


def iperf_rows(group, title, makers, reach, mtu=None):
    place, port = Place(mtu), free_port()
    b = Bench(group, makers, f"{place.backend}:{port}", at=place.at)
    b.turns(one_iperf, place, port)
    b.close()
    place.close()
    row(f"{title} [Gbit/s] vs best", b.median("ours", "gbit"), b.best("gbit"), f">= {reach[0]}", b.all_of("gbit"))
    row(f"{title} [CPU-s/GB] vs least", b.median("ours", "cpu_gb"), b.best("cpu_gb", least=True), f"<= {reach[1]}", b.all_of("cpu_gb", 3))


def bench_lo():
    iperf_rows("lo", "iperf3, one gateway, loopback", dict(ONE_HOP, direct=Nothing), (1.0, 1.0))


def bench_veth():
    if os.geteuid() != 0:
        print("veth: only root can make network namespaces")
        return
    for mtu in (1500, 9000):
        iperf_rows(f"veth {mtu}", f"iperf3, one gateway, veth MTU {mtu}", ONE_HOP, (1.0, 1.0), mtu)


def bench_links():
    chain = functools.partial(Haproxy, hops=2)
    iperf_rows("links", "iperf3, two gateways, plaintext link", {
        "ours": functools.partial(Ours, link="plaintext"), "haproxy chain splice": needs("haproxy", functools.partial(chain, way=SPLICE)),
        "haproxy chain copy": needs("haproxy", chain)}, (1.0, 1.0))
    iperf_rows("tls", "iperf3, two gateways, TLS link", {
        "ours": functools.partial(Ours, link="tls"), "haproxy TLS pair": needs("haproxy openssl", functools.partial(chain, tls=True)),
        "stunnel pair": needs("stunnel openssl", StunnelPair)}, (1.2, 0.8))


# ---------------------------------------------------------------- tcpload

def load(mode, relay, port, *options):
    """tcpload's server is at port, its client goes to the relay."""
    return start([program("tcpload"), mode, "--port", str(port), "--to", f"{relay.at}:{relay.port}", "--seconds", str(common.ARGS.seconds),
                  *map(str, options)], stdout=subprocess.PIPE, text=True)


def one_load(relay, mode, port, *options):
    p = load(mode, relay, port, *options)
    out, _ = p.communicate(timeout=common.PATIENCE)
    if p.returncode:
        raise RuntimeError(f"tcpload {mode} through {type(relay).__name__}: status {p.returncode}")
    return json.loads(out)


def bench_rtt():
    for size, name in ((64, "64 B"), (65536, "64 KiB")):
        port = free_port()
        b = Bench(f"rtt {size}", dict(ONE_HOP, direct=Nothing), f"{HERE}:{port}")
        b.turns(one_load, "rtt", port, "--size", size)
        b.close()
        for key, what in (("p50_us", "p50"), ("p99_us", "p99")):
            row(f"round trip of {name}, one gateway, {what} [us] vs nginx", b.median("ours", key), b.median("nginx", key), "<= 1.0", b.all_of(key))


MESSAGE = 65536


def bench_delay():
    """The load is a share of what the slower of ours and haproxy at its best can carry, so that none of them is beyond its own limit."""
    port = free_port()
    makers = {k: v for k, v in ONE_HOP.items() if k != "nginx"}
    b = Bench("delay, most", dict(makers, direct=Nothing), f"{HERE}:{port}")
    b.turns(one_load, "flow", port, "--size", MESSAGE)
    carried = min(m for m in (b.median("ours", "gbit"), b.best("gbit")) if m)
    for share in (50, 90):
        b.runs = RAW[f"delay {share}"] = {name: [] for name in b.relays}
        b.turns(one_load, "flow", port, "--size", MESSAGE, "--rate", carried * 1e9 / 8 * share / 100)
        row(f"delay of 64 KiB messages at {share} % load, p99 [us] vs haproxy", b.median("ours", "p99_us"), b.best("p99_us", least=True), "<= 1.0",
            f"{carried * share / 100:.1f} Gbit/s; {b.all_of('p99_us')}")
        row(f"    p50 [us]", b.median("ours", "p50_us"), b.best("p50_us", least=True), "reported", b.all_of("p50_us"))
    b.close()


def resident_mib(pids):
    """Proportional sizes: what several processes map, or one maps twice, counts once."""
    return sum(int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M).group(1)) for pid in pids) / 1024


def one_many(relay, port, idle, busy):
    before = relay.cpu()
    p = load("many", relay, port, "--idle", idle, "--busy", busy)
    if not p.stdout.readline():
        p.wait()
        raise RuntimeError(f"tcpload many through {type(relay).__name__}: status {p.returncode}")
    time.sleep(1 + common.ARGS.seconds / 2)    # in the middle of its window
    mib = resident_mib(relay.holders())
    out, _ = p.communicate(timeout=common.PATIENCE)
    said = json.loads(out)
    if said["idle_lost"]:
        raise RuntimeError(f"{said['idle_lost']} idle connections were lost")
    return dict(said, mib=mib, cpu_s=relay.cpu() - before)


def bench_many():
    port, what = free_port(), "5000 idle + 500 busy connections"
    b = Bench("many", {"ours": Ours, "nginx": needs("nginx", Nginx), "nginx 16k": needs("nginx", functools.partial(Nginx, buffer="16k")),
                       "haproxy 16k": needs("haproxy", functools.partial(Haproxy, way={}))}, f"{HERE}:{port}")
    b.turns(one_many, port, 5000, 500)
    b.close()
    row(f"{what}, together [Gbit/s] vs nginx", b.median("ours", "gbit"), b.median("nginx", "gbit"), ">= 0.95", b.all_of("gbit"))
    row("    largest share / smallest share of the busy ones", b.median("ours", "max_by_min"), b.median("nginx", "max_by_min"), "ours <= 2",
        b.all_of("max_by_min", 2))
    row("    resident [MiB] vs nginx", b.median("ours", "mib"), b.median("nginx", "mib"), "<= 1.2", b.all_of("mib"))


def bench_connects():
    port = free_port()
    b = Bench("connects", ONE_HOP, f"{HERE}:{port}")
    b.turns(one_load, "connect", port, "--at-once", 64)
    b.close()
    errors = {n: sum(r["errors"] for r in runs) for n, runs in b.runs.items()}
    row("connections set up and closed, 64 at once [1/s] vs best haproxy", b.median("ours", "per_s"),
        max((b.median(n, "per_s") for n in b.peers() if n.startswith("haproxy")), default=None), ">= 0.9",
        b.all_of("per_s", 0) + "".join(f"; {n}: {e} errors" for n, e in errors.items() if e))


# ---------------------------------------------------------------- ucx in, tcp out

def one_mixed(gateway, files, port):
    sink = start([program("tcpload"), "sink", "--port", str(port)], stdout=subprocess.PIPE, text=True)
    wait_listen(port)
    before = cpu_of(gateway.proc.pid) + gateway.cpu()
    out = run([*gateway.argv("scistream-send", "--require", "ucx", "--device", "lo", "--no-digest"), *files])
    if out.returncode:
        raise RuntimeError(f"scistream-send: {out.stderr.strip()}")
    said = json.loads(sink.communicate(timeout=common.PATIENCE)[0])
    return {"gbit": said["gbit"], "cpu_gb": (cpu_of(gateway.proc.pid) + gateway.cpu() - before) / (said["bytes"] / 1e9)}


def two_hops(files):
    """The first as a stream of its own from utility to utility, the second as a TCP connection with nothing between."""
    port = free_port()
    d = Direct("ucx", "--no-digest")
    send = start(d.argv(files, "--no-digest"), stdout=subprocess.PIPE, text=True)
    tcp = one_load(Nothing(f"{HERE}:{port}"), "flow", port, "--size", 262144)
    out, _ = send.communicate(timeout=common.PATIENCE)
    d.receiver_report()
    ucx = json.loads(out)["goodput_bit_s"] / 1e9
    return {"gbit": min(ucx, tcp["gbit"]), "ucx": ucx, "tcp": tcp["gbit"]}


def bench_mixed():
    files, port = [hole(common.ARGS.gib << 10)], free_port()
    g = Gateway("A", 'workers = 0\nucx { devices = {"lo"} }', f'accept = {{"ucx"}} connect = "tcp://{HERE}:{port}" channels = 8')
    runs = RAW["mixed"] = {"ours": [], "hops": []}
    for _ in range(common.ARGS.runs):
        runs["ours"].append(one_mixed(g, files, port))
        runs["hops"].append(two_hops(files))
    g.close()
    row("ucx in, tcp out [Gbit/s] vs the slower of its hops, both at once", median_of(runs["ours"]), median_of(runs["hops"]), ">= 0.9",
        f"ucx {median_of(runs['hops'], 'ucx'):.1f}, tcp {median_of(runs['hops'], 'tcp'):.1f}; "
        f"{median_of(runs['ours'], 'cpu_gb'):.2f} CPU-s/GB in the gateway")


# ---------------------------------------------------------------- main

BENCHES = {"lo": bench_lo, "veth": bench_veth, "links": bench_links, "rtt": bench_rtt, "delay": bench_delay, "many": bench_many,
           "connects": bench_connects, "mixed": bench_mixed}


def raise_limits():
    """Descriptors for all; connections set up and closed use up ports, so all are in use and those in TIME_WAIT are taken again."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for most in (65536, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, max(most, hard)))
            break
        except ValueError:    # even root may not raise it everywhere
            pass
    if os.environ.get("SCISTREAM_BENCH_NS"):
        run(["sysctl", "-q", "-w", "net.ipv4.tcp_tw_reuse=1"])
        run(["sysctl", "-q", "-w", "net.ipv4.ip_local_port_range=10240 65535"])


def main():
    p = common.arguments(__doc__, BENCHES, "bench-tcp.json")
    p.add_argument("--gib", type=int, default=4, help="streamed in each run of the group mixed")
    args = p.parse_args()
    if args.list:
        print("\n".join(BENCHES))
        return
    own_namespace()
    raise_limits()
    common.begin(args)
    for m in sorted(MISSING):
        print(f"missing here: {m}")
    common.measure(args, BENCHES)
    common.write_json(args.json, seconds=args.seconds, raw=RAW)


if __name__ == "__main__":
    main()
