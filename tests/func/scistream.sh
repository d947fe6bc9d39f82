#!/bin/bash
# scistream.Control: SciStream's own client, whose calls Python's gRPC makes in its order, arranges sessions of two gateways, and unchanged applications
# go through both: iperf3, curl, ZeroMQ, a half-closed connection. Requests that overlap, thousands of them, too few ports, callers that vanish, bad
# input: each is answered clearly and nothing is lost. scistreamctl shows and ends them, drain and the death of a worker do as with routes.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
. "$srcdir/tests/lib/apps.sh"
. "$srcdir/tests/lib/sessions.sh"
cases=$srcdir/tests/func/scistream.py wan_leg=plaintext

# take_range N: so many ports above the ephemeral range, in $first to $last
take_range()
{
    local try
    if [ -z "${ranges:-}" ]; then
        exec {ranges}>"${TMPDIR:-/tmp}/scistream-test-ports.$(id -u)/ranges"
        flock -w $((30 * slow)) $ranges || step "    another test has ports up there: tried beside it" # the lock goes with the test and its processes
    fi
    for ((try = 0; try < 200; try++)); do
        first=$((61000 + RANDOM % (4500 - $1))) last=$((first + $1 - 1))
        port_busy $(seq $first $last) || return 0
    done
    fail "no range of $1 free ports"
}

# new_scistream NAME [N]: as new_sessions, with N ports up there
new_scistream()
{
    [ -z "${2:-}" ] || take_range "$2"
    new_sessions "$1" ${2:+$first $last}
}

