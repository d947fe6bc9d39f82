#!/bin/bash
# Arrange, where applications attach: a stream through two gateways by tickets that a third party made at both, whichever of them dials; each ticket for its
# role alone; channels by number; TCP peers at the end. What ends such a session: expiry, its time, revoking, release; what does not: reload, upgrade.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
requires_program protoc xxh128sum curl
requires_python grpc google.protobuf
unset http_proxy https_proxy
umask 022
mkdir "$tmp/messages" "$tmp/bin"
protoc -I "$srcdir/ctrl" --python_out="$tmp/messages" gateway.proto || fail "protoc"
# new_arranging NAME: as new_gateway; the ports from ${port[NAME]} + 10 to + 11 are for the test
new_arranging()
{
    new_gateway "$1"
    printf 'scistream { enable = yes  auth = %s  data_ports = "%s-%s" }\n' "${auth:-none}" $((port[$1] + 12)) $((port[$1] + 15)) >>"$tmp/$1/conf"
}
new_arranging A
new_arranging B
cp "$tmp/A/conf" "$tmp/no-routes"
add_route A detector
cp "$builddir/scistreamd" "$builddir/scistream-worker" "$tmp/bin/"
for g in A B; do
    start $g env SSL_CERT_FILE="$tmp/B/gateway.crt" "$tmp/bin/scistreamd" -c "$tmp/$g/conf" # the system's CAs
    wait_said $g ' is ready: ' 20
done
for i in 0 1 2; do make_data $((2000000 + i)) $i >"$tmp/in$i"; done

# call NAME CODE GATEWAY METHOD JSON: the reply is in $tmp/NAME.out; the caller is an administrator, by the control socket
call() { run "$1" "$2" $python "$srcdir/tests/func/arrange_attach.py" "$tmp/messages" "$tmp/$3/sock" "$4" "$5"; [ -s "$tmp/$1.out" ] || fail "$(cat "$tmp/$1.err")"; }
# refused STATUS TEXT GATEWAY METHOD JSON
refused() { call no 1 "${@:3}"; grep -qE "^$1 .*$2" "$tmp/no.out" || fail "refused otherwise: $(cat "$tmp/no.out")"; }
# as_anybody NAME CODE GATEWAY METHOD JSON: by TLS, where nobody is asked who he is
as_anybody() { run "$1" "$2" $python "$srcdir/tests/func/arrange_attach.py" "$tmp/messages" "${port[$3]},$tmp/$3/gateway.crt" "$4" "$5"; }
# ticket FILE REPLY ROLE [OPTION...]: of the application, in $tmp/FILE.ticket
ticket()
{
    local field=send_secret number=1
    [ "$3" = send ] || field=recv_secret number=2
    (umask 077; $python "$srcdir/tests/lib/make_ticket.py" uid="$(json "$tmp/$2.out" "d['uid']")" role=$number channels="$(json "$tmp/$2.out" "d['channels']")" \
        secret="$(json "$tmp/$2.out" "d['$field']")" addresses="$(json "$tmp/$2.out" "','.join(d['addresses'])")" \
        pins="$(json "$tmp/$2.out" "d['pins'][0][7:]")" "${@:4}" >"$tmp/$1.ticket") || fail "make_ticket.py"
}
send_by() { start "$1" "$builddir/scistream-send" --require $rdma --ticket-file "$tmp/$2.ticket" "${@:3}"; } # NAME TICKET [OPTIONS] FILE
recv_by() { start "$1" "$builddir/scistream-recv" --require $rdma --ticket-file "$tmp/$2.ticket" "${@:3}"; }
# arranged from|to [JSON]: A's application sends, B's receives, and that one's gateway dials: A from, B to. Tickets send and recv, $uid.
arranged()
{
    local more=${2:-}
    if [ "$1" = from ]; then
        call b 0 B Arrange "{\"attach\":\"RECV\"${more:+,$more}}"
        call a 0 A Arrange "{\"attach\":\"SEND\",\"dial_of\":\"$tmp/b.out\"${more:+,$more}}"
    else
        call a 0 A Arrange "{\"attach\":\"SEND\"${more:+,$more}}"
        call b 0 B Arrange "{\"attach\":\"RECV\",\"dial_of\":\"$tmp/a.out\"${more:+,$more}}"
    fi
    ticket send a send
    ticket recv b recv
    uid=$(json "$tmp/a.out" "d['uid']")
    [ "$uid" = "$(json "$tmp/b.out" "d['uid']")" ] || fail "two uids"
}
# whole [INPUT]: a stream by the tickets, confirmed from end to end
whole()
{
    rm -f "$tmp/out"
    recv_by recv recv -o "$tmp/out"
    send_by send send "$tmp/${1:-in0}"
    ends send 0 60 'confirmed with digest'
    ends recv 0
    same "$tmp/${1:-in0}" "$tmp/out"
}
# of GATEWAY EXPRESSION: what Show tells of the session
of() { call show 0 "$1" Show "{\"uid\":\"$uid\"}"; json "$tmp/show.out" "$2"; }
is() { local got; got=$(of "$1" "$2"); [ "$got" = "$3" ] || fail "$2 is $got, not $3"; }
listed() { call all 0 "$1" Grants '{}' && [[ $(cat "$tmp/all.out") == *$uid* ]]; }
not_listed() { ! listed "$1"; }
mkfifo "$tmp/gate"
# begin: a stream by the tickets, from $tmp/gate, open as $gate
begin()
{
    rm -f "$tmp/out"
    recv_by recv recv -o "$tmp/out"
    input=$tmp/gate send_by send send "$tmp/in0" -
    exec {gate}<>"$tmp/gate"
    wait_for 20 flowing A 500000
    wait_for 20 flowing B 500000
}
goes_on() { cat "$tmp/in1" >&$gate; exec {gate}>&-; ends send 0 30; ends recv 0; cat "$tmp/in0" "$tmp/in1" | cmp - "$tmp/out" || fail "not what was sent"; }
aborted() { ends send 76 20 "$1"; ends recv 76 20 "$1"; exec {gate}>&-; }
unknown='no such route, or wrong secret'

