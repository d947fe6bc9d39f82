#!/bin/bash
# Who comes first waits: as long as --wait says, as long as the gateway lets it; --retry attaches again until there is somebody.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
start_gateway_pair detector
make_data 300000 >"$tmp/in"
both_end() { ends send 0; ends recv 0; same "$tmp/in" "$tmp/recv.out"; }
# took MS LEAST MOST
took() { [ "$1" -ge "$2" ] && [ "$1" -le $(($3 * slow)) ] || fail "it took $1 ms instead of $2 to $3"; }

step "the sender first"
start_send send A/detector "$tmp/in"
wait_said send 'waiting for a receiver on route detector'
start_recv recv B/detector --report none
both_end

step "the receiver first"
start_recv recv B/detector --report none
wait_said recv 'waiting for a sender on route detector'
start_send send A/detector "$tmp/in"
both_end

step "--wait 1s, of the sender and of the receiver"
for end in send recv; do
    begin=$(now_ms)
    [ $end = send ] && send 75 A/detector --wait 1s "$tmp/in" || recv 75 B/detector --wait 1s
    took $(($(now_ms) - begin)) 900 3500
    says $end 'did not come in time|came to route detector in time'
done

step "the gateway's rendezvous_timeout; nobody loses patience without a word"
stop_gateway B
start_gateway B -o rendezvous_timeout=2s
start_recv recv B/detector
ends recv 75 10 'no sender came to route detector in time'
start_send send A/detector "$tmp/in"
ends send 75 10 'no receiver came to route detector in time'

step "--wait forever of a receiver goes on beyond it"
start_recv recv B/detector --wait forever --report none
wait_said recv 'trying again' 10
start_send send A/detector "$tmp/in"
both_end

step "--retry: a gateway that is not there yet"
stop_gateway A
start_send send A/detector --retry 20s "$tmp/in"
wait_said send 'trying again'
start_gateway A
start_recv recv B/detector --report none
both_end

step "--retry ends, too; without it an unreachable gateway is told at once"
stop_gateway A
begin=$(now_ms)
send 69 A/detector --retry 1s "$tmp/in"
took $(($(now_ms) - begin)) 1000 5000
begin=$(now_ms)
send 69 A/detector "$tmp/in"
took $(($(now_ms) - begin)) 0 2000

step "what another try cannot mend is not tried again"
begin=$(now_ms)
send 67 B/nowhere --retry 10s "$tmp/in"
took $(($(now_ms) - begin)) 0 2000

step "a channel that was asked for is held, others are free"
start_recv holder B/detector --channel 0
wait_until 5 "ctl B sessions | grep -q 'channel 0'"
recv 75 B/detector --channel 0
says recv 'channel 0 of route detector is held by 127.0.0.1:[0-9]* since .*; without --channel the next free one is taken'
kill "${pid[holder]}"
finish holder
wait_for 10 idle B

step "a busy route: refused with the holder's name, taken with --retry when its place is free"
sed -i 's/channels = 16/channels = 1/' "$tmp/A/conf"
start_gateway A
stop_gateway B
start_gateway B
input=<(make_data 100000; sleep 3) start_send first A/detector --report none
wait_until 5 "ctl A sessions | grep -q 'channel 0'"
send 75 A/detector "$tmp/in"
says send 'no place for another sender; channel 0 is held by 127.0.0.1:[0-9]* since'
send 75 A/detector --channel 0 "$tmp/in"
says send 'no place for another sender; channel 0 is held by 127.0.0.1:[0-9]* since'
start_send send A/detector --retry 20s --report none "$tmp/in"
start_recv recv1 B/detector --report none
wait_said send 'trying again'
start_recv recv2 B/detector --report none
ends first 0 20
ends send 0 20
ends recv1 0
ends recv2 0
