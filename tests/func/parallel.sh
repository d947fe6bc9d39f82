#!/bin/bash
# Ten streams at once over two routes, each gateway with two workers: every one whole, none in another route's files, both workers used.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program xxh128sum
requires_rdma
start_gateway_pair left right
mkfifo "$tmp/gate"

# channels GATEWAY EXPRESSION: of the list c of its flowing channels
channels() { ctl "$1" sessions --json | $python -c '
import json, sys
c = [c for s in json.load(sys.stdin)["sessions"] for c in s["channels"] if c["state"] in ("flowing", "done")]
print(eval(sys.argv[1]))' "$2"; }

for i in 0 1 2 3 4; do
    for r in left right; do
        start_recv recv-$r-$i B/$r -o "$tmp/out-$r.$i"
        make_data $((8000000 + i * 70001)) $((i + ${#r})) >"$tmp/in-$r.$i"
        input=$tmp/gate start_send send-$r-$i A/$r "$tmp/in-$r.$i" -
    done
done
exec {gate}<>"$tmp/gate" # until it is closed, all of them go on
for g in A B; do
    wait_until 15 "[ \"\$(channels $g 'len(c)')\" = 10 ]"
    [ "$(channels $g 'sorted(x["worker"] for x in c)')" = "[0, 0, 0, 0, 0, 1, 1, 1, 1, 1]" ] || fail "$g does not share the work: $(ctl $g sessions)"
done
exec {gate}>&-
for i in 0 1 2 3 4; do
    for r in left right; do
        ends send-$r-$i 0 30
        ends recv-$r-$i 0
    done
done
# Any receiver of a route may get any sender of it.
for r in left right; do
    [ "$(digest_of "$tmp/in-$r".* | sort)" = "$(digest_of "$tmp/out-$r".* | sort)" ] || fail "route $r: what came out is not what went in"
done
wait_for 5 idle A
wait_for 5 idle B

step "a channel that was asked for by its number is that one all along the way"
for i in 6 4 5; do
    start_recv recv$i B/left --channel $i -o "$tmp/by-number.$i"
    wait_said recv$i 'waiting for a sender'
done
for i in 5 6 4; do
    start_send send$i A/left --channel $i "$tmp/in-left.$((i - 4))"
    ends send$i 0 30
done
for i in 4 5 6; do
    ends recv$i 0
    same "$tmp/in-left.$((i - 4))" "$tmp/by-number.$i"
done