for dial in from to; do
    step "a stream, the gateway of the $([ $dial = from ] && echo sender || echo receiver) dials"
    arranged $dial '"channels":3'
    whole
    whole in1
    dialed=B there=A
    [ $dial = from ] || dialed=A there=B
    is $dialed 'd["grant"]["channels"], d["grant"].get("dials"), d["grant"].get("targets"), d["grant"]["arranged"]' "(3, None, None, True)"
    is $there 'd["grant"]["dials"], d["grant"]["targets"], d["grant"]["class"]' "(True, ['127.0.0.1:${port[$dialed]}'], 'best effort')"
    is A 'd["grant"]["senders"], d["grant"]["attach"]' "('2', 'SEND')"
    is B 'd["grant"]["receivers"], d["grant"]["attach"]' "('2', 'RECV')"
    begin
    ctl $there sessions --json >"$tmp/sessions"
    side=sink
    [ $dial = from ] || side=source
    json "$tmp/sessions" "d['sessions'][0]['channels'][0]['$side']" >"$tmp/wan"
    grep -q "'transport': 'link'" "$tmp/wan" && grep -q 'TLSv1.3' "$tmp/wan" || fail "the other gateway: $(cat "$tmp/wan")"
    [ "$(json "$tmp/sessions" "d['sessions'][0]['uid'], d['sessions'][0]['route']")" = "('$uid', 'scistream:arranged')" ] || fail "$(cat "$tmp/sessions")"
    goes_on

    step "    each ticket for its role, with its secret, at its gateway"
    ticket other a send role=2
    recv_by no other -o "$tmp/no.dat"
    ends no 67 15 "session $uid: $unknown"
    ticket other b recv role=1
    send_by no other "$tmp/in0"
    ends no 67 15 "session $uid: $unknown"
    ticket other a send secret="$(json "$tmp/b.out" "d['recv_secret']")"
    send_by no other "$tmp/in0"
    ends no 67 15 "session $uid: $unknown"
    ticket other a send secret="$(printf 'ab%.0s' {1..32})"
    send_by no other "$tmp/in0"
    ends no 67 15 "session $uid: $unknown"
    [ ! -e "$tmp/no.dat" ] || fail "it got something"

    step "    channels by their numbers"
    for i in 2 0 1; do recv_by recv$i recv --channel $i -o "$tmp/out$i"; done
    for i in 1 2 0; do send_by send$i send --channel $i "$tmp/in$i"; done
    for i in 0 1 2; do
        ends send$i 0 60 "session $uid channel $i"
        ends recv$i 0 15 "session $uid channel $i"
        same "$tmp/in$i" "$tmp/out$i"
        rm "$tmp/out$i"
    done

    step "    revoked: what runs goes on, unless it is to be aborted"
    begin
    call ctl 0 A Revoke "{\"uid\":\"$uid\"}"
    send_by late send "$tmp/in0"
    ends late 67 15 "$unknown"
    is A 'd["grant"]["closed"], d["grant"]["open"]' '(True, 1)'
    refused FAILED_PRECONDITION 'was revoked' A Renew "{\"uid\":\"$uid\"}"
    goes_on
    wait_for 5 not_listed A
    listed B || fail "it ended at the other gateway, too"
    arranged $dial
    begin
    call ctl 0 $there Revoke "{\"uid\":\"$uid\",\"abort\":true}"
    [ "$(json "$tmp/ctl.out" 'd["aborted"]')" = 1 ] || fail "$(cat "$tmp/ctl.out")"
    aborted 'the session was revoked'
    not_listed $there || fail "it is still there"
