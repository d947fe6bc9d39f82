#!/bin/bash
# scistreamctl release: an administrator ends a session or one channel of it; both ends learn it as an abort with its own code and the reason.
# Nobody else may.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
start_gateway_pair detector
make_data 3000000 >"$tmp/in"
release() { run ctl "$1" "$builddir/scistreamctl" -S "$tmp/$2/sock" release "${@:3}"; }
uid_of() { ctl "$1" sessions --json | $python -ISc 'import json, sys; print(json.load(sys.stdin)["sessions"][0]["uid"])'; }
open_channels() { ctl "$1" sessions --json | $python -ISc 'import json, sys
print(" ".join(sorted(str(c["number"]) for s in json.load(sys.stdin)["sessions"] for c in s["channels"] if c["state"] == "flowing")))'; }
begin() # NAME...: a stream each
{
    local n
    for n; do
        start_recv recv$n B/detector --report json
        start_send send$n A/detector --report json --rate 80Mbit /dev/zero
        wait_until 30 "[ \"\$(open_channels A | wc -w)\" = $((n + 1)) ] && [ \"\$(open_channels B | wc -w)\" = $((n + 1)) ]"
    done
}

step "a session: all of its channels"
begin 0 1
release 0 A "$(uid_of A)" --reason 'maintenance at noon'
[ "$(cat "$tmp/ctl.out")" = "2 channels released" ] || fail "$(cat "$tmp/ctl.out")"
for n in 0 1; do
    ends send$n 76 10 'aborted by the other side: gateway A: released by an administrator: maintenance at noon'
    ends recv$n 76 10 'aborted by the other side: gateway A: released by an administrator: maintenance at noon'
    [ "$(json "$tmp/send$n.out" '[d["ok"], d["error"], d["retryable"]]')" = "[False, 'ERELEASED', False]" ] || fail "$(cat "$tmp/send$n.out")"
done
log_has A 'session [0-9a-f]{32}: 2 channels released by unix \(uid [0-9]+\)'
log_has A '\(detector\) aborted: gateway A: released by an administrator: maintenance at noon'
wait_for 5 idle A
wait_for 5 idle B

step "one channel, at the gateway of the receiver; the other goes on"
begin 0 1
uid=$(uid_of B)
release 64 B "$uid/7"
says ctl 'the session has no open channel of that number'
release 0 B "$uid/1" --json
[ "$(cat "$tmp/ctl.out")" = '{"channels":1,"connections":0}' ] || fail "$(cat "$tmp/ctl.out")"
ends recv1 76 10 'gateway B: released by an administrator'
ends send1 76 10 'gateway B: released by an administrator'
wait_until 5 "[ \"\$(open_channels A)\" = 0 ]"
alive send0 && alive recv0 || fail "the other one has ended"

step "one that waits for its partner"
start_recv waiting B/detector
wait_said waiting 'waiting for a sender'
release 0 B "$uid/1" --reason 'not today'
ends waiting 76 5 'released by an administrator: not today'

step "all of a route"
uid=$(uid_of B)
begin 1
release 64 B --route detectors
says ctl 'no route of that name'
release 0 A --route detector --reason 'the whole route'
[ "$(cat "$tmp/ctl.out")" = "2 channels released" ] || fail "$(cat "$tmp/ctl.out")"
for n in 0 1; do
    ends send$n 76 10 'gateway A: released by an administrator: the whole route'
    ends recv$n 76 10 'gateway A: released by an administrator: the whole route'
done
log_has A 'route detector: 2 channels released by unix \(uid [0-9]+\)'
wait_for 5 idle A
wait_for 5 idle B
release 64 A --route detector
says ctl 'the route has neither an open channel nor an open connection'
begin 0
uid=$(uid_of B)

step "what cannot be"
release 64 A "${uid//[0-9]/0}"
says ctl 'no session with that uid'
release 64 A "r0.1"
says ctl 'no open connection with that id'
release 64 A "$uid/x"
says ctl 'must be UID or UID/CHANNEL'
release 64 B "$uid" --reason $'two\nlines'
says ctl 'printable text of at most 200 bytes'
release 64 B "$uid" --reason "$(printf %0201d 0)"
release 69 nobody "$uid"
if [ "$(id -u)" = 0 ] && id nobody >/dev/null 2>&1 && command -v setpriv >/dev/null; then
    chmod 711 "$tmp" "$tmp/B"
    cp "$builddir/scistreamctl" "$tmp/ctl"
    chmod 755 "$tmp/ctl"
    run ctl 67 setpriv --reuid=nobody --clear-groups "$tmp/ctl" -S "$tmp/B/sock" release "$uid"
fi
alive send0 && alive recv0 || fail "it has ended"
kill -INT "${pid[send0]}"
ends send0 76
ends recv0 76
stream "$tmp/in" A/detector B/detector
