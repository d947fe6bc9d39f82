#!/bin/bash
# What may be streamed: several files one after the other, standard input among them, pipes that bring crumbs, in chunks of any size;
# to a file or to standard output; the gateway and the secret from the environment.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
start_gateway_pair detector

# receive NAME [OPTIONS]: standard output into $tmp/NAME.out
receive() { start_recv "$1" B/detector --report none "${@:2}"; }
both_end() { ends send 0 30; ends recv 0; }

step "files are concatenated like cat does, '-' is standard input"
make_data 100000 1 >"$tmp/a"
make_data 1 2 >"$tmp/b"
: >"$tmp/empty"
make_data 2500000 3 >"$tmp/c"
make_data 700000 4 >"$tmp/stdin"
receive recv
input=$tmp/stdin start_send send A/detector "$tmp/a" "$tmp/empty" - "$tmp/b" "$tmp/c"
both_end
cat "$tmp/a" "$tmp/empty" "$tmp/stdin" "$tmp/b" "$tmp/c" >"$tmp/all"
same "$tmp/all" "$tmp/recv.out"

step "a pipe that brings crumbs at random times"
crumbs='
import os, random, sys, time
random.seed(7)
for i in range(400):
    os.write(1, bytes([i & 255]) * random.choice([1, 2, 3, 17, 100, 4095, 4096, 8191, 8193, 65537]))
    if i % 40 == 0:
        time.sleep(0.01)
'
$python -c "$crumbs" >"$tmp/crumbs"
receive recv
input=<($python -c "$crumbs") start_send send A/detector
both_end
same "$tmp/crumbs" "$tmp/recv.out"

step "chunks and windows of random sizes, at both ends, by both transports"
RANDOM=42
for i in 1 2 3 4 5 6; do
    chunk=$((4096 + RANDOM * 37)) window=$((65536 + RANDOM * 99))
    transport=$([ $((i % 2)) = 0 ] && echo $rdma || echo link)
    receive recv --window $window --chunk $((4096 + RANDOM * 11)) --transport $transport
    start_send send A/detector --window $((65536 + RANDOM * 77)) --chunk $chunk --transport $transport "$tmp/c"
    both_end
    same "$tmp/c" "$tmp/recv.out"
done

step "a file as standard output and as standard input; the end is left usable for others"
to B/detector
"$builddir/scistream-recv" "${to[@]}" --report none >"$tmp/out" 2>"$tmp/recv.err" &
to A/detector
(echo first; cat "$tmp/a") >"$tmp/with-head"
{ read -r line; "$builddir/scistream-send" "${to[@]}" --report none 2>"$tmp/send.err"; } <"$tmp/with-head" || fail "send: $(cat "$tmp/send.err")"
wait $! || fail "recv: $(cat "$tmp/recv.err")"
[ "$(stat -c %s "$tmp/out")" -le 100000 ] || fail "more came than was there"

step "the gateway and the secret from the environment"
for gateway in "127.0.0.1:${port[B]}" "gateway://127.0.0.1:${port[B]}"; do
    SCISTREAM_GATEWAY=$gateway SCISTREAM_SECRET_FILE=${secret[B]} start recv "$builddir/scistream-recv" --pin "${pin[B]}" --report none /detector
    SCISTREAM_GATEWAY=127.0.0.1:${port[A]} SCISTREAM_SECRET_FILE=${secret[A]} \
        start send "$builddir/scistream-send" --pin "${pin[A]}" --report none /detector "$tmp/a"
    both_end
    same "$tmp/a" "$tmp/recv.out"
done
run send 64 "$builddir/scistream-send" --secret-file "${secret[A]}" /detector "$tmp/a"
says send 'SCISTREAM_GATEWAY, which is not set'

step "the secret from its usual place; an option wins over the environment"
mkdir -p "$XDG_CONFIG_HOME/scistream"
install -m 600 "${secret[A]}" "$XDG_CONFIG_HOME/scistream/secret"
receive recv
SCISTREAM_SECRET_FILE=$tmp/nowhere start_send send A/detector --report none "$tmp/a"
both_end
receive recv
start send "$builddir/scistream-send" --pin "${pin[A]}" --report none "gateway://localhost:${port[A]}/detector" "$tmp/a"
both_end
same "$tmp/a" "$tmp/recv.out"

step "a file that shrinks while it is sent is no success; one that grows is sent as far as it goes"
mkfifo "$tmp/gate"
for dir in "$tmp" /dev/shm; do
    file=$dir/scistream-shrinks.$$
    undo+=("rm -f '$file'")
    make_data 6000000 5 >"$file"
    receive recv --window 64K
    start_send send A/detector --window 64K --rate $((40 / slow))Mbit "$file"
    wait_for 10 flowing B 300000
    truncate -s 1000000 "$file"
    ends send 74 20 "scistream-shrinks.* ended after [0-9]+ bytes, it had 6000000 when it was opened: was it truncated\?"
    ends recv 76
done
make_data 1000000 6 >"$tmp/grows"
receive recv
start_send send A/detector --window 64K --rate $((8 / slow))Mbit "$tmp/grows" "$tmp/gate"
wait_for 10 flowing B 100000
make_data 500000 7 >>"$tmp/grows"
exec {gate}<>"$tmp/gate"
wait_for 10 flowing B 1500000
exec {gate}>&-
both_end
same "$tmp/grows" "$tmp/recv.out"

step "files whose size says nothing, and a standard input that was read from before"
for file in /proc/self/mounts /sys/kernel/mm/transparent_hugepage/enabled; do
    [ -r $file ] || continue
    receive recv
    send 0 A/detector $file
    ends recv 0
    [ -s "$tmp/recv.out" ] || fail "nothing of $file"
done
receive recv
to A/detector
{
    dd of=/dev/null bs=1000 count=100 status=none
    "$builddir/scistream-send" "${to[@]}" --report none 2>"$tmp/send.err"
} <"$tmp/c" || fail "send: $(cat "$tmp/send.err")"
ends recv 0
tail -c +100001 "$tmp/c" >"$tmp/rest"
same "$tmp/rest" "$tmp/recv.out"
