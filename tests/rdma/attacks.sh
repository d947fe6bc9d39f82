#!/bin/bash
# Who breaks the rules of the verbs carriage, attached with the right secret or a stranger, ends his own channel and nothing else: one worker
# serves them all, the gateway says what was wrong, a stream beside them goes on and arrives whole, and nothing of them is left.
# ATTACKS="NAME..." runs those only. For the guest of tests/vm/run.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
. "$srcdir/tests/rdma/functions.sh"
requires "build the attackers: make check-rdma" test -x "$builddir/attacker_send" -a -x "$builddir/attacker_recv" -a -x "$builddir/verbs_stranger"
take_ports
verbs_port=$base
global="attach_timeout = 15s
rdma { listen = \"$RDMA_THERE\"  ports = \"$verbs_port\" }"
new_gateway G
add_route G stream
export ATTACK_FILE=$tmp/intro
chosen() { [ -z "${ATTACKS:-}" ] || [[ " $ATTACKS " == *" $1 "* ]]; }

# attack send|recv NAME GATEWAY-SAYS [ATTACKER-SAYS]: over a channel whose other end is honest and must end with a failure, too. Some run at
# once, each with a channel of its own.
together=5
role=() name=() gateway_says=() attacker_says=()
attack()
{
    local to i=$((${#name[@]} + 1))
    chosen $2 || return 0
    role[$i]=$1 name[$i]=$2 gateway_says[$i]=$3 attacker_says[$i]=${4:-}
    to G/stream
    to+=(--channel $i --require verbs --report none)
    if [ $1 = send ]; then
        start honest$i "$builddir/scistream-recv" "${to[@]}" -o "$tmp/honest$i.dat"
        start attacker$i env ATTACK=$2 "$builddir/attacker_send" "${to[@]}" /dev/zero
    else
        start honest$i "$builddir/scistream-send" "${to[@]}" /dev/zero
        start attacker$i env ATTACK=$2 "$builddir/attacker_recv" "${to[@]}"
    fi
    [ $i -lt $together ] || judge
}

bad()
{
    note "${role[$1]} ${name[$1]}" "$2"
    sed 's/^/        /' "$tmp/attacker$1.err" "$tmp/honest$1.err"
}

judge()
{
    local i told
    for i in "${!name[@]}"; do
        ended 60 attacker$i
        ended 30 honest$i
        [ $status != 0 ] || bad $i "the other end exits with 0"
        within 10 logged "channel [0-9a-f]+/$i \(stream\) aborted: " || bad $i "the gateway did not end it"
        told=$(since | grep -o -m 1 "/$i (stream) aborted: .*")
        step "    ${role[$i]} ${name[$i]}: $(cut -c 1-250 <<<"${told#*aborted: }")"
        [[ $told =~ ${gateway_says[$i]} ]] || bad $i "the gateway did not say '${gateway_says[$i]}'"
        [ -z "${attacker_says[$i]}" ] || said attacker$i "${attacker_says[$i]}" || bad $i "the attacker did not say '${attacker_says[$i]}'"
    done
    role=() name=()
    wait_for 10 alone
    goes_on
    mark
}

# direct NAME SENDER-SAYS: the receiver is evil, scistream-send dials it without a gateway; three at once
direct_name=() direct_says=()
direct()
{
    local pin i=${#direct_name[@]}
    chosen $1 || return 0
    direct_name[$i]=$1 direct_says[$i]=$2
    start evil$i env ATTACK=$1 ${3:+ATTACK_PORT=$3} "$builddir/attacker_recv" --listen "$RDMA_THERE:$((verbs_port + 1 + i))" --require verbs \
        --secret-file "${secret[G]}" --report none -o "$tmp/evil$i.dat"
    wait_said evil$i 'sha256:[0-9a-f]*' 30
    pin=$(grep -o -m 1 'sha256:[0-9a-f]*' "$tmp/evil$i.err" | head -n 1)
    start victim$i "$builddir/scistream-send" --require verbs --secret-file "${secret[G]}" --pin "$pin" --report none \
        "direct://$RDMA_THERE:$((verbs_port + 1 + i))" /dev/zero
    [ $i -lt 2 ] || judge_direct
}

judge_direct()
{
    local i
    for i in "${!direct_name[@]}"; do
        ended 60 victim$i
        step "    ${direct_name[$i]}: $(tail -n 1 "$tmp/victim$i.err" | cut -c 1-250)"
        [ $status != 0 ] || note "accept ${direct_name[$i]}" "the sender exits with 0"
        said victim$i "${direct_says[$i]}" || note "accept ${direct_name[$i]}" "the sender did not say '${direct_says[$i]}' but: $(cat "$tmp/victim$i.err" "$tmp/evil$i.err")"
        kill -9 "${pid[evil$i]}" 2>/dev/null
        finish evil$i
    done
    direct_name=() direct_says=()
}

start_gateway G
worker=$(workers_of G)
step "a victim: a stream that goes on until the end"
ATTACK=publish start_victim stream verbs "$builddir/attacker_send"
wait_until 10 '[ -s "$ATTACK_FILE" ]'
stream_beside
wait_for 10 alone
resources >"$tmp/before"
fds=$(fd_count $worker)
mark

if chosen strangers; then
    step "strangers: private data of others, too little, wrong"
    run stranger 0 "$builddir/verbs_stranger" $RDMA_THERE $verbs_port magic version mtu few short none garbage large cookie
    [ $kind = rxe ] && short=22 || short=1 # InfiniBand pads private data, iWARP does not
    expected='magic 1 version 9 mtu 1 few 1 short '$short' none 1 garbage 1 large 22 cookie 22'
    got=$(sed -n 's/: RDMA_CM_EVENT_REJECTED, status -*[0-9]*, told / /p' "$tmp/stranger.out" | tr '\n' ' ')
    [ "$got" = "$expected " ] || note strangers "expected rejections: $expected; got: $(cat "$tmp/stranger.out" "$tmp/stranger.err")"
    for text in 'protocol error' 'no common protocol version' 'data connection without a valid cookie'; do
        logged "verbs listener: connection from $RDMA_HERE:[0-9]+ rejected: $text" || note strangers "not logged: $text"
    done
    run stranger 0 "$builddir/verbs_stranger" $RDMA_THERE $verbs_port $(yes garbage | head -n 40)
    [ "$(since | grep -c 'verbs listener')" -lt 30 ] || note strangers "the log has $(since | wc -l) lines"
    goes_on
    mark
fi

[ $kind = rxe ] && refused='remote access error' || refused='.*, disconnected'
[ $kind = rxe ] && refused_read='remote (access|invalid request) error' || refused_read=$refused
# Within a protection domain soft-iWARP lets READ what may be written: a sender reads its own bytes back, and no others.
[ $kind = rxe ] && read_own=$refused_read || read_own="DONE|$refused_read"
[ $kind = rxe ] && too_long='local (length|QP operation) error' || too_long='local (length|QP operation) error|work queue catastrophic error'
[ $kind = rxe ] && rejected='28' || rejected='-[0-9]+' # iWARP has no reasons of its own, TCP's are told
[ $kind = rxe ] && denied='remote access error' || denied='work queue.* error|access error|QP operation error|closed by the peer before the end'
[ $kind = rxe ] && overrun='RNR retry counter exceeded' || overrun=$denied
step "attached senders"
attack send silent 'no answer in time, waiting for its HELLO|no data connection in time' # an acceptor that heard nothing says nothing: iWARP has it so
attack send early-data 'DATA \[0, \+100\) before HELLO' 'told RESET 1'
attack send hello-version 'peer speaks version 9'
attack send hello-cookie 'wrong cookie in HELLO'
attack send hello-twice 'second HELLO' 'told RESET 1'
attack send short-message 'no frame of the flow protocol' 'told RESET 1'
attack send empty-message 'no frame of the flow protocol' 'told RESET 1'
attack send large-message "$too_long"
attack send garbage 'no frame of the flow protocol: a5a5a5' 'told RESET 1'
attack send unknown-type 'no frame of the flow protocol: 4d00' 'told RESET 1'
attack send wrong-flow 'EOS 0 about flow 1, which does not exist' 'told RESET 1'
attack send fewer-receives 'its count of receives goes from 64 to 63'
attack send absurd-receives 'its count of receives goes from 64 to 18446744073709551615'
attack send beyond-limit 'DATA \[[0-9]+, \+11\) goes beyond the limit 4194304' 'told RESET 1'
attack send wrapping-offset 'DATA \[18446744073709551610, \+100\) goes beyond the limit' 'told RESET 1'
attack send large-chunk 'DATA \[0, \+4294967295\) goes beyond the limit 4194304|DATA of 4294967295 bytes, at most 1048576' 'told RESET 1'
attack send overlap 'DATA \[50, \+100\) overlaps' 'told RESET 1'
attack send end-twice 'second EOS' 'told RESET 1'
attack send data-after-end 'DATA \[990, \+11\) after EOS at 1000' 'told RESET 1'
attack send flood 'closed by the peer before the end|[Cc]onnection' '[0-9]{3} messages'
attack send write-beyond "aborted" "WRITE: $refused"
attack send write-before "aborted" "WRITE: $refused"
attack send write-rkey "aborted" "WRITE: $refused"
attack send write-other "aborted" "WRITE: $refused"
attack send read-other "aborted" "READ: $refused_read"
attack send read "aborted" "READ: ($read_own)"
attack send vanish-request 'aborted'
attack send vanish-connected 'aborted'
attack send vanish-hello 'aborted'
attack send vanish-data 'aborted'
judge

step "attached receivers"
attack recv silent 'no answer in time, waiting for its HELLO|no data connection in time' # an acceptor that heard nothing says nothing: iWARP has it so
attack recv size-0 'the peer told no ring to write to'
attack recv size-1 'the peer told no ring to write to'
attack recv size-small 'LIMIT shrinks: 1, 0 after 18446744073709551615, 0'
attack recv size-huge "$denied"
attack recv size-wraps 'aborted' "REJECTED, status $rejected, told 1"
attack recv chunk-0 'the peer told no ring to write to'
attack recv chunk-1 'LIMIT shrinks'
attack recv wrong-rkey "$denied"
attack recv wrong-base "$denied"
attack recv limit-shrinks 'LIMIT shrinks: 9999, 0 after 10000, 0' 'told RESET 1'
attack recv limit-absurd 'LIMIT shrinks: 1, 0 after 18446744073709551615, 0'
attack recv consumed-absurd 'LIMIT says 18446744073709551615 consumed' 'told RESET 1'
attack recv data 'DATA \[0, \+100\) about flow 0, which does not exist in that direction' 'told RESET 1'
attack recv fewer-receives 'its count of receives goes from 64 to 63'
attack recv lying-receives "$overrun"
attack recv vanish-hello 'aborted'
judge

step "evil receivers that a sender dials"
direct elsewhere 'nobody listens there' 1
direct elsewhere 'nobody listens there|rejected|no answer' ${port[G]} # a TCP port
direct refuse 'rejected'
direct unanswered 'no answer|in time'
direct vanish-request 'rejected|no answer|in time|lost|connection cut' # the process may be gone before the network says anything
direct silent 'waiting for its HELLO|no progress in time|no data connection in time|in time'
direct magic 'its answer is not ours: protocol error'
direct version 'its answer is not ours: no common protocol version'
direct few-receives 'its answer is not ours: protocol error'
direct cookie 'its answer is not ours: data connection without a valid cookie'
direct size-0 'the peer told no ring to write to'
direct size-1 'the peer told no ring to write to'
direct size-wraps 'its answer is not ours: protocol error'
direct wrong-rkey "$denied"
direct limit-shrinks 'LIMIT shrinks: 9999'
direct vanish-connected 'lost|closed|cut|reset|retry'
direct vanish-hello 'lost|closed|cut|reset|retry'
judge_direct

step "the victim is whole, and nothing is left"
wait_for 10 alone
[ "$(workers_of G)" = "$worker" ] || fail "the worker died: $(grep -a 'worker 0' "$tmp/G.err" | tail -n 2)"
within 10 eval '[ "$(resources)" = "$(cat "$tmp/before")" ]' || note resources "left behind: $(resources), before: $(cat "$tmp/before")"
within 5 eval "[ \$(fd_count $worker) -le $fds ]" || note descriptors "$(fd_count $worker) after $fds"
stream_beside
victim_ends
wait_for 10 idle G
stop_gateway G
all_right
