#!/bin/bash
# Sessions that users arrange with tickets between two gateways, by gRPC's own client: bytes go both ways, TLS is keyed by the secret and lets nobody else in;
# expiry, renewal, lifetime, revocation; owners and policies; what cannot be had is refused whole and clearly; an upgrade keeps sessions, secrets and times.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program xxh128sum
. "$srcdir/tests/lib/sessions.sh"
cases=$srcdir/tests/func/arrange.py

# arranged SECONDS...: a session from D to L that stays, to 127.0.0.1:$behind; sets uid, wan, door
behind=
arranged() { ask arranged "$tmp/L" "$tmp/D" $behind "$@"; read -r uid wan door <<<"$told"; }

# As in scistream.sh: a connection through $door, and what becomes of it
hold()
{
    mkfifo "$tmp/$1.to"
    input=$tmp/$1.to start "$1" $python "$srcdir/tests/func/scistream.py" hold "$tmp/messages" $door $behind
    exec {held[$1]}>"$tmp/$1.to"
    wait_until 10 "grep -q holds '$tmp/$1.out'"
}
carries() { echo "$2" >&"${held[$1]}"; wait_until 10 "grep -qx '$2' '$tmp/$1.out'"; }
ended() { local fd=${held[$1]}; exec {fd}>&-; unset "held[$1]"; rm "$tmp/$1.to"; ends "$1" 0; grep -qx "$2" "$tmp/$1.out" || fail "$1 ended as $(tail -n 1 "$tmp/$1.out")"; }
declare -A held
sessions() { ctl "$1" sessions --json >"$tmp/sessions" || fail "sessions"; }
of_session() { json "$tmp/sessions" "next(s for s in d['sessions'] if s['uid'] == '$uid')$1"; }

new_sessions L
new_sessions D
start_gateway L
start_gateway D
behind=$((port[L] + 7))

for case in carries strangers expiry lifetime revoked refusals; do
    step $case
    ask $case "$tmp/L" "$tmp/D"
done
log_has L 'scistream: session [0-9a-f]{32} arranged for anonymous from 127.0.0.1:[0-9]+: PROD, 127.0.0.1:[0-9]+ -> 127.0.0.1:[0-9]+'
log_has L 'audit: principal="anonymous" .* what=Arrange uid="[0-9a-f]{32}" allowed=yes'
log_has L 'session [0-9a-f]{32} of anonymous takes no new connections: its ticket has expired'
log_has L 'session [0-9a-f]{32} of anonymous has ended: its lifetime is over'
! said L 'keyed by its uid' || fail "a session with a ticket is keyed by its uid"

ask vanishes "$tmp/L"

step "applications that attach, at both ends, in both directions"
umask 077
make_data 3000000 >"$tmp/in"
by_ticket() { start "$1" "$builddir/scistream-$1" --ticket-file "$tmp/$2.ticket" --transport link "${@:3}"; }
for role in SEND RECV; do
    ask attached "$tmp/L" "$tmp/D" $role "$tmp"
    uid=${told% }
    [ $role = SEND ] && to=L from=D || to=D from=L
    by_ticket recv $to -o "$tmp/out"
    by_ticket send $from "$tmp/in"
    ends send 0 30 'confirmed with digest'
    ends recv 0
    same "$tmp/in" "$tmp/out"
    rm "$tmp/out"
    ask call release "$tmp/D" "$uid"
    run ctl 0 "$builddir/scistreamctl" -S "$tmp/L/sock" release "$uid"
    by_ticket send $from "$tmp/in"
    ends send 67 30
done

step "the application of one side attaches, that of the other is a TCP peer"
ask beside "$tmp/L" "$tmp/D" "$tmp" $behind
uid=${told% }
start taken $python "$srcdir/tests/func/arrange.py" taken "$tmp/messages" $behind
wait_for 10 port_busy $behind
mkfifo "$tmp/gate"
input=$tmp/gate by_ticket send D "$tmp/in" -
exec {gate}>"$tmp/gate"
wait_for 10 flowing L 1000000
sessions L
[ "$(json "$tmp/sessions" "[(len(s['channels']), s['arranged']['security']) for s in d['sessions'] if s['uid'] == '$uid']")" = "[(1, 'TLS, keyed by ticket')]" ] || fail "$(cat "$tmp/sessions")"
exec {gate}>&-
ends send 0 30 'not confirmed'
ends taken 0
same "$tmp/in" "$tmp/taken.out"
ask call revoke "$tmp/L" "$uid"
by_ticket send D "$tmp/in"
finish send 30
[ $status != 0 ] || fail "a revoked session takes a stream"
ask call release "$tmp/D" "$uid"

