#!/bin/bash
# A malformed packet on a UCX port makes libucx abort its process. That is one worker: the streams on it end with the reason at both
# ends, the streams of the other worker go on, the worker is replaced, and it all works as before.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_ucx
requires_program ss
requires_python socket
start_gateway_pair left right
make_data 10000000 1 >"$tmp/in.left"
make_data 10000000 2 >"$tmp/in.right"
mkfifo "$tmp/gate.left" "$tmp/gate.right" # behind the data: neither stream ends before it may

# worker_of ROUTE: index of the worker of gateway A that has the route's channel
worker_of() { ctl A sessions --json | $python -c '
import json, sys
print(*[c["worker"] for s in json.load(sys.stdin)["sessions"] if s["route"] == sys.argv[1] for c in s["channels"]])' "$1"; }

for r in left right; do
    start_recv recv-$r B/$r -o "$tmp/out.$r"
    start_send send-$r A/$r "$tmp/in.$r" "$tmp/gate.$r"
    wait_until 10 "[ -n \"\$(worker_of $r)\" ]"
done
wait_for 10 flowing A 100000
hit=$(workers_of A | head -n 1)
left=$(worker_of left) right=$(worker_of right)
[ "$left" != "$right" ] || fail "both streams are on worker $left"

step "to every UCX port of worker process $hit"
ports=$(ss -Hltnp | grep "pid=$hit," | grep -v '"scistreamd"' | awk '{ print $4 }')
[ -n "$ports" ] || fail "process $hit has no port of its own"
begin=$(now_ms)
for at in $ports; do $python "$srcdir/tests/lib/abuse.py" magic $at 2>/dev/null; done
wait_said A "worker [01] \(pid $hit\) was killed by signal 6 \(Aborted\).*; a new one is started" 5
index=$(grep -o "worker [01] (pid $hit)" "$tmp/A.err" | grep -o 'worker [01]' | cut -d ' ' -f 2)
[ "$index" = "$left" ] && dead=left lives=right || { dead=right lives=left; }

step "worker $index had route $dead"
ends send-$dead 75 5 "aborted by the other side: gateway A: gateway worker $index was killed by signal 6"
ends recv-$dead 75 5 "aborted by the other side: .*gateway A: gateway worker $index was killed by signal 6"
step "both ends know after $(($(now_ms) - begin)) ms"
[ -e "$tmp/out.$dead.part" ] && [ ! -e "$tmp/out.$dead" ] || fail "a broken stream has the name of a whole one"

: >"$tmp/gate.$lives"
ends send-$lives 0 30
ends recv-$lives 0
same "$tmp/in.$lives" "$tmp/out.$lives"

step "both workers are there again"
wait_until 10 "[ \$(workers_of A | wc -l) = 2 ]"
for i in 1 2; do
    for r in left right; do
        start_recv recv-$r B/$r -o "$tmp/out.$r"
        start_send send-$r A/$r --retry 10s "$tmp/in.$r"
    done
    for r in left right; do
        ends send-$r 0 30
        ends recv-$r 0
        same "$tmp/in.$r" "$tmp/out.$r"
    done
done
[ "$(grep -oE 'flows.*worker [01]' "$tmp/A.err" | tail -n 4 | grep -o '[01]$' | sort -u | wc -l)" = 2 ] || fail "the new worker is not used"
wait_for 5 idle A
wait_for 5 idle B
