#!/bin/bash
# A third party arranges a stream by scistreamctl, and scistream-send and scistream-recv attach at both ends by the tickets that it got: whichever gateway dials,
# channels by number as a batch job has them, in two halves by two operators, and on one side an application that knows nothing of it.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
requires_program xxh128sum
unset http_proxy https_proxy
umask 077
ctl=$builddir/scistreamctl
for g in A B; do
    new_gateway $g
    printf 'scistream { enable = yes  auth = none  data_ports = "%s-%s" }\n' $((port[$g] + 10)) $((port[$g] + 11)) >>"$tmp/$g/conf"
    start_gateway $g
done
A=localhost:${port[A]} B=localhost:${port[B]}
for g in A B; do run ctl 0 "$ctl" login --gateway "localhost:${port[$g]}" --pin "${pin[$g]}"; done
for i in 0 1; do make_data $((3000000 + i)) $i >"$tmp/in$i"; done
uid_of() { json "$tmp/ctl.out" 'd["session"]'; }
left() { ctl "$1" grants --json >"$tmp/grants" && json "$tmp/grants" '" ".join(g["session"] for g in d["grants"] if g["arranged"])'; }
nothing_left() { [ -z "$(left A)$(left B)" ]; }
end_both() { run ctl 0 "$ctl" revoke --abort --from "$A" --to "$B" "$1"; wait_for 10 nothing_left; }
# send_as NAME CHANNEL TICKET FILE and recv_as: a task of a batch job, which knows its number
send_as() { SLURM_PROCID=$2 start "$1" bash -c 'exec "$0" --require "$1" -T "$2" --channel "$SLURM_PROCID" "$3"' "$builddir/scistream-send" $rdma "$tmp/$3" "$tmp/$4"; }
recv_as() { SLURM_PROCID=$2 start "$1" bash -c 'exec "$0" --require "$1" -T "$2" --channel "$SLURM_PROCID" -o "$3"' "$builddir/scistream-recv" $rdma "$tmp/$3" "$tmp/$4"; }

for dial in from to; do
    step "both ends attach, and the gateway of --$dial dials"
    rm -f "$tmp"/for-* "$tmp"/out[01]
    run ctl 0 "$ctl" stream --from "$A" --to "$B" --dial $dial --channels 2 --send-file "$tmp/for-a" --recv-file "$tmp/for-b" --json
    uid=$(uid_of)
    for i in 1 0; do
        recv_as recv$i $i for-b out$i
        send_as send$i $i for-a in$i
    done
    for i in 0 1; do
        ends send$i 0 30 'confirmed with digest'
        ends recv$i 0
        same "$tmp/in$i" "$tmp/out$i"
        says send$i "$rdma on .*session $uid channel $i"
    done
    send_as wrong 2 for-a in0
    ends wrong 64 15 'the ticket is for channels 0 to 1'
    send_as wrong 0 for-b in0
    ends wrong 78 15 'the ticket is for scistream-recv'
    end_both "$uid"
    send_as late 0 for-a in0
    ends late 67 15 'no such route, or wrong secret'
done

step "in two halves, by two operators"
run ctl 0 "$ctl" inbound --gateway "$A" --attach send --send-file "$tmp/half.send" -o "$tmp/half"
run ctl 0 "$ctl" outbound --gateway "$B" --attach recv --ticket-file "$tmp/half" --recv-file "$tmp/half.recv"
recv_as recv 0 half.recv half.out
send_as send 0 half.send in0
ends send 0 30
ends recv 0
same "$tmp/in0" "$tmp/half.out"
uid=$(left A)

step "used again after it was renewed, and no more when it has expired"
run ctl 0 "$ctl" renew --gateway "$A" --for 1h --send-file "$tmp/again.send" -o "$tmp/again" "$uid"
run ctl 0 "$ctl" renew --gateway "$B" --for 1h --recv-file "$tmp/again.recv" "$uid"
rm "$tmp/half.out"
recv_as recv 0 again.recv half.out
send_as send 0 again.send in1
ends send 0 30
ends recv 0
same "$tmp/in1" "$tmp/half.out"
run ctl 0 "$ctl" renew --gateway "$A" --for 1s "$uid"
wait_until 10 '[ -z "$(left A)" ]'
send_as late 0 again.send in1
ends late 67 15 'no such route, or wrong secret'
run ctl 64 "$ctl" renew --gateway "$A" "$uid"
run ctl 0 "$ctl" revoke --gateway "$B" "$uid"
wait_for 10 nothing_left
