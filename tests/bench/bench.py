#!/usr/bin/python3
"""make bench: ours and a peer in the same run, medians of N, as a table and as JSON (bench.json in the build folder).

Needs iperf3, haproxy, openssl and ucx_perftest; rows whose peer is missing say so. Nothing else should run on the machine meanwhile.
As root it moves into a network namespace of its own with the congestion control reno: BBR paces a loopback connection, so that one
would measure the pacer. The source of the rows beside a peer is a file without blocks, which costs a read next to nothing, as the peers send one
buffer again and again, and neither side computes a digest; the rows "real data" read 64 MiB in memory again and again and compute it.
Usage: bench.py BUILD_DIR [--runs N] [--seconds S] [--only WORD] [--json FILE]
"""
import argparse, concurrent.futures, json, os, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

ARGS = None
WORK = None
ROWS = []
CHILDREN = []


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


def start(argv, **kw):
    p = subprocess.Popen(argv, **kw)
    CHILDREN.append(p)
    return p


def stop(*procs):
    for p in procs:
        if p.poll() is None:
            p.terminate()
    for p in procs:
        try:
            p.wait(5)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


def program(name):
    return os.path.join(ARGS.build, name)


def data_file(mib):
    """Real bytes in memory, made once."""
    path = os.path.join(WORK, f"data-{mib}")
    if not os.path.exists(path):
        block = os.urandom(1 << 20)
        with open(path, "wb") as f:
            for _ in range(mib):
                f.write(block)
    return path


def hole(gib):
    """A file of zeros that has no blocks."""
    path = os.path.join(WORK, f"hole-{gib}")
    with open(path, "wb") as f:
        f.truncate(gib << 30)
    return path