done

step "what cannot be arranged"
refused ALREADY_EXISTS 'this gateway has a? ?session' A Arrange "{\"attach\":\"RECV\",\"dial_of\":\"$tmp/a.out\"}"
refused INVALID_ARGUMENT 'uid: ' B Arrange "{\"attach\":\"RECV\",\"dial_of\":\"$tmp/a.out\",\"uid\":\"x\"}"
refused INVALID_ARGUMENT 'dial.role' B Arrange "{\"attach\":\"SEND\",\"dial_of\":\"$tmp/a.out\"}"

step "the other gateway's addresses are tried in turn; its key must be that of the ticket"
take_ports
call b 0 B Arrange '{"attach":"RECV"}'
call a 0 A Arrange "{\"attach\":\"SEND\",\"dial_of\":\"$tmp/b.out\",\"dial_addresses\":[\"127.0.0.1:$base\",\"localhost:${port[B]}\"]}"
ticket send a send
ticket recv b recv
uid=$(json "$tmp/a.out" "d['uid']")
whole
call ctl 0 A Release "{\"uid\":\"$uid\"}"
call a 0 A Arrange "{\"attach\":\"SEND\",\"dial_of\":\"$tmp/b.out\",\"dial_pins\":[\"sha256:$(printf 'ab%.0s' {1..32})\"]}"
ticket send a send
send_by send send "$tmp/in0"
ends send 67 15 'matches no given pin'
call ctl 0 A Release "{\"uid\":\"$uid\"}"
no_pin="\"attach\":\"SEND\",\"dial_of\":\"$tmp/b.out\",\"dial_pins\":[]" # a CA decides, by the name
call a 0 A Arrange "{$no_pin,\"dial_addresses\":[\"127.0.0.1:${port[B]}\"]}"
ticket send a send
send_by send send "$tmp/in0"
ends send 67 15 'IP address mismatch'
for by_name in "\"dial_addresses\":[\"127.0.0.1:${port[B]}\",\"localhost:${port[B]}\"]" "\"dial_addresses\":[\"127.0.0.1:${port[B]}\"],\"dial\":{\"tls_name\":\"localhost\"}"; do
    call ctl 0 A Release "{\"uid\":\"$uid\"}"
    call a 0 A Arrange "{$no_pin,$by_name}"
    ticket send a send
    whole
