#!/bin/bash
# What the utilities say: the report as JSON and as text, progress, silence; where it goes when standard output carries the stream.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program xxh128sum
requires_rdma
start_gateway_pair detector
make_data 3000000 >"$tmp/in"

cat >"$tmp/check.py" <<'END'
import json, sys
kinds = {"ok": bool, "exit": int, "retryable": bool, "program": str, "error": str, "message": str, "result": str, "confirmed": bool,
         "bytes": int, "seconds": float, "setup_seconds": float, "goodput_bit_s": int, "cpu_seconds": float, "transport": str, "device": str,
         "security": str, "peer": str, "passed_over": str, "session": str, "channel": int, "xxh128": str, "wait": dict, "counters": dict}
counted = {"work_requests", "posts", "completions", "completion_events", "copied_bytes"}
lines = [l for l in open(sys.argv[1]) if l.startswith("{")]
assert len(lines) == 1, f"{len(lines)} objects"
d = json.loads(lines[0])
assert set(d) == set(kinds), set(d) ^ set(kinds)
for name, kind in kinds.items():
    assert type(d[name]) is kind or kind is float and type(d[name]) is int, (name, d[name])
assert set(d["wait"]) == {"source", "credits", "sink", "rate"} and all(0 <= v <= 1 for v in d["wait"].values()), d["wait"]
assert set(d["counters"]) == counted and all(type(v) is int and v >= 0 for v in d["counters"].values()), d["counters"]
for want in sys.argv[2:]:
    assert eval(want, dict(d)), (want, d)
END
check() { $python "$tmp/check.py" "$@" || fail "report: $(cat "$1")"; }

step "JSON of a stream that was confirmed"
stream "$tmp/in" A/detector B/detector
digest=$(digest_of "$tmp/in")
for end in send recv; do
    check "$tmp/$end.json" 'ok and exit == 0 and error == "OK" or not error' 'bytes == 3000000' "xxh128 == '$digest'" "transport == '$rdma'" \
        "__import__('re').fullmatch('$rdma_device', device)" "__import__('re').fullmatch('$rdma_security', security)" 'len(session) == 32' 'channel == 0' 'seconds > 0' 'cpu_seconds > 0' \
        'abs(goodput_bit_s - bytes * 8 / seconds) < goodput_bit_s / 100' "program == 'scistream-$end'"
done
check "$tmp/send.json" confirmed 'result == "confirmed with digest"'

step "JSON of one that failed: the same fields, the exit code, whether it is worth another try, and why"
recv 75 B/detector --wait 200ms --report json -o "$tmp/out"
check "$tmp/recv.out" 'not ok and exit == 75 and retryable' 'error == "ERENDEZVOUS"' 'message' 'not confirmed'
send 67 B/nowhere --report json "$tmp/in"
check "$tmp/send.out" 'not ok and exit == 67 and not retryable' 'error == "EAUTH"' 'bytes == 0'

step "on standard error when standard output carries the stream"
start_recv recv B/detector --report json
send 0 A/detector --report text "$tmp/in"
ends recv 0
same "$tmp/in" "$tmp/recv.out"
check "$tmp/recv.err" ok

check "$tmp/recv.err" 'peer == "127.0.0.1"' # without the port: bytes go another way than the control connection

step "text: figures, transport, digest; and what was passed over"
says send '2\.86 MiB \(3000000 bytes\) in [0-9.]+ s, .*bit/s, confirmed with digest'
says send "$rdma on $rdma_device with 127\.0\.0\.1, $rdma_security, session [0-9a-f]{32} channel 0"
says send 'waited for source [0-9]+ %, credits [0-9]+ %, sink [0-9]+ % of the time; [0-9.]+ CPU seconds'
says send "xxh128 $digest"
start_recv recv B/detector --transport link -o "$tmp/out"
send 0 A/detector --transport link --no-digest "$tmp/in"
ends recv 0
says send "by link; passed over $rdma: not offered by the client"
says send 'link on tcp with .* TLSv1.3 TLS_AES_256_GCM_SHA384'
says send 'confirmed, without digest'
! said send xxh128 || fail "a digest although --no-digest"

step "--progress draws a bar with rate, total and time left; --quiet says nothing; an error is always said"
start_recv recv B/detector --quiet -o "$tmp/out"
send 0 A/detector --progress --rate 20Mbit "$tmp/in"
ends recv 0
says send '^\[=*> *\] +[0-9]+ %  .*iB  [0-9.]+ .bit/s  ETA '
[ ! -s "$tmp/recv.err" ] || fail "--quiet, but: $(cat "$tmp/recv.err")"
recv 75 B/detector --wait 200ms --quiet
says recv 'in time'

step "--require fails instead of another transport"
stop_gateway A
sed -i "s/accept = {$rdma_transports}/accept = {\"link\"}/" "$tmp/A/conf"
start_gateway A
send 76 A/detector --require $rdma "$tmp/in"
says send "no common transport.*$rdma: not accepted by this route"
