#!/bin/bash
# A receiver that takes 1 MB/s stalls the sender through both gateways: what is on the way is bounded by the rings, no process grows,
# the reports say who was slow, and nothing times out although everything waits nearly all the time.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
gateway_defaults='workers = 1
peer_timeout = 2s'
start_gateway_pair detector

cat >"$tmp/reader.py" <<'END'
import os, sys, time
n, begin, slow = 0, time.monotonic(), int(sys.argv[1])
while data := os.read(0, 20000):
    n += len(data)
    time.sleep(max(0, begin + n * slow / 1e6 - time.monotonic()))
print(n)
END

# counted GATEWAY WHAT: of its channel
counted() { [[ $(ctl "$1" sessions --json) =~ \"$2\":([0-9]+) ]] && echo "${BASH_REMATCH[1]}" || echo 0; }
# waits GATEWAY: age, and ms it has waited for source, credits and sink
waits() { local w; for w in age wait_source wait_credits wait_sink; do counted "$1" ${w}_ms; done | tr '\n' ' '; }
declare -A half

for transport in $rdma link; do
    half=()
    mkfifo "$tmp/$transport"
    input=$tmp/$transport start reader $python "$tmp/reader.py" $slow
    to B/detector --transport $transport
    start recv bash -c 'out=$1; shift; exec "$@" >"$out"' - "$tmp/$transport" "$builddir/scistream-recv" "${to[@]}" --transport $transport --report json
    make_data 20000000 >"$tmp/in" # more than the rings of all take at once
    begin=$(now_ms)
    start_send send A/detector --transport $transport --report json "$tmp/in"
    wait_for 10 flowing B 2000000
    processes="${pid[send]} ${pid[recv]} ${pid[A]} ${pid[B]} $(workers_of A) $(workers_of B)"

    until [ $(($(now_ms) - begin)) -gt $((4500 * slow)) ] || ! alive send; do
        read -r want got <<<"$(counted A bytes_in) $(counted B bytes_out)" # A first: what passes meanwhile is not counted twice
        # between the two: the rings of A and B, what the receiver has confirmed meanwhile
        [ $((want - got)) -lt 4500000 ] || fail "$want bytes are in A, $got have left B: that is more than the rings"
        # who waits for whom, and what all of it takes, is measured when the rings are full
        if [ -z "${half[*]}" ] && [ $(($(now_ms) - begin)) -gt $((2500 * slow)) ]; then
            for g in A B; do half[$g]=$(waits $g); done
            for p in $processes; do rss[$p]=$(rss_kib $p); done
        fi
        sleep 0.3
    done
    alive send || fail "20 MB went through a reader of 1 MB/s in $(($(now_ms) - begin)) ms: $(cat "$tmp/send.err")"
    for p in $processes; do
        now=$(rss_kib $p)
        sanitized || [ $((now - rss[$p])) -lt 1024 ] || fail "process $p ($(cat /proc/$p/comm)) has grown from ${rss[$p]} to $now KiB"
    done
    step "$transport: $got bytes in $(($(now_ms) - begin)) ms"
    for g in A B; do
        read -r age source credits sink age0 source0 credits0 sink0 <<<"$(waits $g) ${half[$g]}"
        age=$((age - age0))
        held=$((100 * (credits + sink - credits0 - sink0) / age))
        step "    then $g waited for source $((100 * (source - source0) / age)) %, for the receiver $held %"
        [ $held -gt 60 ] || fail "gateway $g does not know who is slow"
    done
    kill -INT "${pid[send]}" # it has been shown
    ends send 76
    ends recv 76
    finish reader
    wait_for 5 idle A
    wait_for 5 idle B
done
