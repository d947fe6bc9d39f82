#!/bin/bash
# Who breaks the rules of the verbs carriage, attached with the right secret or a stranger, ends his own channel and nothing else: one worker
# serves them all, the gateway says what was wrong, a stream beside them goes on and arrives whole, and nothing of them is left.
# ATTACKS="NAME..." runs those only. For the guest of tests/vm/run.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires "no RDMA devices: run it by tests/vm/run" test -n "${RDMA_HERE:-}"
requires "build the attackers: make check-rdma" test -x "$builddir/attacker_send" -a -x "$builddir/attacker_recv" -a -x "$builddir/verbs_stranger"
gateway_defaults='workers = 1' rdma_transports='"verbs"' ucx_section=
take_ports
verbs_port=$base
global="attach_timeout = 4s
rdma { listen = \"$RDMA_THERE\"  ports = \"$verbs_port\" }"
new_gateway G
add_route G stream

[ -e /sys/class/infiniband/siw0 ] && iwarp=1 || iwarp=
resources() { rdma resource show 2>/dev/null | sed 's/ctx.*//'; }
victim_bytes() { stat -c %s "$tmp/victim.dat.part" 2>/dev/null || echo 0; }
goes_on() { local had; had=$(victim_bytes); within 20 eval "[ \$(victim_bytes) -gt $had ]" || fail "the victim stands still"; }
chosen() { [ -z "${ATTACKS:-}" ] || [[ " $ATTACKS " == *" $1 "* ]]; }
log_mark=0
mark() { log_mark=$(wc -l <"$tmp/G.err"); }
logged() { tail -n +$((log_mark + 1)) "$tmp/G.err" | grep -qE -- "$1"; }
since() { tail -n +$((log_mark + 1)) "$tmp/G.err"; }

# attack send|recv NAME GATEWAY-SAYS [ATTACKER-SAYS]: over a channel whose other end is honest and must end with a failure, too. Some run at
# once, each with a channel of its own. One that does not go as it should is noted in $wrong, the others have their turn.
together=6
wrong=() role=() name=() gateway_says=() attacker_says=()
attack()
{
    local to i=$((${#name[@]} + 1))
    chosen $2 || return 0
    role[$i]=$1 name[$i]=$2 gateway_says[$i]=$3 attacker_says[$i]=${4:-}
    to G/stream
    to+=(--channel $i --report none)
    if [ $1 = send ]; then
        start honest$i "$builddir/scistream-recv" "${to[@]}" -o "$tmp/honest$i.dat"
        start attacker$i env ATTACK=$2 "$builddir/attacker_send" "${to[@]}" /dev/zero
    else
        start honest$i "$builddir/scistream-send" "${to[@]}" /dev/zero
        start attacker$i env ATTACK=$2 "$builddir/attacker_recv" "${to[@]}"
    fi
    [ $i -lt $together ] || judge
}

judge()
{
    local i said
    for i in "${!name[@]}"; do
        finish attacker$i 60
        finish honest$i 30
        [ $status != 0 ] || note $i "the other end exits with 0"
        within 10 logged "channel [0-9a-f]+/$i \(stream\) aborted: " || note $i "the gateway did not end it"
        said=$(since | grep -o -m 1 "/$i (stream) aborted: .*")
        step "    ${role[$i]} ${name[$i]}: $(cut -c 1-250 <<<"${said#*aborted: }")"
        [[ $said =~ ${gateway_says[$i]} ]] || note $i "the gateway did not say '${gateway_says[$i]}'"
        [ -z "${attacker_says[$i]}" ] || said attacker$i "${attacker_says[$i]}" || note $i "the attacker did not say '${attacker_says[$i]}'"
    done
    role=() name=()
    wait_for 10 alone
    goes_on
    mark
}
note()
{
    step "WRONG: ${role[$1]} ${name[$1]}: $2"
    wrong+=("${role[$1]} ${name[$1]}")
    sed 's/^/        /' "$tmp/attacker$1.err" "$tmp/honest$1.err"
}
alone() { [ "$(ctl G sessions --json | $python -c 'import json, sys; print(sum(len(s["channels"]) for s in json.load(sys.stdin)["sessions"]))')" = 1 ]; }

start_gateway G
worker=$(workers_of G)
make_data 100000 >"$tmp/block"

step "a victim: a stream that goes on until the end"
endless() { while [ -e "$tmp/block" ] && [ ! -e "$tmp/stop" ]; do cat "$tmp/block"; sleep 0.2; done | tee "$tmp/sent"; }
export ATTACK_FILE=$tmp/intro
start_recv victim G/stream --channel 0 --report none -o "$tmp/victim.dat"
to G/stream
input=<(endless) start source env ATTACK=publish "$builddir/attacker_send" "${to[@]}" --channel 0 --report none
wait_until 30 '[ -s "$tmp/intro" ] && [ $(victim_bytes) -gt 0 ]'

stream_beside() # over the channel that the attacks use
{
    local to
    to G/stream
    start honest "$builddir/scistream-recv" "${to[@]}" --channel 1 --report none -o "$tmp/honest.dat"
    run beside 0 "$builddir/scistream-send" "${to[@]}" --channel 1 --report none "$tmp/block"
    ends honest 0
    same "$tmp/block" "$tmp/honest.dat"
}
stream_beside
wait_for 10 alone
resources >"$tmp/before"
fds=$(fd_count $worker)

step "strangers: private data of others, too little, wrong"
if chosen strangers; then
    mark
    run stranger 0 "$builddir/verbs_stranger" $RDMA_THERE $verbs_port magic version mtu few short none garbage large cookie
    expected='magic 1 version 9 mtu 1 few 1 short 22 none 1 garbage 1 large 22 cookie 22'
    got=$(sed -n 's/: RDMA_CM_EVENT_REJECTED, status -*[0-9]*, told / /p' "$tmp/stranger.out" | tr '\n' ' ')
    [ "$got" = "$expected " ] || fail "expected rejections: $expected; got: $(cat "$tmp/stranger.out" "$tmp/stranger.err")"
    for text in 'protocol error' 'no common protocol version' 'data connection without a valid cookie'; do
        logged "verbs listener: connection from $RDMA_HERE:[0-9]+ rejected: $text" || fail "not logged: $text"
    done
    goes_on
    run stranger 0 "$builddir/verbs_stranger" $RDMA_THERE $verbs_port $(yes garbage | head -n 40)
    [ "$(since | grep -c 'verbs listener')" -lt 30 ] || fail "the log has $(since | wc -l) lines"
    goes_on
fi

mark
step "attached senders"
attack send silent 'no answer in time, waiting for its HELLO|no data connection in time' 'told RESET 26'
attack send early-data 'DATA \[0, \+100\) before HELLO' 'told RESET 1'
attack send hello-version 'peer speaks version 9'
attack send hello-cookie 'wrong cookie in HELLO'
attack send hello-twice 'second HELLO' 'told RESET 1'
attack send short-message 'no frame of the flow protocol' 'told RESET 1'
attack send empty-message 'no frame of the flow protocol' 'told RESET 1'
attack send large-message 'local (length|QP operation) error'
attack send garbage 'no frame of the flow protocol: a5a5a5' 'told RESET 1'
attack send unknown-type 'no frame of the flow protocol: 4d00' 'told RESET 1'
attack send wrong-flow 'EOS 0 about flow 1, which does not exist' 'told RESET 1'
attack send fewer-receives 'its count of receives goes from 64 to 63'
attack send absurd-receives 'its count of receives goes from 64 to 18446744073709551615'
attack send beyond-limit 'DATA \[[0-9]+, \+11\) goes beyond the limit 4194304' 'told RESET 1'
attack send wrapping-offset 'DATA \[18446744073709551610, \+100\) goes beyond the limit' 'told RESET 1'
attack send large-chunk 'DATA \[0, \+4294967295\) goes beyond the limit 4194304|DATA of 4294967295 bytes, at most 1048576 were agreed' 'told RESET 1'
attack send overlap 'DATA \[50, \+100\) overlaps' 'told RESET 1'
attack send end-twice 'second EOS' 'told RESET 1'
attack send data-after-end 'DATA \[990, \+11\) after EOS at 1000' 'told RESET 1'
attack send flood 'second HELLO'
attack send write-beyond 'aborted' 'WRITE: remote access error'
attack send write-before 'aborted' 'WRITE: remote access error'
attack send write-rkey 'aborted' 'WRITE: remote access error'
attack send write-other 'aborted' 'WRITE: remote access error'
attack send read-other 'aborted' 'READ: remote access error'
attack send read 'aborted' 'READ: remote access error'
attack send vanish-request 'aborted'
attack send vanish-connected 'aborted'
attack send vanish-hello 'aborted'
attack send vanish-data 'aborted'

judge
step "attached receivers"
attack recv silent 'no answer in time, waiting for its HELLO|no data connection in time' 'told RESET 26'
attack recv size-0 'the peer told no ring to write to'
attack recv size-1 'the peer told no ring to write to'
attack recv size-small 'LIMIT shrinks: 1, 0 after 18446744073709551615, 0'
attack recv size-huge 'remote access error'
attack recv size-wraps 'rejected'
attack recv chunk-0 'the peer told no ring to write to'
attack recv chunk-1 'LIMIT shrinks'
attack recv wrong-rkey 'remote access error'
attack recv wrong-base 'remote access error'
attack recv limit-shrinks 'LIMIT shrinks: 9999, 0 after 10000, 0' 'told RESET 1'
attack recv limit-absurd 'LIMIT shrinks: 1, 0 after 18446744073709551615, 0'
attack recv consumed-absurd 'LIMIT says 18446744073709551615 consumed' 'told RESET 1'
attack recv data 'DATA \[0, \+100\) about flow 0, which does not exist in that direction' 'told RESET 1'
attack recv fewer-receives 'its count of receives goes from 64 to 63'
attack recv lying-receives 'receiver not ready|RNR retry counter exceeded'
attack recv vanish-hello 'aborted'
judge

step "the victim is whole, and nothing is left"
wait_for 10 alone
[ "$(workers_of G)" = "$worker" ] || fail "the worker died: $(grep -a 'worker 0' "$tmp/G.err" | tail -n 2)"
wait_until 10 '[ "$(resources)" = "$(cat "$tmp/before")" ]' || fail "left behind: $(resources), before: $(cat "$tmp/before")"
wait_until 5 "[ \$(fd_count $worker) -le $fds ]"
stream_beside
: >"$tmp/stop"
ends source 0 60
ends victim 0
same "$tmp/sent" "$tmp/victim.dat"
wait_for 10 idle G
stop_gateway G
[ ${#wrong[@]} = 0 ] || fail "not as it should be: ${wrong[*]}"