done
call ctl 0 A Release "{\"uid\":\"$uid\"}"
call a 0 A Arrange "{\"attach\":\"SEND\",\"dial_of\":\"$tmp/b.out\",\"dial_secret\":\"$(printf 'ab%.0s' {1..32})\"}"
ticket send a send
send_by send send "$tmp/in0"
ends send 67 15 "$unknown"

# peer NAME PORT: an application that is connected to, says what is in $tmp/NAME.say, if there is such a file, and takes all that comes into $tmp/NAME.got
peer()
{
    start "$1" $python -ISc 'import os, socket, sys
name, port = sys.argv[1], int(sys.argv[2])
l = socket.create_server(("127.0.0.1", port))
print("listens", flush=True)
c, _ = l.accept()
if os.path.exists(name + ".say"):
    c.sendall(open(name + ".say", "rb").read())
    c.shutdown(socket.SHUT_WR)
with open(name + ".got", "wb") as f:
    while data := c.recv(1 << 16):
        f.write(data)' "$tmp/$1" "$2"
    wait_until 10 "grep -q listens '$tmp/$1.out'"
}

step "TCP peers at the end, by turns: what is sent there is handed over, not confirmed; and what comes from there"
first=$((port[B] + 10)) second=$((port[B] + 11))
call b 0 B Arrange "{\"targets\":[\"127.0.0.1:$first\",\"localhost:$second\"],\"channels\":3}"
call a 0 A Arrange "{\"attach\":\"SEND\",\"channels\":3,\"dial_of\":\"$tmp/b.out\"}"
uid=$(json "$tmp/a.out" "d['uid']")
ticket send a send
for i in 0 1 2; do
    [ $i = 1 ] && at=$second || at=$first
    peer peer$i $at
    send_by send send --channel $i "$tmp/in$i"
    ends send 0 30 'handed to TCP peer, not confirmed'
    ends peer$i 0
    same "$tmp/in$i" "$tmp/peer$i.got"
done
call ctl 0 A Release "{\"uid\":\"$uid\"}"
call a 0 A Arrange "{\"attach\":\"RECV\",\"channels\":3,\"dial_of\":\"$tmp/b.out\"}"
ticket recv a recv
cp "$tmp/in1" "$tmp/peer1.say"
peer peer1 $second
recv_by recv recv --channel 1 -o "$tmp/out"
ends recv 0 30
same "$tmp/in1" "$tmp/out"
send_by no recv "$tmp/in0"
ends no 78
call ctl 0 B Release "{\"uid\":\"$uid\"}"
recv_by no recv -o "$tmp/no.dat"
ends no 67 15 "$unknown"

step "expired: nobody comes, who waits is told, what runs goes on; renewed, it opens again"
arranged from '"channels":2'
begin
recv_by waits recv -o "$tmp/no.dat"
wait_said waits 'waiting for a sender on session'
call ctl 0 B Renew "{\"uid\":\"$uid\",\"lifetime_s\":1}"
ends waits 67 20 "session $uid has expired: nobody can come to it any more"
recv_by late recv -o "$tmp/no.dat"
ends late 67 15 "$unknown"
is B 'd["grant"]["closed"], d["grant"]["open"]' '(True, 1)'
call ctl 0 B Renew "{\"uid\":\"$uid\",\"lifetime_s\":3600}"
is B 'd["grant"].get("closed")' None
goes_on
whole
call ctl 0 B Renew "{\"uid\":\"$uid\",\"lifetime_s\":1}"
wait_for 20 not_listed B
recv_by late recv -o "$tmp/no.dat"
ends late 67 15 "$unknown"

