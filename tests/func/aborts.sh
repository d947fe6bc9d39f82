#!/bin/bash
# Streams at full speed that are aborted at one end or at a gateway, again and again, by both transports: what is under way in rings and in
# libucx then must harm nobody. Both ends are told, no process dies of it, nothing is left.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
start_gateway_pair detector
processes="${pid[A]} $(workers_of A) ${pid[B]} $(workers_of B)"
rounds=$((24 / slow))

for ((i = 0; i < rounds; i++)); do
    [ $((i % 3)) = 2 ] && transport=link || transport=$rdma
    start_recv recv B/detector --transport $transport --window $((65536 << i % 6))
    start_send send A/detector --transport $transport --window $((65536 << (i + 3) % 6)) /dev/zero
    wait_for 10 flowing B $((1000000 + RANDOM * 300))
    [ $((i % 2)) = 0 ] && quits=send || quits=recv
    kill -INT "${pid[$quits]}"
    ends send 76 10 "interrupted by SIGINT"
    ends recv 76 10 "interrupted by SIGINT"
    : >"$tmp/recv.out"
done
wait_for 5 idle A
wait_for 5 idle B
[ "$processes" = "${pid[A]} $(workers_of A) ${pid[B]} $(workers_of B)" ] || fail "a process died: $(grep -h 'killed\|exited' "$tmp"/[AB].err)"
make_data 3000000 >"$tmp/in"
stream "$tmp/in" A/detector B/detector
