#!/bin/bash
# Ten thousand connections that say nothing, on the control port and on the link ports, while a stream goes through: it goes on, another
# one comes through, and after attach_timeout the gateway has closed them all, although their owner holds them.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_ucx
requires "the limit on descriptors is $(ulimit -Hn)" [ "$(ulimit -Hn)" -ge 16384 ]
global='attach_timeout = 3s' start_gateway_pair detector
make_data 10000000 >"$tmp/in"
make_data 100000 9 >"$tmp/small"

stream "$tmp/in" A/detector B/detector
wait_for 10 idle A
processes="${pid[A]} $(workers_of A)"
for p in $processes; do
    fds[$p]=$(fd_count $p)
    rss[$p]=$(rss_kib $p)
done

start_recv recv1 B/detector -o "$tmp/out1"
start_send send1 A/detector --rate 20Mbit "$tmp/in"
wait_for 10 flowing B 1000
mkfifo "$tmp/hold"
input=$tmp/hold start silent-control $python "$srcdir/tests/lib/abuse.py" silent 6000 127.0.0.1:${port[A]}
input=$tmp/hold start silent-links $python "$srcdir/tests/lib/abuse.py" silent 2000 127.0.0.1:$((port[A] + 1)) 127.0.0.1:$((port[A] + 2))
exec {hold}>"$tmp/hold"
wait_until 20 "[ -s '$tmp/silent-control.out' ] && [ -s '$tmp/silent-links.out' ]"
step "$(cat "$tmp"/silent-*.out | tr '\n' ' ') connections are held; the gateway has $(fd_count "${pid[A]}") descriptors"

start_recv recv2 B/detector -o "$tmp/out2"
start_send send2 A/detector "$tmp/small"
ends send2 0
ends recv2 0
ends send1 0 30
ends recv1 0
same "$tmp/in" "$tmp/out1"
same "$tmp/small" "$tmp/out2"

for p in $processes; do
    wait_until 15 "[ \$(fd_count $p) -le ${fds[$p]} ]"
    sanitized || [ $(($(rss_kib $p) - rss[$p])) -lt 4096 ] || fail "process $p has grown from ${rss[$p]} to $(rss_kib $p) KiB"
    step "process $p: $(fd_count $p) descriptors after ${fds[$p]}, resident $(rss_kib $p) KiB after ${rss[$p]}"
done
alive silent-control || fail "the silent ones are gone: nothing was tested"
[ "$processes" = "${pid[A]} $(workers_of A)" ] || fail "a process of the gateway died"
[ "$(wc -l <"$tmp/A.err")" -lt 60 ] || fail "the log has $(wc -l <"$tmp/A.err") lines"
exec {hold}>&-
ends silent-control 0
ends silent-links 0