step "its time is over: whatever runs is aborted; who watches is told before"
start watch "$builddir/scistreamctl" -S "$tmp/A/sock" watch --json
arranged to '"lifetime_s":6'
[ "$(json "$tmp/a.out" 'int(d["ends_s"]) - int(d["issued_s"])')" = 6 ] || fail "$(cat "$tmp/a.out")"
begin
aborted "session $uid: its time is over"
wait_for 10 not_listed A
wait_until 10 "grep -q 'ends in 1 minute' '$tmp/watch.out' && grep -q 'its time is over' '$tmp/watch.out'"
kill "${pid[watch]}"

step "released: it ends at once, and is gone"
arranged from
begin
call ctl 0 B Release "{\"uid\":\"$uid\",\"reason\":\"beam is off\"}"
aborted 'beam is off'
not_listed B || fail "it is still there"

step "who arranged it may show, renew and revoke it; so may everybody where nobody is asked who he is"
as_anybody anybody 0 B Arrange '{"attach":"RECV"}'
uid=$(json "$tmp/anybody.out" "d['uid']")
as_anybody show 0 B Show "{\"uid\":\"$uid\"}"
as_anybody renew 0 B Renew "{\"uid\":\"$uid\"}"
[ "$(json "$tmp/renew.out" "d['recv_secret'], d['wan_secret'], d['wan_role']")" = "$(json "$tmp/anybody.out" "d['recv_secret'], d['wan_secret'], d['wan_role']")" ] ||
    fail "other secrets: $(cat "$tmp/renew.out")"
[ "$(json "$tmp/renew.out" "d.get('send_secret'), d['security']")" = "(None, 'TLS, keyed by ticket')" ] || fail "$(cat "$tmp/renew.out")"
as_anybody revoke 0 B Revoke "{\"uid\":\"$uid\"}"
not_listed B || fail "it is still there"

step "by policy: the role of the application, where the gateway may connect to; and whose it is"
auth=policy new_arranging P
global='advertise = "127.0.0.2"  link_address = "0.0.0.0"' new_arranging C
start_gateway C
: >"$tmp/tokens"
chmod 600 "$tmp/tokens"
for who in alice bob; do
    run token 0 "$builddir/scistreamctl" token $who
    cp "$tmp/token.out" "$tmp/$who.token"
    tail -n 1 "$tmp/token.err" >>"$tmp/tokens"
done
cat >>"$tmp/P/conf" <<END
auth { token_file = "$tmp/tokens" }
policy "alice" { principals = {"alice"}  roles = {"SEND"}  targets = {"127.0.0.1/32:${port[B]}", "127.0.0.1/32:${port[C]}"}  channels = 2  window = 1M }
policy "bob" { principals = {"bob"}  roles = {"RECV"} }
END
start_gateway P
as() { run "$2" "$3" $python "$srcdir/tests/func/arrange_attach.py" "$tmp/messages" "${port[P]},$tmp/P/gateway.crt,$(cat "$tmp/$1.token")" "$4" "$5"; } # WHO NAME CODE METHOD JSON
not_for() { as "$1" no 1 "${@:4}"; grep -qE "^$2 .*$3" "$tmp/no.out" || fail "refused otherwise: $(cat "$tmp/no.out")"; } # WHO STATUS TEXT METHOD JSON
call b 0 B Arrange '{"attach":"RECV"}'
ticket recv b recv
uid=$(json "$tmp/b.out" "d['uid']")
to_b="\"dial_of\":\"$tmp/b.out\""
not_for alice PERMISSION_DENIED 'RECV' Arrange '{"attach":"RECV"}'
not_for bob PERMISSION_DENIED 'SEND' Arrange "{\"attach\":\"SEND\",$to_b}"
not_for alice RESOURCE_EXHAUSTED 'channels' Arrange "{\"attach\":\"SEND\",\"channels\":3,$to_b}"
not_for alice PERMISSION_DENIED '' Arrange "{\"attach\":\"SEND\",$to_b,\"dial_addresses\":[\"127.0.0.1:${port[A]}\"]}"
not_for alice PERMISSION_DENIED '' Arrange "{\"attach\":\"SEND\",$to_b,\"dial_addresses\":[\"127.0.0.1:${port[B]}\",\"127.0.0.2:${port[B]}\"]}"
as alice p 0 Arrange "{\"attach\":\"SEND\",$to_b}"
ticket send p send
whole
log_has P "channel $uid/0 .* ring 1048576,"
not_for bob PERMISSION_DENIED "somebody else's" Revoke "{\"uid\":\"$uid\",\"abort\":true}"
not_for bob PERMISSION_DENIED "somebody else's" Show "{\"uid\":\"$uid\"}"
as alice show 0 Show "{\"uid\":\"$uid\"}"
[ "$(json "$tmp/show.out" 'd["grant"]["by"]')" = alice ] || fail "$(cat "$tmp/show.out")"
as alice revoke 0 Revoke "{\"uid\":\"$uid\"}"
send_by send send "$tmp/in0"
ends send 67 15 "$unknown"

