#!/usr/bin/python3
"""make bench-rdma: verbs beside what does the same without us, in the guest of tests/vm/run, medians of N, as a table and as JSON.

On the host it boots one guest with Soft-RoCE and one with soft-iWARP; in them ($RDMA_HERE and $RDMA_THERE are set) it measures. There only ratios
mean something, since the guest is emulated, and only when nothing else runs on the machine. Needs perftest, iperf3, haproxy and strace;
a row whose peer is missing or fails says so and the others go on. Rows beside a peer stream a file without blocks and compute no digest, as the
peers send one buffer again and again; the rows "real data" read bytes in memory and compute it.
Usage: bench_rdma.py BUILD_DIR [--runs N] [--mib N] [--only WORD] [--layout rxe|siw] [--json FILE]
"""
import argparse, json, os, re, shutil, signal, subprocess, sys, time

sys.dont_write_bytecode = True
import common
from common import (Gateway, data_file, free_port, haproxy, hole, iperf, iperf_server, median_of, one_direct, program, report_in, row, run, start,
                    stop, wait_listen, wait_until)

HERE, THERE = os.environ.get("RDMA_HERE"), os.environ.get("RDMA_THERE")
CHUNK = 1 << 20
VERBS = ("--no-digest",)
COUNTERS = ("work_requests", "posts", "completions", "completion_events", "copied_bytes")


# ---------------------------------------------------------------- peers

def listening(port):
    """rdma_cm listens there; its sockets are not in /proc/net."""
    return re.search(rf"state LISTEN .*:{port}\b", run(["rdma", "resource", "show", "cm_id"]).stdout)


