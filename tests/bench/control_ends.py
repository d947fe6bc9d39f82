"""Programs that bench_control.py runs beside ours: Python's gRPC as client, and ZeroMQ's PUB and SUB, each a process of its own.
   control_ends.py calls PORT CA_FILE N PORTS   N sessions, one after the other; a line of JSON: the mean of their four calls
   control_ends.py publish PORT SIZE            messages of SIZE bytes to whoever subscribes, as fast as they are taken, until standard input ends
   control_ends.py subscribe PORT SIZE SECONDS  a line of JSON: what arrived within that time"""
import json, os, sys, threading, time, uuid

QUEUED = 16 << 20    # bytes that ZeroMQ holds at each end


def field(number, *texts):
    """Strings of a protobuf message."""
    return b"".join(bytes([number << 3 | 2, len(t)]) + t.encode() for t in texts)


def one_session(call, target, ports):
    uid, begin = str(uuid.uuid1()), time.perf_counter()
    req = call["req"].future(field(1, uid) + field(2, "PROD") + bytes([3 << 3, ports]), timeout=10)
    call["hello"](field(1, uid) + field(2, target) + field(3, "PROD"), timeout=10)
    req.result()
    call["update"](field(1, uid) + field(2, target) + field(3, "PROD"), timeout=10)
    call["release"](field(1, uid), timeout=10)
    return time.perf_counter() - begin


def calls(port, ca, n, ports):
    import grpc
    with open(ca, "rb") as f:
        credentials = grpc.ssl_channel_credentials(f.read())
    channel = grpc.secure_channel(f"127.0.0.1:{port}", credentials, [("grpc.ssl_target_name_override", "localhost")])
    grpc.channel_ready_future(channel).result(timeout=10)
    call = {m: channel.unary_unary("/scistream.Control/" + m) for m in ("req", "hello", "update", "release")}
    took = sorted(one_session(call, "127.0.0.1:9", int(ports)) for _ in range(int(n)))
    print(json.dumps({"mean_ms": 1e3 * sum(took) / len(took), "p99_ms": 1e3 * took[len(took) * 99 // 100], "sessions": len(took)}))


def zeromq(kind, size):
    import zmq
    s = zmq.Context().socket(getattr(zmq, kind))
    s.sndhwm = s.rcvhwm = max(4, QUEUED // int(size))
    s.linger = 0
    if kind == "XPUB":
        s.setsockopt(zmq.XPUB_NODROP, 1)    # a publisher that drops would only be measured at dropping
    return s


def publish(port, size):
    s, message = zeromq("XPUB", size), bytes(int(size))
    s.bind(f"tcp://127.0.0.1:{port}")
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    s.recv()    # it is subscribed to
    while True:
        s.send(message, copy=False)


def subscribe(port, size, seconds):
    s = zeromq("SUB", size)
    s.subscribe(b"")
    s.rcvtimeo = 20000
    s.connect(f"tcp://127.0.0.1:{port}")
    end, before = time.perf_counter() + 0.3, 0
    while len(s.recv()) == int(size) and time.perf_counter() < end:
        before += 1
    begin, n = time.perf_counter(), 0
    while (now := time.perf_counter()) < begin + float(seconds):
        for _ in range(16):
            s.recv()
        n += 16
    print(json.dumps({"gbit": n * int(size) * 8 / (now - begin) / 1e9, "bytes": (before + n) * int(size)}))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)
