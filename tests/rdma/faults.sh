#!/bin/bash
# What happens to machines: processes that stand still or die, a worker that does, too little lockable memory, addresses that lead nowhere, a
# path that swallows packets, a link that goes down, devices that are removed. Both ends of the stream say what it was, exit with a failure in
# bounded time and leave nothing; a stream beside, in the same worker but by TCP, goes on; afterwards verbs works again.
# FAULTS="NAME..." runs those only. For the guest of tests/vm/run.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
. "$srcdir/tests/rdma/functions.sh"
requires_root "take links down"
requires_program setpriv tc
global="peer_timeout = 5s
rdma { listen = \"$RDMA_THERE\"  ack_timeout = 16 }"
new_gateway G
add_route G stream
rdma_transports='"link"' add_route G beside
chosen() { [ -z "${FAULTS:-}" ] || [[ " $FAULTS " == *" $1 "* ]]; }

# begin NAME: a stream by verbs that would never end
begin()
{
    fault=$1
    mark
    local to
    to G/stream
    to+=(--channel 1 --require verbs --report none)
    start recv bash -c 'exec "$@" >/dev/null' - "$builddir/scistream-recv" "${to[@]}"
    start send "$builddir/scistream-send" "${to[@]}" --rate 50Mbit /dev/zero
    wait_for 30 moves
    begun=$(now_ms)
}
moves() { ctl G sessions --json | $python -c '
import json, sys
sys.exit(not any(c["state"] == "flowing" and c["bytes_out"] > 300000 for s in json.load(sys.stdin)["sessions"] if s["route"] == "stream" for c in s["channels"]))'; }

# over SECONDS send|recv PATTERN: that one has ended by then, with a failure, and said so
over()
{
    ended $1 $2
    step "    $2 exits with $status after $(($(now_ms) - begun)) ms: $(grep -v 'waiting\|kept' "$tmp/$2.err" | head -n 1 | cut -c 1-250)"
    [ $status != 0 ] && [ $status -lt 126 ] || note "$fault" "$2 exits with $status"
    said $2 "$3" || note "$fault" "$2 did not say '$3'"
}

# again [OPTIONS]: nothing is left of it, the worker is the one that was, and streams by verbs work
again()
{
    goes_on
    within 20 eval '[ "$(resources)" = "$(cat "$tmp/before")" ]' || note "$fault" "left behind: $(resources), before: $(cat "$tmp/before")"
    [ "$(workers_of G)" = "$worker" ] || fail "$fault: the worker died: $(since)"
    stream_beside --retry 30s "$@"
}

# ------------------------------------------------------------ before there is a stream beside

make_data 100000 >"$tmp/block"
if chosen nowhere; then
    declare -A nowhere=([10.98.7.7]='no RDMA device of this machine reaches it|looking for an RDMA device: Network is unreachable' ["$RDMA_HERE"]='nobody listens there')
    for at in "${!nowhere[@]}"; do
        fault="the gateway names $at"
        step "$fault"
        start_gateway G -o rdma.advertise=$at
        start_recv recv G/stream --require verbs --report none -o "$tmp/out"
        start_send send G/stream --require verbs --report none "$tmp/block"
        begun=$(now_ms)
        over 40 send "${nowhere[$at]}"
        over 10 recv "${nowhere[$at]}"
        stop_gateway G
    done
fi

start_gateway G
stream_beside
wait_for 10 idle G
if chosen worker; then
    for how in KILL STOP; do
        step "the worker gets SIG$how"
        begin "SIG$how of the worker"
        kill -$how "$(workers_of G)"
        reason='gateway worker 0 was killed by signal 9'
        [ $how = KILL ] || reason='gateway worker 0 was killed because it does not answer'
        over 30 send "$reason"
        over 10 recv "$reason"
        stream_beside --retry 20s
    done
    wait_for 10 idle G
fi

as=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
if chosen memlock; then
    fault=memlock
    chmod 711 "$tmp"
    mkdir "$tmp/nobody"
    cp "$builddir/scistream-send" "$builddir/scistream-recv" "${secret[G]}" "$tmp/block" "$tmp/nobody"
    chown -R nobody "$tmp/nobody"
    # locked KIB send|recv|both: a stream whose sender, receiver or both are nobody, with this limit
    locked()
    {
        local e to who key
        begun=$(now_ms)
        for e in recv send; do
            who=() key=${secret[G]}
            if [ $2 = $e ] || [ $2 = both ]; then
                who=(env HOME="$tmp/nobody" bash -c 'ulimit -l '$1'; exec "$@"' - "${as[@]}")
                key=$tmp/nobody/secret
            fi
            to=(--secret-file "$key" --pin "${pin[G]}" --require verbs --report none "gateway://127.0.0.1:${port[G]}/stream")
            [ $e = recv ] && to+=(-o "$tmp/nobody/out") || to+=("$tmp/nobody/block")
            start $e "${who[@]}" "$tmp/nobody/scistream-$e" "${to[@]}"
        done
    }
    for e in send recv; do
        step "scistream-$e as nobody with 64K of lockable memory"
        fault="memlock, $e"
        [ $e = send ] && other=recv || other=send
        locked 64 $e
        over 40 $e 'ring of 4M needs 4206592 bytes of locked memory in all, RLIMIT_MEMLOCK is 64K: raise LimitMEMLOCK in the unit \(ulimit -l\) or lower window'
        [ $status = 78 ] || note "$fault" "$e exits with $status, 78 says that a retry is of no use"
        over 20 $other "aborted by the other side: .*needs [0-9]+ bytes of locked memory"
    done
    step "both as nobody with 8M"
    rm -f "$tmp/nobody/out"*
    locked 8192 both
    ends send 0 60
    ends recv 0
    same "$tmp/block" "$tmp/nobody/out"
    wait_for 10 idle G
    stop_gateway G

    step "scistreamd becomes nobody, with 64K, and with enough"
    fault="memlock, gateway"
    start_locked() { start G bash -c 'ulimit -l $1; shift; exec "$@"' - $1 "$builddir/scistreamd" -c "$tmp/G/conf" -o user=nobody; }
    start_locked 64
    within 20 eval 'said G " is ready: " || gone G'
    if alive G; then
        start_recv recv G/stream --require verbs --report none -o "$tmp/out"
        start_send send G/stream --require verbs --report none "$tmp/block"
        begun=$(now_ms)
        over 40 send 'needs [0-9]+ bytes of locked memory'
        over 10 recv 'needs [0-9]+ bytes of locked memory'
        stop_gateway G
    else # better told at the start than to each stream
        ends G 78 1 'needs? [0-9]+ bytes of locked memory'
    fi
    start_locked unlimited
    wait_said G ' is ready: ' 20
    stream_beside
    stop_gateway G
    start_gateway G
fi

# ------------------------------------------------------------ beside a stream by link

start_victim beside link "$builddir/scistream-send"
worker=$(workers_of G)
stream_beside
wait_for 10 alone
resources >"$tmp/before"
fds=$(fd_count $worker)

for e in send recv; do
    chosen stop || break
    step "scistream-$e is stopped, and goes on too late"
    [ $e = send ] && other=recv || other=send
    begin "SIGSTOP of $e"
    kill -STOP "${pid[$e]}"
    over 30 $other 'peer|silent|answer'
    kill -CONT "${pid[$e]}"
    over 20 $e 'connection|aborted|peer|lost'
    again
done

for e in send recv; do
    chosen kill || break
    step "scistream-$e is killed"
    [ $e = send ] && other=recv || other=send
    begin "SIGKILL of $e"
    kill -KILL "${pid[$e]}"
    over 30 $other 'connection|closed|lost|cut'
    again
done

if chosen loss; then
    step "packets vanish: no retry helps"
    begin "packets vanish"
    for d in $here $there; do tc qdisc add dev $d root netem loss 100%; done
    within 40 eval 'gone send && gone recv'
    over 1 send 'retry counter exceeded|the path to it is gone|peer'
    over 1 recv 'retry counter exceeded|the path to it is gone|peer'
    goes_on
    for d in $here $there; do tc qdisc del dev $d root; done
    again
fi

# An EOS that was sent is not an EOS that arrived: nothing else is under way then that could fail.
if chosen end; then
    step "the bytes arrive, the end of the stream does not"
    fault="a lost end"
    mark
    to G/stream
    to+=(--channel 1 --require verbs --report none)
    rm -f "$tmp/cut" "$tmp/end.dat"*
    start recv "$builddir/scistream-recv" "${to[@]}" -o "$tmp/end.dat"
    input=<(cat "$tmp/block"; while [ -e "$tmp/block" ] && [ ! -e "$tmp/cut" ]; do sleep 0.1; done) start send "$builddir/scistream-send" "${to[@]}"
    wait_until 30 '[ "$(stat -c %s "$tmp/end.dat.part")" = 100000 ]'
    begun=$(now_ms)
    for d in $here $there; do tc qdisc add dev $d root netem loss 100%; done
    : >"$tmp/cut"
    [ $kind = rxe ] && limit=40 || limit=120 # iWARP has sent it: the receiver misses it after a minute
    over $limit send 'retry counter exceeded|the path to it is gone|peer'
    over 10 recv 'retry counter exceeded|the path to it is gone|peer'
    for d in $here $there; do tc qdisc del dev $d root; done
    again
fi

management_works() { timeout 30 "$builddir/verbs_stranger" "$RDMA_THERE" 7 cookie | grep -q REJECTED; } # port 7: nobody listens

# removed DEVICE NETDEV GATEWAY-SAYS: under load, and back
removed()
{
    begin "$1 is removed"
    timeout 60 rdma link delete $1 || note "$fault" "it cannot be removed: it is held"
    within 40 eval 'gone send && gone recv'
    over 1 send 'removed|device|closed by the peer|connection'
    over 1 recv 'removed|device|closed by the peer|connection'
    logged "$3" || note "$fault" "the gateway did not say '$3' but: $(since)"
    goes_on
    rdma link add $1 type $kind netdev $2
    again
}
if chosen remove; then
    step "the device of the utilities is removed under load"
    removed ${kind}0 $here 'aborted: '
    step "the device of the gateway is removed under load"
    [ $kind = rxe ] && says='removed' || says='removed|REMOVAL' # of the connections, or of the listener alone: the peer closed them first
    removed ${kind}1 $there "$says"
fi

if chosen down; then
    step "the link goes down"
    begin "link down"
    ip link set $there down
    within 40 eval 'gone send && gone recv'
    down='port|retry counter exceeded|the path to it is gone|down'
    [ $kind = rxe ] || down+='|closed by the peer' # iWARP closes its connections first
    over 1 send "$down"
    over 1 recv "$down"
    goes_on
    wire_up
    management_works || { # nothing of ours is asked: a farewell found no route, and Soft-RoCE's queue pair 1 never forgets that
        step "    not even others connect by ${kind}1 any more: it is made anew"
        timeout 60 rdma link delete ${kind}1 && rdma link add ${kind}1 type $kind netdev $there
    }
    again
fi

step "the stream beside is whole, and nothing is left"
wait_for 10 alone
chosen remove && fds=$((fds + 2)) # to let a removed device go, librdmacm looks at the others, and keeps them open
within 5 eval "[ \$(fd_count $worker) -le $fds ]" || note descriptors "$(fd_count $worker) after $fds"
victim_ends
wait_for 10 idle G
stop_gateway G
all_right