def perftest(tool, *options, bytes_=None, prefix=()):
    """The output of the client, with the server at the other end of the pair. prefix: a command before both."""
    port = free_port()
    argv = [*prefix, tool, "-R", "-p", str(port), *options]
    if bytes_:
        argv += ["-s", str(CHUNK), "-n", str(max(bytes_ // CHUNK, 8))]
    server = start(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(f"{tool} listens", lambda: listening(port) or server.poll() is not None)
    try:
        out = run([*argv, THERE], patience=60)
    finally:
        stop(server)
    if out.returncode or not re.search(r"^ *\d+ +\d+ +[\d.]", out.stdout, re.M):
        raise RuntimeError(f"{tool}: {(out.stderr or out.stdout).strip()[-200:]}")
    return [float(w) for w in re.findall(r"^ *\d+ +\d+ +[\d. \t]+$", out.stdout, re.M)[-1].split()]


def one_perftest_bw(tool, mib, *options):
    return {"gbit": perftest(tool, *options, bytes_=mib << 20)[3] * (1 << 20) * 8 / 1e9}     # average, MB/s of 2^20


def one_perftest_lat(count):
    v = perftest("ib_send_lat", "-e", "-s", "64", "-n", str(count), prefix=ONE_CPU)
    return {"p50": v[4], "p99": v[7]}


# ---------------------------------------------------------------- rows of ours beside them

def attempt(what, function, *args, **kw):
    """One measurement; None when it fails, and why is told."""
    try:
        return function(*args, **kw)
    except (RuntimeError, OSError, ValueError, IndexError, KeyError, subprocess.SubprocessError) as e:
        print(f"# {what}: {type(e).__name__}: {str(e)[:400]}", flush=True)
        return None


def in_turn(measurements, runs=None):
    """Each of them, again and again, so that a drift of the machine meets all; the results by name, failed ones left out."""
    got = {name: [] for name in measurements}
    for _ in range(runs or common.ARGS.runs):
        for name, measure in measurements.items():
            r = attempt(name, measure) if len(got[name]) or _ < 2 else None     # what fails twice is not tried again
            if r:
                got[name].append(r)
    return got


def mid(got, name, key="gbit"):
    return median_of(got[name], key) if got.get(name) else None


def failed(case, reach):
    row(case, None, None, reach, "FAILED, see above")


def compare(case, got, ours, peer, reach, key="gbit", note=""):
    if not got.get(ours):
        failed(case, reach)
    else:
        row(case, mid(got, ours, key), mid(got, peer, key), reach, note if got.get(peer) else f"no {peer} here; {note}")


def direct(files, recv_options=VERBS, send_options=VERBS, **kw):
    return one_direct("verbs", files, recv_options, send_options, host=THERE, **kw)


def cpu_note(runs):
    return f"{median_of(runs, 'cpu_gb'):.2f} CPU-s/GB both ends" if runs else ""


def bench_direct():
    mib, tool = common.ARGS.mib, "ib_write_bw" if common.ARGS.layout == "rxe" else "ib_send_bw"
    reach = ">= 0.85" if common.ARGS.layout == "rxe" else ">= 0.8"
    asleep = {"ib_send_bw -e": lambda: one_perftest_bw("ib_send_bw", mib, "-e")} if common.ARGS.layout == "rxe" else {}     # hangs over soft-iWARP
    got = in_turn({"ours": lambda: direct([hole(mib)]), tool: lambda: one_perftest_bw(tool, mib), **asleep,
                   "real": lambda: direct([data_file(32)] * (mib // 32), (), ())})
    compare(f"direct, 1 MiB chunks [Gbit/s] vs {tool} -R", got, "ours", tool, reach, note=cpu_note(got["ours"]))
    if asleep:
        compare("direct, 1 MiB chunks [Gbit/s] vs ib_send_bw -R -e", got, "ours", "ib_send_bw -e", "reported", note="the peer sleeps as we do")
    compare(f"direct, real data, digest [Gbit/s] vs {tool} -R", got, "real", tool, "reported", note=cpu_note(got["real"]))


# ---------------------------------------------------------------- through a gateway

ROUTE = 'accept = {{"verbs", "ucx", "link"}} deliver = {{"link"}} plaintext = yes channels = 16 window = {window}'


def verbs_gateway(name, host=None, window="4M", workers=1, more=""):
    route = ROUTE.format(window=window)
    if "ucx" not in more:
        route = route.replace('"ucx", ', "")
    return Gateway(name, f'workers = {workers}\nrdma {{ listen = "{THERE}" }}\n{more}', route, host=host or THERE)


def start_recv(gw, *options):
    return start(gw.argv("scistream-recv", "--require", "link", *options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def run_seconds(pid):
    """Seconds that the threads of a process ran, to the nanosecond."""
    return sum(int(open(f"/proc/{pid}/task/{t}/schedstat").read().split()[0]) for t in os.listdir(f"/proc/{pid}/task")) / 1e9


def gateway_cpu(gw):
    return sum(map(run_seconds, gw.workers()))


def through(gw, files, send_options=VERBS, recv_options=("--no-digest",), require="verbs"):
    """Sender -> gateway -> link -> receiver, once."""
    before = gateway_cpu(gw)
    recv = start_recv(gw, *recv_options)
    out = run(gw.argv("scistream-send", "--require", require, *send_options) + list(files))
    if out.returncode:
        stop(recv)
        raise RuntimeError(f"scistream-send: {out.stderr.strip()}; gateway: {open(gw.log.name).read().strip()[-300:]}")
    _, err = recv.communicate(timeout=60)
    sent, got, gb = report_in(out.stdout), report_in(err), report_in(out.stdout)["bytes"] / 1e9
    return {"gbit": sent["goodput_bit_s"] / 1e9, "worker": (gateway_cpu(gw) - before) / gb, "sent": sent, "got": got}


def to_plain_tcp(gw, files, port):
    """Sender -> gateway -> a TCP connection to an application that throws it away, once."""
    before = gateway_cpu(gw)
    sink = start([program("tcpload"), "sink", "--port", str(port)], stdout=subprocess.PIPE, text=True)
    wait_listen(port)
    out = run(gw.argv("scistream-send", "--require", "verbs", *VERBS) + list(files))
    if out.returncode:
        stop(sink)
        raise RuntimeError(f"scistream-send: {out.stderr.strip()}; gateway: {open(gw.log.name).read().strip()[-300:]}")
    said = json.loads(sink.communicate(timeout=60)[0])
    return {"gbit": said["gbit"], "worker": (gateway_cpu(gw) - before) / (said["bytes"] / 1e9)}


def both_at_once(mib, seconds):
    """ib_write_bw towards the gateway's end and iperf3 away from it, at the same time: the slower of the two."""
    port = free_port()
    server = iperf_server(port, HERE)
    client = start(["iperf3", "-c", HERE, "-p", str(port), "-t", str(seconds), "-J"], stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    write = one_perftest_bw("ib_write_bw", mib)["gbit"]
    running = client.poll() is None
    out, _ = client.communicate(timeout=60)
    stop(server)
    tcp = json.loads(out)["end"]["sum_received"]["bits_per_second"] / 1e9
    return {"gbit": min(write, tcp), "write": write, "tcp": tcp, "overlap": running}


def one_haproxy(seconds):
    """TCP in, TCP out, through haproxy at the gateway's address: what a site does with IPoIB."""
    a, b = free_port(), free_port()
    relay, server = haproxy("plain", f"{THERE}:{a}", f"{HERE}:{b}"), iperf_server(b, HERE)
    gbit = iperf(THERE, a, seconds)
    cpu = run_seconds(relay.pid) / (gbit * seconds / 8)
    stop(server, relay)
    return {"gbit": gbit, "relay": cpu}


def in_packets(measure):
    """With TCP handed to the pair in packets of its MTU, as rxe hands it its own, instead of up to 64 KiB at once that no wire has."""
    try:
        for dev in ("veth0", "veth1"):
            run(["ip", "link", "set", "dev", dev, "gso_max_segs", "1"], check=True)
        return measure()
    finally:
        for dev in ("veth0", "veth1"):
            run(["ip", "link", "set", "dev", dev, "gso_max_segs", "65535"])


def bench_gateway():
    mib, seconds = common.ARGS.mib, common.ARGS.seconds
    gw, port = verbs_gateway("plain"), free_port()
    tcp = Gateway("tcp", f'workers = 1\nrdma {{ listen = "{THERE}" }}', f'accept = {{"verbs"}} connect = "tcp://{HERE}:{port}" channels = 16', host=THERE)
    got = in_turn({"ours": lambda: through(gw, [hole(mib)]), "plain TCP": lambda: to_plain_tcp(tcp, [hole(mib)], port), "both": lambda: both_at_once(mib, seconds * 2), "haproxy": lambda: one_haproxy(seconds),
                   "real": lambda: through(gw, [data_file(32)] * (mib // 32), (), ()), "ours in packets": lambda: in_packets(lambda: through(gw, [hole(mib)])),
                   "haproxy in packets": lambda: in_packets(lambda: one_haproxy(seconds)), "verbs alone": lambda: one_perftest_bw("ib_write_bw", mib)})
    gw.close()
    tcp.close()
    cpu = f"{mid(got, 'ours', 'worker'):.2f} CPU-s/GB of the worker" if got["ours"] else ""
    apart = f"ib_write_bw {mid(got, 'both', 'write'):.3f}, iperf3 {mid(got, 'both', 'tcp'):.3f}; " if got["both"] else ""
    compare("verbs -> gateway -> TCP [Gbit/s] vs slower of ib_write_bw, iperf3", got, "ours", "both", ">= 0.8", note=apart + cpu)
    compare("verbs in, plain TCP out [Gbit/s] vs slower of ib_write_bw, iperf3", got, "plain TCP", "both", ">= 0.8",
            note=f"{mid(got, 'plain TCP', 'worker') or 0:.2f} CPU-s/GB of the worker")
    compare("verbs -> gateway -> TCP [Gbit/s] vs haproxy, TCP in and out", got, "ours", "haproxy", "> 1",
            note=f"ib_write_bw alone {mid(got, 'verbs alone') or 0:.3f}: no more can be had; haproxy {mid(got, 'haproxy', 'relay') or 0:.2f} CPU-s/GB")
    compare("verbs -> gateway -> TCP [Gbit/s] vs haproxy, TCP in packets of the MTU", got, "ours in packets", "haproxy in packets", "> 1",
            note=f"haproxy {mid(got, 'haproxy in packets', 'relay') or 0:.2f} CPU-s/GB")
    compare("verbs -> gateway -> TCP, real data, digest [Gbit/s] vs the same", got, "real", "both", "reported")


# ---------------------------------------------------------------- what a gigabyte costs

def counters_of(said):
    """Per GB."""
    return {k: float(said["counters"][k]) / (said["bytes"] / 1e9) for k in COUNTERS}


def worker_counters(gw):
    states = json.loads(gw.ask("info").stdout)["worker_states"]
    return {k: sum(float(w[k]) for w in states) for k in COUNTERS}


def show_counts(who, per_gb, slow):
    """A stream has a HELLO and an EOS or a last LIMIT besides its chunks."""
    per_chunk = CHUNK / 1e9
    if not per_gb:
        row(f"{who}: work requests a chunk", None, None, "<= 2", "FAILED, see above")
        return
    besides = 2 / (common.ARGS.mib << 20) * 1e9
    row(f"{who}: work requests a chunk of 1 MiB, HELLO and EOS apart", (per_gb["work_requests"] - besides) * per_chunk, 2.0, "<= 1 of it",
        f"{per_gb['work_requests']:.0f} per GB")
    row(f"{who}: work requests a call of ibv_post_send", per_gb["work_requests"] / per_gb["posts"], 1.0, ">= 1 of it",
        f"{per_gb['posts']:.0f} calls per GB")
    row(f"{who}: completion events per GB vs those when limited to a third", per_gb["completion_events"], slow and slow["completion_events"], "< 1",
        f"{per_gb['completions']:.0f} completions per GB, {slow['completions'] if slow else 0:.0f} when limited")
    row(f"{who}: bytes of a GB that our code copied", per_gb["copied_bytes"], None, "0")


def bench_counts():
    mib = common.ARGS.mib
    fast = attempt("counted", direct, [hole(mib)])
    if not fast:
        failed("sender: work requests of 1 MiB", "<= 2")
        return
    rate = f"{fast['gbit'] * 1000 / 3:.0f}Mbit"
    slow = attempt("counted, limited", direct, [hole(mib // 3)], VERBS, (*VERBS, "--rate", rate))
    for who, end in (("sender", "sent"), ("receiver", "got")):
        show_counts(who, counters_of(fast[end]), slow and counters_of(slow[end]))
    gw = attempt("gateway", verbs_gateway, "counts")
    if not gw:
        return
    per_gb = []
    for n, options in ((mib, ()), (mib // 3, ("--rate", rate))):
        before = worker_counters(gw)
        done = attempt("counted, gateway", through, gw, [hole(n)], (*VERBS, *options))
        after = worker_counters(gw)
        per_gb.append({k: (after[k] - before[k]) / ((n << 20) / 1e9) for k in COUNTERS} if done else None)
    show_counts("worker, verbs in and TCP out", *per_gb)
    gw.close()


def calls_in(path):
    """System calls that strace -c counted: their number, and the most frequent."""
    rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", open(path).read(), re.M)
    calls = {name: int(n) for n, name in rows if name != "total"}
    return calls


def traced_once(gw, mib):
    """Calls of sender, worker and receiver of one stream."""
    paths = {who: common.in_work(f"strace-{who}") for who in ("sender", "worker", "receiver", "receiver, verbs", "sender, direct")}
    for p in paths.values():
        open(p, "w").close()
    trace = lambda who: ("strace", "-f", "-c", "-U", "time-percent,total-time,avg-time,calls,name", "-o", paths[who])
    worker = start([*trace("worker"), *(a for w in gw.workers() for a in ("-p", str(w)))], stderr=subprocess.PIPE, text=True)
    wait_until("strace is attached", lambda: "attached" in worker.stderr.readline())
    recv = start([*trace("receiver"), *gw.argv("scistream-recv", "--require", "link", "--no-digest")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    out = run([*trace("sender"), *gw.argv("scistream-send", "--require", "verbs", *VERBS), hole(mib)])
    recv.communicate(timeout=60)
    worker.send_signal(signal.SIGINT)
    worker.wait(20)
    if out.returncode:
        raise RuntimeError(f"scistream-send under strace: {out.stderr.strip()}")
    one_direct("verbs", [hole(mib)], VERBS, VERBS, host=THERE, prefix=trace("receiver, verbs"))
    return {who: calls_in(p) for who, p in paths.items() if who != "sender, direct"}


def bench_syscalls():
    """From two sizes, so that start and end of a program do not count."""
    sizes = (32, 128)
    gw = attempt("gateway", verbs_gateway, "strace")
    both = [attempt("traced", traced_once, gw, mib) for mib in sizes] if gw else [None]
    if gw:
        gw.close()
    if not all(both):
        failed("system calls per GB", "reported")
        return
    gb = ((sizes[1] - sizes[0]) << 20) / 1e9
    for who in both[0]:
        more = {n: (c - both[0][who].get(n, 0)) / gb for n, c in both[1][who].items()}
        top = ", ".join(f"{n} {c:.0f}" for n, c in sorted(more.items(), key=lambda e: -e[1])[:5])
        row(f"system calls per GB, {who}", sum(more.values()), None, "reported", f"{top}; {sum(more.values()) * CHUNK / 1e9:.1f} a MiB")


# ---------------------------------------------------------------- round trips

# Both ends on one processor: on two, waking the other one takes an emulated interrupt that in some boots costs 20 us and in others 100, for
# all alike, and whether a tool needs one is luck.
ONE_CPU = ("taskset", "-c", "0")


def one_pingpong(count, **env):
    out = run([*ONE_CPU, common.program("pingpong"), THERE, str(count), "64"], env={**os.environ, **env})
    if out.returncode:
        raise RuntimeError(out.stderr.strip())
    said = json.loads(out.stdout)
    return {"p50": said["p50_us"], "p99": said["p99_us"], **said}


def bench_pingpong():
    count = 2000
    got = in_turn({"ours": lambda: one_pingpong(count), "ib_send_lat": lambda: one_perftest_lat(count), "no spin": lambda: one_pingpong(count, NO_SPIN="1")})
    wr = f"{mid(got, 'ours', 'work_requests') / count:.1f} work requests and {mid(got, 'ours', 'completion_events') / count:.1f} events a message" if got["ours"] else ""
    compare("64 B there and back, half of it, p50 [us] vs ib_send_lat -e", got, "ours", "ib_send_lat", "<= 1.5", "p50", wr)
    compare("64 B there and back, half of it, p99 [us] vs ib_send_lat -e", got, "ours", "ib_send_lat", "<= 1.5", "p99")
    compare("64 B there and back, loop without spinning, p50 [us]", got, "no spin", "ib_send_lat", "reported", "p50")


# ---------------------------------------------------------------- many senders

def bytes_of_channels(gw):
    """Bytes that each channel brought so far."""
    said = json.loads(gw.ask("sessions").stdout)
    return {c["number"]: c["bytes_in"] for s in said["sessions"] for c in s["channels"] if c["state"] == "flowing"}


def incast(gw, n, seconds):
    """n senders at once into one gateway, each with a receiver of its own: Gbit/s of each while all of them run."""
    log = open(common.in_work("incast.log"), "w+")
    utility = lambda name, by, i, *files: start([*gw.argv(name, "--require", by, "--no-digest", "--channel", str(i)), *files],
                                                stdout=subprocess.DEVNULL, stderr=log)
    ends = [utility("scistream-recv", "link", i) for i in range(n)] + [utility("scistream-send", "verbs", i, "/dev/zero") for i in range(n)]
    flowing = lambda: len([b for b in bytes_of_channels(gw).values() if b > 0]) == n or any(e.poll() is not None for e in ends)
    try:
        wait_until(f"{n} streams flow", flowing, 60)
        time.sleep(0.5)
        t0, first = time.monotonic(), bytes_of_channels(gw)
        time.sleep(seconds)
        t1, last = time.monotonic(), bytes_of_channels(gw)
        rates = [(last[i] - first[i]) * 8 / (t1 - t0) / 1e9 for i in range(n)]
    except (RuntimeError, KeyError) as e:
        log.seek(0)
        raise RuntimeError(f"{e}; {log.read().strip()[:300]}; {gw.ask('sessions').stdout[:600]}") from None
    finally:
        stop(*reversed(ends))
        wait_until("no stream is left", lambda: not json.loads(gw.ask("sessions").stdout)["sessions"], 30)
    return {"gbit": sum(rates), "unfair": max(rates) / max(min(rates), 1e-9), "least": min(rates)}


def set_delay(ms):
    """Of all packets that leave either end of the pair; 0: none. Meanwhile each flow is received by one processor only: else packets that netem
    lets go on different ones overtake each other, which InfiniBand's do not, and most are sent again."""
    for dev in ("veth0", "veth1"):
        with open(f"/sys/class/net/{dev}/queues/rx-0/rps_cpus", "w") as f:
            f.write(f"{(1 << os.cpu_count()) - 1:x}" if ms else "0")
        run(["tc", "qdisc", "del", "dev", dev, "root"])
        if ms:
            run(["tc", "qdisc", "add", "dev", dev, "root", "netem", "delay", f"{ms}ms", "limit", "100000"], check=True)


def bench_incast():
    gw = attempt("gateway", verbs_gateway, "incast", host="127.0.0.1")
    for ms in (0.1, 1) if gw else ():
        attempt("netem", set_delay, ms)
        got = in_turn({"eight": lambda: incast(gw, 8, common.ARGS.seconds), "one": lambda: incast(gw, 1, common.ARGS.seconds)})
        attempt("netem", set_delay, 0)
        compare(f"8 verbs senders, {ms} ms each way, sum [Gbit/s] vs one sender", got, "eight", "one", ">= 0.9")
        if got["eight"]:
            row(f"8 verbs senders, {ms} ms each way, largest share / smallest", mid(got, "eight", "unfair"), 2.0, "<= 1 of it")
    if gw:
        gw.close()


# ---------------------------------------------------------------- CPU time of the worker

def bench_cpu():
    mib, ucx_env = common.ARGS.mib, {}
    gw = attempt("gateway", verbs_gateway, "cpu", more=f'ucx {{ transports = "rc_verbs" devices = {{"rxe1:1"}} listen = "{THERE}" }}')
    case = "worker, verbs -> TCP [CPU-s/GB] vs ucx with rc_verbs -> TCP"
    if not gw:
        failed(case, "<= 1.0")
        return
    got = in_turn({"ours": lambda: through(gw, [hole(mib)]),
                   "ucx": lambda: through(gw, [hole(mib)], (*VERBS, "--device", "rxe0:1"), require="ucx")})
    gw.close()
    note = f"{mid(got, 'ours'):.3f} and {mid(got, 'ucx'):.3f} Gbit/s" if got["ours"] and got["ucx"] else ""
    compare(case, got, "ours", "ucx", "<= 1.0", "worker", note)


# ---------------------------------------------------------------- guests

BENCHES = {"direct": bench_direct, "gateway": bench_gateway, "counts": bench_counts, "syscalls": bench_syscalls, "pingpong": bench_pingpong,
           "incast": bench_incast, "cpu": bench_cpu}
OF_LAYOUT = {"rxe": tuple(BENCHES), "siw": ("direct", "counts")}


def port_counters():
    """Of the RDMA devices, those that should stand still where nothing is lost."""
    names = ("rcvd_seq_err", "out_of_seq_request", "completer_retry_err", "send_rnr_err", "rcvd_rnr_err", "retry_exceeded_err")
    return {f"{d}/{n}": int(open(f"/sys/class/infiniband/{d}/ports/1/hw_counters/{n}").read()) for d in os.listdir("/sys/class/infiniband") for n in names
            if os.path.exists(f"/sys/class/infiniband/{d}/ports/1/hw_counters/{n}")}


def measure(args):
    """In the guest. The last line of the output is JSON for the host."""
    run(["sysctl", "-qw", "net.core.netdev_max_backlog=100000"])     # InfiniBand loses nothing: the pair must not drop packets either
    common.begin(args)
    try:
        for name in OF_LAYOUT[args.layout]:
            if not args.only or args.only == name:
                t0, before = time.monotonic(), port_counters()
                attempt(name, BENCHES[name])
                lost = ", ".join(f"{k} +{v - before[k]}" for k, v in port_counters().items() if v > before[k])
                print(f"# {name}: {time.monotonic() - t0:.0f} s{', sent again: ' + lost if lost else ''}", flush=True)
    finally:
        common.end()
    print("@json " + json.dumps({"kernel": os.uname().release, "cpus": os.cpu_count(), "rows": common.ROWS}), flush=True)


def guest_command():
    """tests/vm/run, with a guest set up."""
    vm = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vm", "run")
    status = subprocess.run([vm, "--setup"]).returncode
    if status:
        sys.exit(status)
    return [vm]


def in_guest(args, layout):
    """Boot, measure there, print what it says; the rows, or None when there is no such guest."""
    argv = [*guest_command(), "--layout", layout, "--timeout", str(args.timeout), "--", "/usr/bin/python3", os.path.abspath(__file__), os.path.abspath(args.build),
            "--layout", layout, "--runs", str(args.runs), "--mib", str(args.mib), "--seconds", str(args.seconds), *(["--only", args.only] if args.only else [])]
    env = dict(os.environ, RDMA_HERE="10.99.0.1", RDMA_THERE="10.99.0.2", PYTHONDONTWRITEBYTECODE="1", TMPDIR="/tmp")
    p = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env)
    said = None
    for line in p.stdout:
        if line.startswith("@json "):
            said = json.loads(line[6:])
        else:
            print(line, end="", flush=True)
    status = p.wait()
    if status == 77:
        sys.exit(77)
    if status or not said:
        print(f"# {layout}: the guest ended with status {status}")
    return said


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--mib", type=int, default=192, help="streamed in each run, a multiple of 32")
    p.add_argument("--seconds", type=int, default=3, help="of each run of iperf3, and of many senders")
    p.add_argument("--only", help="one of " + ", ".join(BENCHES))
    p.add_argument("--layout", choices=tuple(OF_LAYOUT), help="one of the two; default: both")
    p.add_argument("--timeout", type=int, default=800, help="seconds of each guest")
    p.add_argument("--json", default="bench-rdma.json")
    args = p.parse_args()
    if HERE:
        measure(args)
        return
    missing = [t for t in ("ib_write_bw", "ib_send_bw", "ib_send_lat", "iperf3", "haproxy", "strace") if not shutil.which(t)]
    if missing:
        print(f"# not installed: {', '.join(missing)} (packages perftest, iperf3, haproxy, strace): their rows will be empty")
    results = {}
    for layout in [args.layout] if args.layout else OF_LAYOUT:
        print(f"== {layout}")
        results[layout] = in_guest(args, layout)
    with open(args.json, "w") as f:
        json.dump({"runs": args.runs, "mib": args.mib, "layouts": results}, f, indent=1)
    sys.exit(0 if all(results.values()) else 1)


if __name__ == "__main__":
    main()