def cpu_of(pid):
    """User + system seconds of a process, its ended children not included."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tree(pid):
    kids = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [int(k) for k in kids]


# ---------------------------------------------------------------- our programs

def secret_file():
    path = os.path.join(WORK, "secret")
    if not os.path.exists(path):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(os.urandom(32).hex() + "\n")
    return path


class Direct:
    """scistream-recv --listen, and what it takes to send to it."""

    def __init__(self, transport, *recv_options):
        self.port = free_port()
        self.transport = transport
        device = ["--device", "lo"] if transport == "ucx" else []
        self.log = open(os.path.join(WORK, f"recv-{self.port}.log"), "w+")
        self.recv = start([program("scistream-recv"), "--listen", f"127.0.0.1:{self.port}", "--secret-file", secret_file(), "--require",
                           transport, "--report", "json", *device, *recv_options], stdout=subprocess.DEVNULL, stderr=self.log)
        wait_port(self.port)
        deadline = time.monotonic() + 10
        while "sha256:" not in self.text() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.pin = re.search(r"sha256:[0-9a-f]{64}", self.text()).group(0)

    def text(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def argv(self, files, *options):
        device = ["--device", "lo"] if self.transport == "ucx" else []
        return [program("scistream-send"), "--secret-file", secret_file(), "--pin", self.pin, "--report", "json", "-q", "--require", self.transport,
                *device, *options, f"direct://127.0.0.1:{self.port}", *files]

    def receiver_report(self):
        self.recv.wait(30)
        lines = [l for l in self.text().splitlines() if l.startswith("{")]
        return json.loads(lines[-1])


def one_direct(transport, files, recv_options=(), send_options=()):
    d = Direct(transport, *recv_options)
    out = subprocess.run(d.argv(files, *send_options), capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError(f"scistream-send: {out.stderr}")
    sent, got = json.loads(out.stdout), d.receiver_report()
    gb = sent["bytes"] / 1e9
    return {"gbit": sent["goodput_bit_s"] / 1e9, "cpu_gb": (sent["cpu_seconds"] + got["cpu_seconds"]) / gb}


class Gateways:
    """Two gateways on loopback, A dials B, as the demo has them."""

    def __init__(self, window="4M", channels=256, workers=0):
        self.ports = {}
        self.procs = {}
        self.secret = secret_file()
        self.pin = {}
        for name in "BA":
            self.make(name, window, channels, workers)

    def make(self, name, window, channels, workers):
        folder = os.path.join(WORK, f"gw{name}")
        shutil.rmtree(folder, ignore_errors=True)
        out = subprocess.run([program("scistreamd"), "--init", folder, "--name", "localhost"], capture_output=True, text=True, check=True).stdout
        self.pin[name] = re.search(r"sha256:[0-9a-f]{64}", out).group(0)
        self.ports[name] = free_port()
        first = free_port()
        route = (f'accept = {{"ucx", "link"}} connect = "gateway://127.0.0.1:{self.ports.get("B")}/bench" connect_pin = {{"{self.pin.get("B")}"}}'
                 if name == "A" else 'accept = {"link"} deliver = {"ucx", "link"}')
        conf = os.path.join(folder, "bench.conf")
        with open(conf, "w") as f:
            f.write(f'name = "{name}"\nlisten = "127.0.0.1:{self.ports[name]}"\nlink_ports = "{first}-{min(first + 99, 65535)}"\n'
                    f'control_socket = "{folder}/sock"\nuser = "root"\nworkers = {workers}\nlog_level = warn\n'
                    f'certificate = "{folder}/gateway.crt"\nkey = "{folder}/gateway.key"\nucx {{ devices = {{"lo"}} }}\n'
                    f'route "bench" {{ {route} secret_file = "{self.secret}" window = {window} channels = {channels} }}\n')
        self.procs[name] = start([program("scistreamd"), "-c", conf])
        wait_port(self.ports[name])
        time.sleep(0.5)

    def argv(self, prog, name, *options):
        return [program(prog), "--secret-file", self.secret, "--pin", self.pin[name], "--report", "json", "-q", *options,
                f"gateway://127.0.0.1:{self.ports[name]}/bench"]

    def workers(self, name):
        return tree(self.procs[name].pid)

    def close(self):
        stop(*self.procs.values())


def one_path(gw, files, *options):
    before = {n: sum(map(cpu_of, gw.workers(n))) for n in "AB"}
    recv = start(gw.argv("scistream-recv", "B", "--require", "ucx", "--device", "lo", *options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    out = subprocess.run(gw.argv("scistream-send", "A", "--require", "ucx", "--device", "lo", *options) + list(files), capture_output=True, text=True)
    _, err = recv.communicate(timeout=60)
    if out.returncode or recv.returncode:
        raise RuntimeError(f"stream through two gateways failed: {out.stderr} {err}")
    sent, got = json.loads(out.stdout), json.loads([l for l in err.splitlines() if l.startswith("{")][-1])
    gb = sent["bytes"] / 1e9
    cpu = {n: (sum(map(cpu_of, gw.workers(n))) - before[n]) / gb for n in "AB"}
    return {"gbit": sent["goodput_bit_s"] / 1e9, "send": sent["cpu_seconds"] / gb, "A": cpu["A"], "B": cpu["B"], "recv": got["cpu_seconds"] / gb}


# ---------------------------------------------------------------- peers

def iperf(port_to, seconds):
    """One iperf3 stream to whatever forwards port_to to the server; Gbit/s at the receiver."""
    out = subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", str(port_to), "-t", str(seconds), "-J"], capture_output=True, text=True)
    return json.loads(out.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9


def one_iperf(seconds):
    port = free_port()
    server = start(["iperf3", "-s", "-1", "-p", str(port)], stdout=subprocess.DEVNULL)
    wait_listen(port)
    gbit = iperf(port, seconds)
    stop(server)
    return {"gbit": gbit}


def wait_listen(port):
    """As wait_port, but without a connection that iperf3 -1 would take for its client."""
    want = f":{port:04X} "
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if any(want in l and " 0A " in l for f in ("/proc/net/tcp", "/proc/net/tcp6") for l in open(f)):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


HAPROXY = """global
  maxconn 100
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen a
  bind 127.0.0.1:{a}
  server b 127.0.0.1:{b} ssl verify none
listen b
  bind 127.0.0.1:{b} ssl crt {pem} ssl-min-ver TLSv1.3
  server c 127.0.0.1:{c}
