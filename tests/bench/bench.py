#!/usr/bin/python3
"""make bench: ours and a peer in the same run, medians of N, as a table and as JSON (bench.json in the build folder).

Needs iperf3, haproxy, openssl and ucx_perftest; rows whose peer is missing say so. Nothing else should run on the machine meanwhile.
As root it moves into a network namespace of its own with the congestion control reno: BBR paces a loopback connection, so that one
would measure the pacer. The source of the rows beside a peer is a file without blocks, which costs a read next to nothing, as the peers send one
buffer again and again, and neither side computes a digest; the rows "real data" read 64 MiB in memory again and again and compute it.
Usage: bench.py BUILD_DIR [--runs N] [--seconds S] [--only WORD] [--json FILE]
"""
import argparse, json, os, re, shutil, statistics, subprocess, sys, time

sys.dont_write_bytecode = True
import common
from common import (Direct, Gateway, cpu_of, data_file, free_port, haproxy, hole, in_work, iperf, iperf_server, median_of, one_direct, own_namespace,
                    program, report_in, row, run, secret_file, start, stop, wait_listen)


class Gateways:
    """Two gateways on loopback, A dials B, as the demo has them."""

    def __init__(self, window="4M", channels=256, workers=0):
        conf, more = f'workers = {workers}\nucx {{ devices = {{"lo"}} }}', f"window = {window} channels = {channels}"
        b = Gateway("B", conf, f'accept = {{"link"}} deliver = {{"ucx", "link"}} {more}')
        a = Gateway("A", conf, f'accept = {{"ucx", "link"}} connect = "gateway://127.0.0.1:{b.port}/bench" connect_pin = {{"{b.pin}"}} {more}')
        self.gw = {"A": a, "B": b}

    def argv(self, prog, name, *options):
        return self.gw[name].argv(prog, *options)

    def close(self):
        for g in self.gw.values():
            g.close()


def one_path(gw, files, *options):
    before = {n: gw.gw[n].cpu() for n in "AB"}
    recv = start(gw.argv("scistream-recv", "B", "--require", "ucx", "--device", "lo", *options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    out = run(gw.argv("scistream-send", "A", "--require", "ucx", "--device", "lo", *options) + list(files))
    _, err = recv.communicate(timeout=60)
    if out.returncode or recv.returncode:
        raise RuntimeError(f"stream through two gateways failed: {out.stderr} {err}")
    sent, got = report_in(out.stdout), report_in(err)
    gb = sent["bytes"] / 1e9
    cpu = {n: (gw.gw[n].cpu() - before[n]) / gb for n in "AB"}
    return {"gbit": sent["goodput_bit_s"] / 1e9, "send": sent["cpu_seconds"] / gb, "A": cpu["A"], "B": cpu["B"], "recv": got["cpu_seconds"] / gb}


# ---------------------------------------------------------------- peers

def one_iperf(seconds):
    port = free_port()
    server = iperf_server(port)
    gbit = iperf("127.0.0.1", port, seconds)
    stop(server)
    return {"gbit": gbit}


def one_haproxy_tls(seconds):
    """iperf3 -> haproxy -> TLS 1.3 -> haproxy -> iperf3: two processes, as two gateways would be."""
    a, b, c = free_port(), free_port(), free_port()
    pem = in_work("haproxy.pem")
    if not os.path.exists(pem):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", pem + ".key", "-out",
                        pem + ".crt", "-days", "2", "-subj", "/CN=localhost"], capture_output=True, check=True)
        with open(pem, "w") as f:
            f.write(open(pem + ".crt").read() + open(pem + ".key").read())
    procs = [haproxy("b", f"127.0.0.1:{b} ssl crt {pem} ssl-min-ver TLSv1.3", f"127.0.0.1:{c}"),
             haproxy("a", f"127.0.0.1:{a}", f"127.0.0.1:{b} ssl verify none")]
    server = iperf_server(c)
    gbit = iperf("127.0.0.1", a, seconds)
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

def bench_direct():
    real, zeros, plain, nd = [data_file(64)] * (common.ARGS.gib * 16), [hole(common.ARGS.gib << 10)], ("--plaintext",), ("--no-digest",)
    have = {p: shutil.which(p) for p in ("iperf3", "haproxy", "ucx_perftest")}
    ours = {"ucx": ("ucx", ()), "link plaintext": ("link", plain), "link TLS": ("link", ())}
    peers = {"ucx": ("ucx_perftest", one_ucx_am), "link plaintext": ("iperf3", one_iperf), "link TLS": ("haproxy", one_haproxy_tls)}
    runs = {(kind, k): [] for k in ours for kind in ("zeros", "real", "peer")}
    for _ in range(common.ARGS.runs):     # in turn, so that a drift of the machine meets all
        for k, (transport, options) in ours.items():
            runs["zeros", k].append(one_direct(transport, zeros, (*options, *nd), nd))
            runs["real", k].append(one_direct(transport, real, options))
            if have[peers[k][0]]:
                runs["peer", k].append(peers[k][1](common.ARGS.seconds))
    names = {"ucx": "ucx tcp/lo [Gbit/s] vs ucx_perftest AM", "link plaintext": "link plaintext [Gbit/s] vs iperf3",
             "link TLS": "link TLS [Gbit/s] vs haproxy TLS pair"}
    for kind, suffix in (("zeros", ""), ("real", ", real data, digest")):
        for (k, what), reach in zip(names.items(), ("0.8 of 44.8", ">= 0.6", ">= 1.0")):
            r, peer = runs[kind, k], runs["peer", k]
            row(f"direct {what}{suffix}", median_of(r), median_of(peer) if peer else None, reach if kind == "zeros" else "reported",
                f"{median_of(r, 'cpu_gb'):.2f} CPU-s/GB both ends")


def bench_path():
    files = [data_file(64)] * (common.ARGS.gib * 16)
    gw = Gateways()
    path, hops = [], []
    for _ in range(common.ARGS.runs):
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
    small = in_work("small")
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
    small = in_work("small")
    open(small, "wb").write(b"x" * 64)
    for _ in range(max(5, common.ARGS.runs)):
        d = Direct("link")
        d.recv.kill()
        port, pipe = d.port, os.pipe()
        log = open(in_work("cold.log"), "w+")
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
    control, workers = gw.gw["A"].proc.pid, gw.gw["A"].workers()
    c0 = cpu_of(control) + sum(map(cpu_of, workers))
    time.sleep(5)
    used = cpu_of(control) + sum(map(cpu_of, workers)) - c0
    row("resident set of control, idle [MiB] vs SciStream (its talk)", rss_kib(control) / 1024, 10.0, "<= 6 MiB")
    row("resident set of a worker with UCX, idle [MiB]", max(map(rss_kib, workers)) / 1024, None, "<= 10 MiB")
    row("CPU seconds of control and workers in 5 s idle", used, None, "0")
    gw.close()


BENCHES = {"direct": bench_direct, "path": bench_path, "attach": bench_attach, "cold": bench_cold, "idle": bench_idle}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--seconds", type=int, default=3, help="of each iperf3 run")
    p.add_argument("--gib", type=int, default=4, help="streamed in each run of ours")
    p.add_argument("--only", help="one of " + ", ".join(BENCHES))
    p.add_argument("--json", default="bench.json")
    args = p.parse_args()
    own_namespace()
    common.begin(args)
    try:
        for name, measure in BENCHES.items():
            if not args.only or args.only == name:
                measure()
    finally:
        common.end()
    common.write_json(args.json)


if __name__ == "__main__":
    main()
