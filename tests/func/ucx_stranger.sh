#!/bin/bash
# UCX clients that belong to no attach are rejected by the listener, told so, and cost nothing; a stream goes on beside them.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_ucx
global='workers = 1' gateway_defaults='' start_gateway_pair detector
stop_gateway A
ucx=$((port[A] + 12))
start_gateway A -o ucx.ports=$ucx
make_data 5000000 >"$tmp/in"
stream "$tmp/in" A/detector B/detector
wait_for 5 idle A
start stranger "$builddir/ucx_stranger" 127.0.0.1 $ucx 5
ends stranger 0 20
worker=$(workers_of A)
fds=$(fd_count $worker) maps=$(wc -l <"/proc/$worker/maps")

start_recv recv B/detector -o "$tmp/out"
start_send send A/detector --rate 20Mbit "$tmp/in"
wait_for 10 flowing B 1000
start stranger "$builddir/ucx_stranger" 127.0.0.1 $ucx 40
ends stranger 0 20
[ "$(grep -c ': Operation rejected by remote peer' "$tmp/stranger.out")" = 40 ] || fail "$(cat "$tmp/stranger.out")"
says A 'ucx listener: connection from 127.0.0.1:[0-9]+ rejected: its client_id belongs to no attach that waits here'
[ "$(grep -c 'ucx listener' "$tmp/A.err")" -lt 30 ] || fail "the log has $(wc -l <"$tmp/A.err") lines"
ends send 0
ends recv 0
same "$tmp/in" "$tmp/out"
wait_for 5 idle A
[ "$(workers_of A)" = "$worker" ] || fail "the worker died"
wait_until 5 "[ \$(fd_count $worker) -le $fds ]"
sanitized || [ $(wc -l <"/proc/$worker/maps") -le $((maps + 4)) ] || fail "mappings leak"
stream "$tmp/in" A/detector B/detector