"""


def one_haproxy_tls(seconds):
    """iperf3 -> haproxy -> TLS 1.3 -> haproxy -> iperf3: two processes, as two gateways would be."""
    a, b, c = free_port(), free_port(), free_port()
    pem = os.path.join(WORK, "haproxy.pem")
    if not os.path.exists(pem):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", pem + ".key", "-out",
                        pem + ".crt", "-days", "2", "-subj", "/CN=localhost"], capture_output=True, check=True)
        with open(pem, "w") as f:
            f.write(open(pem + ".crt").read() + open(pem + ".key").read())
    text = HAPROXY.format(a=a, b=b, c=c, pem=pem).split("listen b")
    procs = []
    for i, conf in enumerate((text[0], text[0].split("listen a")[0] + "listen b" + text[1])):
        path = os.path.join(WORK, f"haproxy-{i}.cfg")
        with open(path, "w") as f:
            f.write(conf)
        procs.append(start(["haproxy", "-f", path], stderr=subprocess.DEVNULL))
    wait_listen(a)
    wait_listen(b)
    server = start(["iperf3", "-s", "-1", "-p", str(c)], stdout=subprocess.DEVNULL)
    wait_listen(c)
    gbit = iperf(a, seconds)
    stop(server, *procs)
    return {"gbit": gbit}


def one_ucx_am(_seconds):
    """UCX's own benchmark: active messages of 256 KiB over tcp, blocking in event mode, as our ucx transport sends them."""
    port, env = free_port(), dict(os.environ, UCX_TLS="tcp", UCX_NET_DEVICES="lo")
    server = start(["ucx_perftest", "-p", str(port), "-E", "sleep"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    wait_listen(port)
    out = subprocess.run(["ucx_perftest", "127.0.0.1", "-p", str(port), "-t", "ucp_am_bw", "-s", "262144", "-n", "30000", "-w", "100", "-E", "sleep", "-f"],
                         capture_output=True, text=True, env=env).stdout
    stop(server)
    return {"gbit": float(out.split()[-3]) * (1 << 20) * 8 / 1e9}     # overall bandwidth, MB/s of 2^20


# ---------------------------------------------------------------- rows

def median_of(runs, key="gbit"):
    return statistics.median(r[key] for r in runs)


def row(case, ours, peer, reach, note=""):
    ratio = ours / peer if peer else None
    ROWS.append({"case": case, "ours": ours, "peer": peer, "ratio": ratio, "reach": reach, "note": note})
    print(f"{case:66} {ours:10.3f} {peer if peer else float('nan'):10.3f} {ratio if ratio else float('nan'):7.2f}  {reach:14} {note}", flush=True)


def bench_direct():
    real, zeros, plain, nd = [data_file(64)] * (ARGS.gib * 16), [hole(ARGS.gib)], ("--plaintext",), ("--no-digest",)
    have = {p: shutil.which(p) for p in ("iperf3", "haproxy", "ucx_perftest")}
    ours = {"ucx": ("ucx", ()), "link plaintext": ("link", plain), "link TLS": ("link", ())}
    peers = {"ucx": ("ucx_perftest", one_ucx_am), "link plaintext": ("iperf3", one_iperf), "link TLS": ("haproxy", one_haproxy_tls)}
    runs = {(kind, k): [] for k in ours for kind in ("zeros", "real", "peer")}
    for _ in range(ARGS.runs):     # in turn, so that a drift of the machine meets all
        for k, (transport, options) in ours.items():
            runs["zeros", k].append(one_direct(transport, zeros, (*options, *nd), nd))
            runs["real", k].append(one_direct(transport, real, options))
            if have[peers[k][0]]:
                runs["peer", k].append(peers[k][1](ARGS.seconds))
    names = {"ucx": "ucx tcp/lo [Gbit/s] vs ucx_perftest AM", "link plaintext": "link plaintext [Gbit/s] vs iperf3",
             "link TLS": "link TLS [Gbit/s] vs haproxy TLS pair"}
    for kind, suffix in (("zeros", ""), ("real", ", real data, digest")):
        for (k, what), reach in zip(names.items(), ("0.8 of 44.8", ">= 0.6", ">= 1.0")):
            r, peer = runs[kind, k], runs["peer", k]
            row(f"direct {what}{suffix}", median_of(r), median_of(peer) if peer else None, reach if kind == "zeros" else "reported",
                f"{median_of(r, 'cpu_gb'):.2f} CPU-s/GB both ends")


def bench_path():
    files = [data_file(64)] * (ARGS.gib * 16)
    gw = Gateways()
    path, hops = [], []
    for _ in range(ARGS.runs):
        path.append(one_path(gw, files))
        hops.append(slowest_hop(files))
    gw.close()
    row("send=ucx=A=TLS=B=ucx=recv [Gbit/s] vs its slowest hop", median_of(path), median_of(hops), ">= 0.9",
        "the three hops as streams of their own, all at once; " + ", ".join(f"{k} {median_of(path, k):.2f}" for k in ("send", "A", "B", "recv")) + " CPU-s/GB")


def slowest_hop(files):
    ends = [Direct("ucx"), Direct("link"), Direct("ucx")]
    sends = [start(e.argv(files), stdout=subprocess.PIPE, text=True) for e in ends]
    gbit = []
    for s, e in zip(sends, ends):
        out, _ = s.communicate(timeout=120)
        gbit.append(json.loads(out)["goodput_bit_s"] / 1e9)
        e.receiver_report()
    return {"gbit": min(gbit)}


def attach_time(gw, number):
    """Seconds from the start of the dialing to READY, as scistream-send reports it (link)."""
    recv = start(gw.argv("scistream-recv", "B", "--require", "link", "--channel", str(number)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return recv


def bench_attach():
    gw = Gateways(channels=256)
    small = os.path.join(WORK, "small")
    open(small, "wb").write(b"x")
    singles = []
    for _ in range(20):
        recv = attach_time(gw, 0)
        time.sleep(0.15)
        out = subprocess.run(gw.argv("scistream-send", "B", "--require", "link", "--channel", "0") + [small], capture_output=True, text=True)
        recv.wait(20)
        singles.append(json.loads(out.stdout)["setup_seconds"] * 1e3)
    row("Attach to READY, link, one [ms] vs SciStream", statistics.median(singles), 120.0, "<= 10 ms", f"max of 20: {max(singles):.1f} ms; connect + TLS included")
    recvs = [attach_time(gw, i) for i in range(200)]
    time.sleep(6)
    t0 = time.monotonic()
    sends = [start(gw.argv("scistream-send", "B", "--require", "link", "--channel", str(i)) + [small], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                   text=True) for i in range(200)]
    outs = [json.loads(s.communicate(timeout=120)[0]) for s in sends]
    for r in recvs:
        r.wait(30)
    ok = [o["setup_seconds"] * 1e3 for o in outs if o["ok"]]
    ok.sort()
    row("Attach to READY, 200 at once, p99 [ms]", ok[int(len(ok) * 0.99) - 1], None, "reported",
        f"{len(ok)} of 200 succeeded in {time.monotonic() - t0:.1f} s, 200 processes started on this machine meanwhile")
    gw.close()


def bench_cold():
    times = []
    small = os.path.join(WORK, "small")
    open(small, "wb").write(b"x" * 64)
    for _ in range(max(5, ARGS.runs)):
        d = Direct("link")
        d.recv.kill()
        port, pipe = d.port, os.pipe()
        log = open(os.path.join(WORK, "cold.log"), "w+")
        recv = start([program("scistream-recv"), "--listen", f"127.0.0.1:{port}", "--secret-file", secret_file(), "--require", "link", "--report", "none"],
                     stdout=pipe[1], stderr=log)
        os.close(pipe[1])
        wait_listen(port)
        while "sha256:" not in open(log.name).read():
            time.sleep(0.01)
        pin = re.search(r"sha256:[0-9a-f]{64}", open(log.name).read()).group(0)
        t0 = time.monotonic()
        send = start([program("scistream-send"), "--secret-file", secret_file(), "--pin", pin, "-q", "--require", "link", f"direct://127.0.0.1:{port}", small])
        os.read(pipe[0], 1)
        times.append((time.monotonic() - t0) * 1e3)
        send.wait(10)
        recv.wait(10)
        os.close(pipe[0])
    row("exec of scistream-send to first byte at receiver, cold [ms]", statistics.median(times), None, "reported", "direct, link TLS")


def rss_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1))


def bench_idle():
    gw = Gateways()
    time.sleep(2)
    control, workers = gw.procs["A"].pid, gw.workers("A")
    c0 = cpu_of(control) + sum(map(cpu_of, workers))
    time.sleep(5)
    used = cpu_of(control) + sum(map(cpu_of, workers)) - c0
    row("resident set of control, idle [MiB] vs SciStream (its talk)", rss_kib(control) / 1024, 10.0, "<= 6 MiB")
    row("resident set of a worker with UCX, idle [MiB]", max(map(rss_kib, workers)) / 1024, None, "<= 10 MiB")
    row("CPU seconds of control and workers in 5 s idle", used, None, "0")
    gw.close()


def own_namespace():
    """As root: this program again in a network namespace of its own, see above."""
    if os.geteuid() != 0 or os.environ.get("SCISTREAM_BENCH_NS"):
        with open("/proc/sys/net/ipv4/tcp_congestion_control") as f:
            print(f"congestion control {f.read().strip()}, {os.cpu_count()} processors")
        return
    script = 'ip link set lo up && sysctl -q -w net.ipv4.tcp_congestion_control=reno && exec "$@"'
    os.environ["SCISTREAM_BENCH_NS"] = "1"
    os.execvp("unshare", ["unshare", "-n", "sh", "-c", script, "sh", sys.executable, *sys.argv])


BENCHES = {"direct": bench_direct, "path": bench_path, "attach": bench_attach, "cold": bench_cold, "idle": bench_idle}


def main():
    global ARGS, WORK
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--seconds", type=int, default=3, help="of each iperf3 run")
    p.add_argument("--gib", type=int, default=4, help="streamed in each run of ours")
    p.add_argument("--only", help="one of " + ", ".join(BENCHES))
    p.add_argument("--json", default="bench.json")
    ARGS = p.parse_args()
    own_namespace()
    WORK = tempfile.mkdtemp(prefix="scistream-bench-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"{'case':66} {'ours':>10} {'peer':>10} {'ratio':>7}  reach")
    try:
        for name, run in BENCHES.items():
            if not ARGS.only or ARGS.only == name:
                run()
    finally:
        stop(*CHILDREN)
        shutil.rmtree(WORK, ignore_errors=True)
    with open(ARGS.json, "w") as f:
        json.dump({"cpus": os.cpu_count(), "kernel": os.uname().release, "runs": ARGS.runs, "rows": ROWS}, f, indent=1)


if __name__ == "__main__":
    main()