# through N RECEIVER...: a session at P and at C; sets uid, wan_door and the array local: where the application connects
through() { ask arranged "$tmp/P" "$tmp/C" "$@"; read -r uid wan_door local <<<"$told"; local=($local); door=${local[0]##*:}; }
let_go() { ask released "$tmp/P" "$uid"; ask released "$tmp/C" "$uid"; }

beside() { start "$1" $python "$srcdir/tests/func/scistream.py" "$2" "$tmp/messages" "${@:3}"; } # NAME CASE ARGUMENTS
hold() { mkfifo "$tmp/$1.to"; input=$tmp/$1.to beside "$1" hold "$2" $behind; exec {held[$1]}>"$tmp/$1.to"; wait_until 10 "grep -q holds '$tmp/$1.out'"; }
carries() { echo "$2" >&"${held[$1]}"; wait_until 10 "grep -qx '$2' '$tmp/$1.out'"; }
ended() { local fd=${held[$1]}; exec {fd}>&-; unset "held[$1]"; rm "$tmp/$1.to"; ends "$1" 0; grep -qx "$2" "$tmp/$1.out" || fail "$1 ended as $(tail -n 1 "$tmp/$1.out")"; }
declare -A held
sessions() { ctl "$1" sessions --json >"$tmp/sessions" || fail "sessions"; } # GATEWAY: in $tmp/sessions
of_session() { json "$tmp/sessions" "next(s for s in d['sessions'] if s['uid'] == '$1')$2"; } # UID ['field']

step "one gateway: orders of calls, bad input, callers that vanish"
gateway_defaults="workers = 2
records = \"$tmp/records\""
section='plaintext_listen = "127.0.0.1:PLAIN"' new_scistream G
plain=$((port[G] + 8))
sed -i "s/:PLAIN/:$plain/" "$tmp/G/conf"
start_gateway G
ask cases "$tmp/G"
step "    $told"
ask plain "$tmp/G" $plain
ask case again "$tmp/G" 40
log_has G 'req of [0-9a-f-]+ by anonymous from 127.0.0.1:[0-9]+: allowed: PROD, 6 ports from '
log_has G 'release of [0-9a-f-]+ by anonymous from 127.0.0.1:[0-9]+: allowed: '
log_has G 'hello of \? by anonymous from 127.0.0.1:[0-9]+: refused: INVALID_ARGUMENT: uid: '
ask case storm "$tmp/G" 500
[ "$(grep -c 'release of nobody-.*refused: ' "$tmp/G.err")" -lt 250 ] || fail "each of a storm of refusals has its line in the log"

step "listed, watched, released"
behind=$((port[G] + 7))
ask arrange "$tmp/G" PROD 2 127.0.0.1:$behind
read -r uid at other <<<"$told"
start watch "$builddir/scistreamctl" -S "$tmp/G/sock" watch --json
wait_until 10 "grep -q '\"session\":\"$uid\"' '$tmp/watch.out'"
hold app "${at##*:}"
sessions G
[ "$(of_session "$uid" "['arranged']['state']")" = Listening ] && [ "$(of_session "$uid" "['arranged']['role']")" = PROD ] || fail "$(cat "$tmp/sessions")"
[ "$(of_session "$uid" "['arranged']['listeners'][0]")" = "$at" ] && [ "$(of_session "$uid" "['arranged']['targets']")" = "['127.0.0.1:$behind']" ] || fail "$(cat "$tmp/sessions")"
[ "$(of_session "$uid" "['arranged']['open']")" = 1 ] && [ "$(of_session "$uid" "['arranged']['bytes_forward']")" = 1 ] || fail "$(cat "$tmp/sessions")"
[ "$(json "$tmp/sessions" "d['routes'][0]['route']")" = scistream:sessions ] || fail "$(cat "$tmp/sessions")"
ctl G sessions >"$tmp/text"
grep -qF "PROD Listening, takes connections since " "$tmp/text" && grep -q 'connections 1 open, 1 came, 0 refused, 0 failed, 1 B there, 0 B back' "$tmp/text" || fail "$(cat "$tmp/text")"
ctl G sessions --connections | grep -q " $uid " || fail "the connection does not name its session"
sed -i 's/enable = yes/enable = yes  connections = 1/' "$tmp/G/conf"
ctl G reload | grep -q '^scistream.connections' || fail "reload"
ask fate "${at##*:}"
[ "$told" = "reset " ] || fail "one connection more than the new limit: $told"
wait_said G "session $uid, port ${at##*:}: 127.0.0.1:[0-9]+ refused: the listener has its 1 connections: raise connections"
sed -i 's/  connections = 1//' "$tmp/G/conf"
scrape G >"$tmp/metrics"
[ "$(metric "$tmp/metrics" scistream_connections 'route="scistream:sessions"')" = 1 ] || fail "$(grep scistream_connections "$tmp/metrics")"
! grep -q "$uid" "$tmp/metrics" || fail "a uid is a label"
run ctl 0 "$builddir/scistreamctl" -S "$tmp/G/sock" release "$uid" --reason enough
grep -qx '1 session released' "$tmp/ctl.out" || fail "$(cat "$tmp/ctl.out")"
ended app reset
wait_until 10 "grep -q '\"session\":\"$uid\".*ended: 2 ports given back; connections: 2 came, 1 refused, 1 open and reset' '$tmp/watch.out'"
wait_until 10 "grep -q '\"uid\":\"$uid\".*\"code\":\"ERELEASED\",\"reason\":\"released by an administrator: enough\"' '$tmp/records'"
run ctl 64 "$builddir/scistreamctl" -S "$tmp/G/sock" release "$uid"
kill "${pid[watch]}"
finish watch

step "the death of a worker resets its connections, listeners live on"
ask arrange "$tmp/G" PROD 1 127.0.0.1:$behind
read -r uid at <<<"$told"
hold app "${at##*:}"
kill -9 $(workers_of G)
ended app reset
wait_said G 'worker 1 .*a new one is started'
hold again "${at##*:}"
carries again lives
sessions G
[ "$(of_session "$uid" "['arranged']['failed']")" = 1 ] && [ "$(of_session "$uid" "['arranged']['accepted']")" = 2 ] || fail "$(cat "$tmp/sessions")"

step "a drain refuses requests and leaves connections"
run ctl 0 "$builddir/scistreamctl" -S "$tmp/G/sock" drain --timeout 10m
ask case draining "$tmp/G"
carries again goes-on
ask fate "${at##*:}"
[ "$told" = "reset " ] || fail "who came while it drained: $told"
run ctl 0 "$builddir/scistreamctl" -S "$tmp/G/sock" drain --resume
echo bye >&"${held[again]}"
ended again end
hold later "${at##*:}"

step "an upgrade: sessions go to the new program, connections stay until they end; a release ends both"
ask case take_one "$tmp/G"
upgraded() # now G is the program that took over, and $old the one before
{
    run ctl 0 "$builddir/scistreamctl" -S "$tmp/G/sock" upgrade
    old=${pid[G]}
    pid[G]=$(ctl G info --json | sed 's/.*"pid":\([0-9]*\).*/\1/')
    started+=("${pid[G]}")
}
ask arrange "$tmp/G" CONS 2 127.0.0.1:$behind 127.0.0.1:$((behind - 1))
read -r uid at other <<<"$told"
echo bye >&"${held[later]}"
ended later end
hold later "${at##*:}"
upgraded
wait_said G "session $uid taken over, 2 ports"
sessions G
[ "$(of_session "$uid" "['arranged']['role']")" = CONS ] && [ "$(of_session "$uid" "['arranged']['listeners']")" = "['$at', '$other']" ] || fail "$(cat "$tmp/sessions")"
[ "$(json "$tmp/sessions" "len(d['sessions'])")" = 3 ] || fail "$(cat "$tmp/sessions")"
carries later stays
behind=$((behind - 1)) hold fresh "${other##*:}"
carries fresh new
kill -0 $old || fail "the program of before has ended"
ask released "$tmp/G" "$uid"
ended fresh reset # started last: it has the pipes of the others
ended later reset
wait_until 20 "! kill -0 $old"
run ctl 0 "$builddir/scistreamctl" -S "$tmp/G/sock" release --route scistream:sessions
ask case all_free "$tmp/G"

step "many at an upgrade: none is lost"
sed -i 's/data_ports = .*/data_ports = "57000-65535"/; 1i drain_timeout = 6s' "$tmp/G/conf"
upgraded
wait_until 20 "! kill -0 $old" # data_ports needs a start
ask many_sessions "$tmp/G" 400 5
upgraded
sessions G
[ "$(json "$tmp/sessions" "len(d['sessions']), len(set(w for s in d['sessions'] for w in s['arranged']['listeners']))")" = "(400, 2000)" ] || fail "sessions were lost"
wait_until 20 "! kill -0 $old"

step "an upgrade to a program that does not take them: they stay for drain_timeout"
ask arrange "$tmp/G" PROD 1 127.0.0.1:$behind
read -r uid at <<<"$told"
hold later "${at##*:}"
sed -i 's/enable = yes/enable = no/' "$tmp/G/conf"
upgraded
grep -q 'has taken over; 1 open channel, and 401 sessions of scistream.Control of pid ' "$tmp/ctl.out" || fail "$(cat "$tmp/ctl.out")"
carries later still
ended later reset
wait_until 20 "! kill -0 $old"
kill "${pid[G]}"
wait_until 20 "! kill -0 ${pid[G]}"

step "two gateways: s2uc's inbound-request and outbound-request, and applications through both"
wan_leg=psk new_scistream P
wan_leg=psk new_scistream C
start_gateway P
start_gateway C
behind=$((port[P] + 7))
through 1 127.0.0.1:$behind
log_has P "session $uid is keyed by its uid"
hold app $door
ctl P sessions --connections --json >"$tmp/sessions"
grep -q '"peer_security":"TLSv1.3 TLS_AES_256_GCM_SHA384, psk' "$tmp/sessions" && grep -q '"backend_security":"plaintext"' "$tmp/sessions" || fail "$(cat "$tmp/sessions")"
echo bye >&"${held[app]}"
ended app end
ask shouts "${wan_door##*:}"
[ "$told" != "nothing " ] || fail "a stranger on the WAN is kept"
wait_said P "session $uid, port ${wan_door##*:}: "
step "    TLS by the uid: $(grep -o "session $uid, port .*" "$tmp/P.err" | tail -n 1)"
all two
let_go
step "    and another uid is not let in"
ask stranger "$tmp/P" "$tmp/C" 127.0.0.1:$behind
stop_gateway P
stop_gateway C
sed -i 's/wan = psk/wan = plaintext/' "$tmp"/[PC]/conf
start_gateway P
start_gateway C
through 3 127.0.0.1:$behind 127.0.0.1:$((port[P] + 8))
ask fan "$behind,$((port[P] + 8))" "${local[@]##*:}"
step "    $told"
let_go
stop_gateway P
stop_gateway C

step "many at once"
section='sessions = 1100' new_scistream M 1200
start_gateway M
ask case pending "$tmp/M" 1000
step "    $told"
stop_gateway M
new_scistream H 100
start_gateway H
ask case hundred "$tmp/H"
kill "${pid[H]}"
ends H 0 20

step "a thousand sessions of five listeners"
new_scistream R
sed -i 's/data_ports = .*/data_ports = "57000-65535"/' "$tmp/R/conf" # some of them are taken: by whom does not matter
start_gateway R
ask many_sessions "$tmp/R" 1000 5
sessions R
[ "$(json "$tmp/sessions" "len(set(w for s in d['sessions'] for w in s['arranged']['listeners']))")" = 5000 ] || fail "listeners"
rss=$(rss_kib "${pid[R]}")
step "    resident set of control: $rss KiB"
sanitized || [ "$rss" -le $((24 * 1024)) ] || fail "more than 24 MiB"
kill -9 $(workers_of R | head -n 1) # its replacement is told of all of them
wait_said R 'worker 0 .*a new one is started'
ctl R sessions >"$tmp/text" || fail "sessions"
port_busy "$(json "$tmp/sessions" "d['sessions'][0]['arranged']['listeners'][0].split(':')[1]")" || fail "a listener is gone"
run ctl 0 "$builddir/scistreamctl" -S "$tmp/R/sock" release --route scistream:sessions
grep -qx '1000 sessions released' "$tmp/ctl.out" || fail "$(cat "$tmp/ctl.out")"
stop_gateway R

step "who may: tokens and policies"
new_scistream W
for name in ANNA BERT; do
    run "token$name" 0 "$builddir/scistreamctl" token "${name,,}@example.org"
    export "$name=$(cat "$tmp/token$name.out")"
    tail -n 1 "$tmp/token$name.err" >>"$tmp/tokens"
done
chmod 600 "$tmp/tokens"
sed -i 's/auth = none/auth = policy/' "$tmp/W/conf"
cat >>"$tmp/W/conf" <<END
auth { token_file = "$tmp/tokens"  scope_id = "facility" }
policy "anna" { principals = {"anna@*"}  roles = {"PROD"}  targets = {"127.0.0.1:$first-$last", "[::1]:$first-$last"}  sessions = 2  channels = 3  lifetime = $((8 * slow))s }
END
start_gateway W
ask case policies "$tmp/W"
log_has W 'scistream: update of [0-9a-f-]+ by anna@example.org from .*: refused: PERMISSION_DENIED: remote_listeners: 127.0.0.2:9: policy "anna": 127.0.0.2:9 is in none of its targets'
log_has W 'session [0-9a-f-]+ of anna@example.org has ended: the lifetime that its policy allows is over'
stop_gateway W

step "no hello in time; not enabled; not enough said"
section='hello_timeout = 1s' new_scistream T
start_gateway T
ask case no_hello "$tmp/T"
stop_gateway T
new_scistream O
sed -i 's/enable = yes/enable = no/' "$tmp/O/conf"
start_gateway O
ask case off "$tmp/O"
stop_gateway O
sed -i 's/enable = no/enable = yes/; s/auth = none//' "$tmp/O/conf"
run check 78 "$builddir/scistreamd" -c "$tmp/O/conf" --check-config
says check 'scistream.auth is not set: say who may arrange sessions'
