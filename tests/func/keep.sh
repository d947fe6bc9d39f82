#!/bin/bash
# scistream-recv --keep serves stream after stream through gateways, each into its own file, also after one that was aborted.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
start_gateway_pair detector
for i in 0 1 2 3; do make_data $((200000 * i + 1)) $i >"$tmp/in.$i"; done

start_recv recv B/detector --keep --report json -o "$tmp/run-%n.dat"
send 0 A/detector "$tmp/in.0"
send 0 A/detector "$tmp/in.1"

input=<(make_data 3000000; sleep 60) start_send broken A/detector
wait_for 10 flowing B 1000000
kill -9 "${pid[broken]}"
ends broken 137
wait_said recv 'aborted by the other side' 5
send 0 A/detector "$tmp/in.3"

wait_until 5 "[ -e '$tmp/run-3.dat' ]"
for i in 0 1 3; do same "$tmp/in.$i" "$tmp/run-$i.dat"; done
[ -e "$tmp/run-2.dat.part" ] && [ ! -e "$tmp/run-2.dat" ] || fail "the broken stream: $(ls "$tmp")"
says recv 'what arrived is kept in .*run-2.dat.part'
wait_until 5 "[ \$(wc -l <'$tmp/recv.out') = 4 ]"
[ "$($python -c 'import json, sys; print([json.loads(l)["ok"] for l in open(sys.argv[1])])' "$tmp/recv.out")" = "[True, True, False, True]" ] ||
    fail "reports: $(cat "$tmp/recv.out")"

kill -INT "${pid[recv]}"
ends recv 76 5 'interrupted by SIGINT'
wait_for 5 idle A
wait_for 5 idle B

step "names that would overwrite each other are refused"
recv 64 B/detector --keep -o "$tmp/run.dat"
says recv '%n'
