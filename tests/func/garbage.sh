#!/bin/bash
# Bytes that mean nothing, half messages and absurd lengths on every port of a gateway, while a stream goes through it: the strangers are
# closed, the log stays short, nothing else notices, and descriptors and memory are back where they were.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
requires_python ssl
global='attach_timeout = 2s' start_gateway_pair detector
make_data 10000000 >"$tmp/in"

stream "$tmp/in" A/detector B/detector # what is allocated once is allocated now
wait_for 10 idle A
processes="${pid[A]} $(workers_of A)"
for p in $processes; do
    fds[$p]=$(fd_count $p)
    rss[$p]=$(rss_kib $p)
done

start_recv recv B/detector -o "$tmp/out"
start_send send A/detector --rate 20Mbit "$tmp/in"
wait_for 10 flowing B 1000
links=$((port[A] + 1))
for at in 127.0.0.1:${port[A]} 127.0.0.1:$links 127.0.0.1:$((links + 1)) unix:$tmp/A/sock; do
    step "garbage to $at"
    start "garbage-${at##*[:/]}" timeout 60 $python "$srcdir/tests/lib/abuse.py" garbage $at
done
for at in ${port[A]} $links $((links + 1)) sock; do
    ends garbage-$at 0 60
done
ends send 0 30
ends recv 0
same "$tmp/in" "$tmp/out"

[ "$processes" = "${pid[A]} $(workers_of A)" ] || fail "a process of the gateway died"
[ "$(wc -l <"$tmp/A.err")" -lt 60 ] || fail "the log has $(wc -l <"$tmp/A.err") lines"
says A 'link port: connection from 127.0.0.1:[0-9]+ refused: .'
says A '(control endpoint|local control socket): .*: .' # their lines share one limit
wait_for 10 idle A
for p in $processes; do
    wait_until 10 "[ \$(fd_count $p) -le ${fds[$p]} ]"
    sanitized || [ $(($(rss_kib $p) - rss[$p])) -lt 2048 ] || fail "process $p has grown from ${rss[$p]} to $(rss_kib $p) KiB"
    step "process $p: $(fd_count $p) descriptors after ${fds[$p]}, resident $(rss_kib $p) KiB after ${rss[$p]}"
done
stream "$tmp/in" A/detector B/detector
