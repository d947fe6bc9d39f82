"""What the benches share: processes and ports, our programs, the peers, the table. A bench calls begin() first and end() in any case."""
import argparse, json, os, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

ARGS = None     # .build: the build folder, .runs, .seconds of a run of a peer; begin() sets them
WORK = None     # a folder in memory, gone at the end
ROWS = []
CHILDREN = []
PATIENCE = 180  # seconds that anything may take


def begin(args):
    global ARGS, WORK
    ARGS = args
    WORK = tempfile.mkdtemp(prefix="scistream-bench-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"{'case':66} {'ours':>10} {'peer':>10} {'ratio':>7}  reach")


def arguments(doc, groups, json):
    """A parser of what all of them are told; groups: by name, what measures each."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build", nargs="?", default=".")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--seconds", type=int, default=3, help="of each stream")
    p.add_argument("--only", action="append", choices=groups, help="this group; again for more")
    p.add_argument("--list", action="store_true", help="the groups")
    p.add_argument("--without-ours", action="store_true", help="the peers alone")
    p.add_argument("--json", default=json)
    return p


def measure(args, groups):
    """begin() must come before; ends it."""
    try:
        for name, group in groups.items():
            if not args.only or name in args.only:
                group()
    finally:
        end()


def end():
    stop(*CHILDREN)
    shutil.rmtree(WORK, ignore_errors=True)


def own_namespace():
    """As root: this program again in a network namespace of its own with the congestion control reno."""
    if os.geteuid() != 0 or os.environ.get("SCISTREAM_BENCH_NS"):
        with open("/proc/sys/net/ipv4/tcp_congestion_control") as f:
            print(f"congestion control {f.read().strip()}, {os.cpu_count()} processors")
        return
    script = 'ip link set lo up && sysctl -q -w net.ipv4.tcp_congestion_control=reno && exec "$@"'
    os.environ["SCISTREAM_BENCH_NS"] = "1"
    os.execvp("unshare", ["unshare", "-n", "sh", "-c", script, "sh", sys.executable, *sys.argv])


def in_work(name):
    return os.path.join(WORK, name)


# ---------------------------------------------------------------- processes and ports

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(what, condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def wait_listen(port, pid="self"):
    """Until somebody listens there, in the network namespace of that process, without a connection that iperf3 -1 would take for its client."""
    want = f":{port:04X} "
    wait_until(f"something listens on port {port}",
               lambda: any(want in l and " 0A " in l for f in ("tcp", "tcp6") for l in open(f"/proc/{pid}/net/{f}")))


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


def run(argv, patience=None, **kw):
    """In the foreground; what it said is in .stdout and .stderr."""
    return subprocess.run(argv, capture_output=True, text=True, timeout=patience or PATIENCE, **kw)


def program(name):
    return os.path.join(ARGS.build, name)


def cpu_of(pid):
    """User + system seconds of a process, its ended children not included."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_of(pid):
    kids = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [int(k) for k in kids]


# ---------------------------------------------------------------- data

def data_file(mib):
    """Real bytes in memory, made once."""
    path = in_work(f"data-{mib}")
    if not os.path.exists(path):
        block = os.urandom(1 << 20)
        with open(path, "wb") as f:
            for _ in range(mib):
                f.write(block)
    return path


def hole(mib):
    """A file of zeros that has no blocks."""
    path = in_work(f"hole-{mib}")
    with open(path, "wb") as f:
        f.truncate(mib << 20)
    return path


def report_in(text):
    """The JSON report among what a utility said."""
    return json.loads([l for l in text.splitlines() if l.startswith("{")][-1])


# ---------------------------------------------------------------- our programs

def secret_file():
    path = in_work("secret")
    if not os.path.exists(path):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(os.urandom(32).hex() + "\n")
    return path


class Direct:
    """scistream-recv --listen, and what it takes to send to it. prefix: a command before scistream-recv (strace)."""

    def __init__(self, transport, *recv_options, host="127.0.0.1", prefix=()):
        self.host, self.port, self.transport = host, free_port(), transport
        self.log = open(in_work(f"recv-{self.port}.log"), "w+")
        self.recv = start([*prefix, program("scistream-recv"), "--listen", f"{host}:{self.port}", "--secret-file", secret_file(), "--require",
                           transport, "--report", "json", *self.device(), *recv_options], stdout=subprocess.DEVNULL, stderr=self.log)
        wait_until("scistream-recv says its command", lambda: "sha256:" in self.text() or self.recv.poll() is not None, 30)
        if "sha256:" not in self.text():
            raise RuntimeError(self.text().strip())
        wait_listen(self.port)
        self.pin = re.search(r"sha256:[0-9a-f]{64}", self.text()).group(0)

    def device(self):
        return ["--device", "lo"] if self.transport == "ucx" else []

    def text(self):
        self.log.flush()
        with open(self.log.name) as f:
            return f.read()

    def argv(self, files, *options):
        return [program("scistream-send"), "--secret-file", secret_file(), "--pin", self.pin, "--report", "json", "-q", "--require", self.transport,
                *self.device(), *options, f"direct://{self.host}:{self.port}", *files]

    def receiver_report(self):
        self.recv.wait(30)
        return report_in(self.text())


def one_direct(transport, files, recv_options=(), send_options=(), **kw):
    """One stream; what sender and receiver say is in "sent" and "got"."""
    d = Direct(transport, *recv_options, **kw)
    out = run([*kw.get("prefix", ()), *d.argv(files, *send_options)])
    if out.returncode:
        stop(d.recv)
        raise RuntimeError(f"scistream-send: {out.stderr.strip()}")
    sent, got = report_in(out.stdout), d.receiver_report()
    return {"gbit": sent["goodput_bit_s"] / 1e9, "cpu_gb": (sent["cpu_seconds"] + got["cpu_seconds"]) / (sent["bytes"] / 1e9), "sent": sent, "got": got}


class Gateway:
    """One scistreamd with the route "bench". conf: lines of its configuration, route: of the route."""

    def __init__(self, name, conf, route, host="127.0.0.1"):
        self.folder, self.host, self.secret = in_work(f"gw{name}"), host, secret_file()
        shutil.rmtree(self.folder, ignore_errors=True)
        out = run([program("scistreamd"), "--init", self.folder, "--name", "localhost"], check=True).stdout
        self.pin = re.search(r"sha256:[0-9a-f]{64}", out).group(0)
        self.port, first = free_port(), free_port()
        path = os.path.join(self.folder, "bench.conf")
        with open(path, "w") as f:
            f.write(f'name = "{name}"\nlisten = "{host}:{self.port}"\nlink_ports = "{first}-{min(first + 99, 65535)}"\n'
                    f'control_socket = "{self.folder}/sock"\nuser = "root"\nlog_level = warn\nmetrics = ""\n'
                    f'certificate = "{self.folder}/gateway.crt"\nkey = "{self.folder}/gateway.key"\n{conf}\n'
                    f'route "bench" {{ {route} secret_file = "{self.secret}" }}\n')
        self.log = open(os.path.join(self.folder, "log"), "w")
        self.proc = start([program("scistreamd"), "-c", path], stderr=self.log)
        wait_until(f"gateway {name} is ready", lambda: self.ready() or self.proc.poll() is not None, 30)
        if self.proc.poll() is not None:
            raise RuntimeError(open(self.log.name).read().strip())

    def ready(self):
        said = self.ask("info")
        return said.returncode == 0 and json.loads(said.stdout)["worker_states"]

    def ask(self, *command):
        return run([program("scistreamctl"), "--socket", f"{self.folder}/sock", "-j", *command])

    def argv(self, prog, *options):
        return [program(prog), "--secret-file", self.secret, "--pin", self.pin, "--report", "json", "-q", *options,
                f"gateway://{self.host}:{self.port}/bench"]

    def workers(self):
        return children_of(self.proc.pid)

    def cpu(self):
        return sum(map(cpu_of, self.workers()))

    def close(self):
        stop(self.proc)


# ---------------------------------------------------------------- peers

def iperf(to, port, seconds, *options, prefix=()):
    """One iperf3 stream to whatever forwards the port to the server; Gbit/s at the receiver."""
    return iperf_end(to, port, seconds, *options, prefix=prefix)["bits_per_second"] / 1e9


def iperf_end(to, port, seconds, *options, prefix=()):
    """The same: what the receiver says, "bits_per_second" and "bytes" among it."""
    out = run([*prefix, "iperf3", "-c", to, "-p", str(port), "-t", str(seconds), "-J", *options])
    said = json.loads(out.stdout or "{}")
    if "sum_received" not in said.get("end", {}):
        raise RuntimeError(f"iperf3: {said.get('error', out.stderr)}")
    return said["end"]["sum_received"]


def iperf_server(port, host=None, prefix=()):
    server = start([*prefix, "iperf3", "-s", "-1", "-p", str(port), *(["-B", host] if host else [])], stdout=subprocess.DEVNULL)
    wait_listen(port, server.pid)
    return server


HAPROXY = """global
  maxconn {maxconn}
{tune}
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
"""


def haproxy(name, listens, to, options="", tune="", maxconn=100):
    """One haproxy process; listens and to: what follows bind and server; options and tune: lines of the proxy and of the section global."""
    path = in_work(f"haproxy-{name}.cfg")
    with open(path, "w") as f:
        f.write(HAPROXY.format(maxconn=maxconn, tune=tune) + f"listen {name}\n  bind {listens}\n{options}\n  server next {to}\n")
    log = in_work(f"haproxy-{name}.log")
    p = start(["haproxy", "-f", path], stderr=open(log, "w"))
    try:
        wait_listen(int(listens.split()[0].rsplit(":", 1)[1]))
    except RuntimeError:
        raise RuntimeError(f"haproxy does not start: {open(log).read().strip()}") from None
    return p


# ---------------------------------------------------------------- the table

def median_of(runs, key="gbit"):
    return statistics.median(r[key] for r in runs)


def row(case, ours, peer, reach, note=""):
    ratio = ours / peer if peer and ours is not None else None
    ROWS.append({"case": case, "ours": ours, "peer": peer, "ratio": ratio, "reach": reach, "note": note})
    shown = [float("nan") if v is None else v for v in (ours, peer, ratio)]
    print(f"{case:66} {shown[0]:10.3f} {shown[1]:10.3f} {shown[2]:7.2f}  {reach:14} {note}", flush=True)


def write_json(path, **more):
    with open(path, "w") as f:
        json.dump({"cpus": os.cpu_count(), "kernel": os.uname().release, "runs": ARGS.runs, **more, "rows": ROWS}, f, indent=1)