step "    nor may the other gateway lead data elsewhere; where all may be reached it may"
call b 0 C Arrange '{"attach":"RECV"}'
ticket recv b recv addresses="127.0.0.1:${port[C]}"
dial_c="{\"attach\":\"SEND\",\"dial_of\":\"$tmp/b.out\",\"dial_addresses\":[\"127.0.0.1:${port[C]}\"]}"
as alice p 0 Arrange "$dial_c"
ticket send p send
recv_by recv recv -o "$tmp/out"
send_by send send "$tmp/in0"
ends send 67 15 'the next gateway has its data at 127.0.0.2 port [0-9]+, where this session may not connect to'
ends recv 67 15 'the next gateway has its data at 127.0.0.2'
log_has P 'audit: principal="alice" .* what=Attach .* allowed=no'
call a 0 A Arrange "$dial_c"
ticket send a send
whole
stop_gateway P
stop_gateway C
arranged from

step "a reload touches none; one name in the metrics, no uid"
begin
cp "$tmp/no-routes" "$tmp/A/conf"
ctl A reload >"$tmp/reload.out" || fail "reload"
goes_on
whole
scrape A >"$tmp/metrics"
grep -q 'route="scistream:arranged"' "$tmp/metrics" && ! grep -q "$uid" "$tmp/metrics" || fail "$(grep -n arranged "$tmp/metrics")"

step "an upgrade hands it over: what runs goes on, the tickets stay what they were, and the old program is told of the end"
upgrade() # GATEWAY
{
    ctl "$1" upgrade >"$tmp/upgrade.out" 2>&1 || fail "upgrade: $(cat "$tmp/upgrade.out")"
    pid[$1]=$(ctl "$1" info --json | $python -ISc 'import json, sys; print(json.load(sys.stdin)["pid"])')
    started+=("${pid[$1]}")
    listed "$1" || fail "$1 has lost it"
}
begin
upgrade A
upgrade B
goes_on
whole
begin
call ctl 0 B Renew "{\"uid\":\"$uid\",\"lifetime_s\":1}"
closed() { [ "$(of B 'd["grant"].get("closed")')" = True ]; }
wait_for 20 closed
upgrade B
is B 'd["grant"]["closed"]' True
recv_by late recv -o "$tmp/no.dat"
ends late 67 15 "$unknown"
call ctl 0 B Renew "{\"uid\":\"$uid\"}"
is B 'd["grant"].get("closed")' None
goes_on
whole
begin
upgrade A
call ctl 0 A Revoke "{\"uid\":\"$uid\",\"abort\":true}"
aborted 'released at the program that took over'

step "no secret was told"
for f in a b; do
    for s in send_secret recv_secret wan_secret; do
        secret_is=$(json "$tmp/$f.out" "d.get('$s', 'none-of-these')")
        ! grep -q "$secret_is" "$tmp"/[AB].err "$tmp/all.out" "$tmp/show.out" || fail "$s of $f"
    done
done