step "the death of workers, a drain"
arranged 86400
kill -9 $(workers_of L) $(workers_of D)
for g in L D; do wait_said $g 'worker 1 .*a new one is started'; done
hold app
carries app lives
run ctl 0 "$builddir/scistreamctl" -S "$tmp/L/sock" drain --timeout 10m
ask draining "$tmp/L"
carries app goes-on
ask no_entry $door
run ctl 0 "$builddir/scistreamctl" -S "$tmp/L/sock" drain --resume
echo bye >&"${held[app]}"
ended app end
hold app
echo bye >&"${held[app]}"
ended app end
ask call revoke "$tmp/L" "$uid"
ask call revoke "$tmp/D" "$uid"

step "watched: ten minutes before its end there is an event"
start watch "$builddir/scistreamctl" -S "$tmp/L/sock" watch --json
arranged 86400 602
wait_until 20 "grep -q '\"session\":\"$uid\".*Listening: ends in 10 minutes' '$tmp/watch.out'"
run ctl 0 "$builddir/scistreamctl" -S "$tmp/L/sock" release "$uid"
wait_until 10 "grep -q '\"session\":\"$uid\".*ended: ' '$tmp/watch.out'"
ask call release "$tmp/D" "$uid"
kill "${pid[watch]}"
finish watch

step "an upgrade of both keeps sessions, connections, secrets and times"
upgraded() # GATEWAY: it is the program that took over, and $old the one before
{
    run ctl 0 "$builddir/scistreamctl" -S "$tmp/$1/sock" upgrade
    old=${pid[$1]}
    pid[$1]=$(ctl "$1" info --json | sed 's/.*"pid":\([0-9]*\).*/\1/')
    started+=("${pid[$1]}")
}
arranged 86400
hold app
sessions L
expires=$(of_session "['arranged'].get('expires_s', 0)")
for g in L D; do
    upgraded $g
    wait_said $g "session $uid taken over, 1 port"
done
sessions L
[ "$(of_session "['arranged']['security']")" = "TLS, keyed by ticket" ] || fail "$(cat "$tmp/sessions")"
[ "$(of_session "['arranged'].get('expires_s', 0)")" = "$expires" ] || fail "another time"
carries app stays
ask call renew "$tmp/L" "$uid" 1
wait_said L "session $uid of anonymous takes no new connections: its ticket has expired"
carries app still
upgraded L # one that lets nobody in
wait_said L "session $uid of anonymous takes no new connections: its ticket has expired"
ask call renew "$tmp/L" "$uid" 600
carries app after
echo bye >&"${held[app]}"
ended app end
hold other
carries other renewed
ask call release "$tmp/L" "$uid"
ended other reset
ask call release "$tmp/D" "$uid"
for g in L D; do
    kill "${pid[$g]}"
    wait_until 20 "! kill -0 ${pid[$g]}"
done

step "a limit, owners, policies, a reload to require_ticket"
section='sessions = 2' new_sessions S
start_gateway S
ask limit "$tmp/S"
sed -i 's/sessions = 2/sessions = 2  require_ticket = yes/' "$tmp/S/conf"
ctl S reload | grep -q '^scistream.require_ticket' || fail "reload"
ask ticket_wanted "$tmp/S"
for name in ANNA BERT; do
    run "token$name" 0 "$builddir/scistreamctl" token "${name,,}@example.org"
    export "$name=$(cat "$tmp/token$name.out")"
    tail -n 1 "$tmp/token$name.err" >>"$tmp/tokens"
done
chmod 600 "$tmp/tokens"
auth=policy new_sessions W
cat >>"$tmp/W/conf" <<END
auth { token_file = "$tmp/tokens" }
policy "anna" { principals = {"anna@*"}  roles = {"PROD"}  targets = {"127.0.0.1:$((port[W] + 10))", "[::1]:$((port[W] + 10))"}  sessions = 2  channels = 3  lifetime = 1h }
policy "bert" { principals = {"bert@*"}  roles = {"CONS", "RECV"}  targets = {"127.0.0.1:5100-5109"} }
END
start_gateway W
cat >>"$tmp/S/conf" <<END
auth { token_file = "$tmp/tokens" }
END
ctl S reload >"$tmp/reload" || fail "$(cat "$tmp/reload")"
ask owners "$tmp/W" "$tmp/S"
ask dialing "$tmp/W"
ask kept "$tmp/W"
sed -i 's/"anna@\*"/"otto@*"/' "$tmp/W/conf"
ctl W reload | grep -q '^policy.anna' || fail "reload"
ask taken_away "$tmp/W" ${told% }
log_has W 'audit: principal="bert@example.org" .* what=Revoke uid="[0-9a-f]{32}" allowed=no why="the session is somebody else'
log_has W 'audit: principal="anna@example.org" .* what=Arrange uid="[0-9a-f]{32}" allowed=yes'
log_has W 'audit: principal="anna@example.org" .* what=Arrange uid="" allowed=no why="policy ."anna.": 127.0.0.2:9 is in none of its targets'
stop_gateway W
stop_gateway S
sed -i 's/enable = yes/enable = no/' "$tmp/S/conf"
start_gateway S
ask off "$tmp/S"
