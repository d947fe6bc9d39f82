#!/bin/bash
# scistreamctl grant, renew, revoke, grants: sessions of their own on a route, for those who get a ticket. A ticket may be used again until its session
# expires, in its role alone; sessions of one route do not mix; and what happens to them on reload, upgrade and restart.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program xxh128sum
umask 022
new_tcp_gateway G
add_link_route() # ROUTE [OPTIONS]
{
    printf 'route "%s" {\n accept = {"link"} deliver = {"link"} secret_file = "%s"\n %s\n}\n' "$1" "${secret[G]}" "${2:-channels = 4}" >>"$tmp/G/conf"
}
add_link_route detector
cp "$tmp/G/conf" "$tmp/one-route"
add_link_route other
add_tcp_route G apps tcp://127.0.0.1:$((port[G] + 10)) tcp://127.0.0.1:$((port[G] + 11))
printf 'route "on" { accept = {"link"} connect = "gateway://127.0.0.1:1/on" secret_file = "%s" connect_pin = {"%s"} }\n' "${secret[G]}" "${pin[G]}" >>"$tmp/G/conf"
mkdir "$tmp/bin"
cp "$builddir/scistreamd" "$builddir/scistream-worker" "$tmp/bin/"
start_it() { start G "$tmp/bin/scistreamd" -c "$tmp/G/conf"; wait_said G ' is ready: ' 20; }
start_it
make_data 3000000 1 >"$tmp/in1"
make_data 2000000 2 >"$tmp/in2"

# ctl_G CODE ARGUMENTS...: name "ctl"
ctl_G() { run ctl "$1" "$builddir/scistreamctl" -S "$tmp/G/sock" "${@:2}"; }
# grant NAME ARGUMENTS...: tickets in NAME.send and NAME.recv, ${uid[NAME]}
declare -A uid
grant()
{
    ctl_G 0 grant detector --send-file "$tmp/$1.send" --recv-file "$tmp/$1.recv" --json "${@:2}"
    uid[$1]=$(json "$tmp/ctl.out" 'd["session"]')
}
send_by() { start "$1" "$builddir/scistream-send" --transport link --ticket-file "$tmp/$2.send" "${@:3}"; }
recv_by() { start "$1" "$builddir/scistream-recv" --transport link --ticket-file "$tmp/$2.recv" "${@:3}"; }
granted() { ctl G grants --json | $python -ISc 'import json, sys; print(" ".join(g["session"] for g in json.load(sys.stdin)["grants"]))'; }
listed() { [[ " $(granted) " == *" ${uid[$1]} "* ]]; }
not_listed() { ! listed "$1"; }
# of NAME EXPRESSION: what grants tells of it
of() { ctl G grants --json >"$tmp/grants"; $python -ISc 'import json, sys; print(eval(sys.argv[3], {"g": [g for g in json.load(open(sys.argv[1]))["grants"] if g["session"] == sys.argv[2]][0]}))' "$tmp/grants" "${uid[$1]}" "$2"; }
is() { local got; got=$(of "$1" "$2"); [ "$got" = "$3" ] || fail "$2 is $got, not $3"; }
# altered NAME OPTION...: a ticket as the one of the sender of NAME, made by another program: $tmp/altered.send and .recv
secret_of() { $python -ISc 'import base64, sys
line = open(sys.argv[1]).read().strip()[5:]
b = base64.urlsafe_b64decode(line + "=" * (-len(line) % 4))
while b[0] != 7:
    b = b[3 + int.from_bytes(b[1:3], "big"):]
print(b[3:35].hex())' "$1"; }
altered()
{
    (umask 077; $python "$srcdir/tests/lib/make_ticket.py" uid="${uid[$1]}" secret="$(secret_of "$tmp/$1.send")" addresses=127.0.0.1:"${port[G]}" \
        pins="${pin[G]#sha256:}" channels=4 "${@:2}" >"$tmp/altered.ticket") || fail "make_ticket.py"
    cp -p "$tmp/altered.ticket" "$tmp/altered.send"
    cp -p "$tmp/altered.ticket" "$tmp/altered.recv"
}
unknown='no such route, or wrong secret'

step "tickets in files: theirs alone, and what is in them"
grant one --for 8h
for role in send recv; do
    [ "$(stat -c %a "$tmp/one.$role")" = 600 ] || fail "mode of one.$role"
    "$builddir/scistreamctl" --json ticket show "$tmp/one.$role" >"$tmp/show" || fail "ticket show"
    [ "$(json "$tmp/show" 'd["session"], d["role"], d["channels"], d["expires_s"] - d["issued_s"], d["addresses"], d["pins"]')" = \
        "('${uid[one]}', '$role', 4, 28800, ['127.0.0.1:${port[G]}'], ['${pin[G]}'])" ] || fail "$(cat "$tmp/show")"
done
[ "$(secret_of "$tmp/one.send")" != "$(secret_of "$tmp/one.recv")" ] || fail "both roles have one secret"
! grep -q sst1 "$tmp/ctl.out" || fail "printed, too"
log_has G "session ${uid[one]} granted on route detector: 4 channels, 28800 s, to unix \(uid [0-9]+\)"

step "no file is overwritten, and then nothing is granted"
ctl_G 64 grant detector --send-file "$tmp/new.send" --recv-file "$tmp/one.recv"
says ctl 'one.recv: exists already and is not overwritten'
[ ! -e "$tmp/new.send" ] && [ "$(granted)" = "${uid[one]}" ] || fail "$(granted)"
ctl_G 74 grant detector --send-file "$tmp/nowhere/send"

step "without files they are printed, each behind its word; --address says where the gateway is reached"
ctl_G 0 grant other --channels 2 --address gw.example.org --address '[2001:db8::1]:7000'
grep -qE '^session [0-9a-f]{32}, route other, 2 channels, until 2' "$tmp/ctl.out" || fail "$(cat "$tmp/ctl.out")"
for role in send recv; do
    sed -n "s/^$role //p" "$tmp/ctl.out" | "$builddir/scistreamctl" --json ticket show - >"$tmp/show" 2>"$tmp/show.err" || fail "$(cat "$tmp/ctl.out")"
    [ "$(json "$tmp/show" 'd["role"], d["channels"], d["addresses"]')" = "('$role', 2, ['gw.example.org:5000', '[2001:db8::1]:7000'])" ] || fail "$(cat "$tmp/show")"
done
ctl_G 0 revoke "$(json "$tmp/show" 'd["session"]')"
[ "$(granted)" = "${uid[one]}" ] || fail "it is still there: $(granted)"

step "a stream by tickets, and again"
for i in 1 2; do
    rm -f "$tmp/out"
    recv_by recv one -o "$tmp/out"
    send_by send one "$tmp/in1"
    ends send 0 30
    ends recv 0
    same "$tmp/in1" "$tmp/out"
    says send "session ${uid[one]} channel 0"
done
is one 'g["senders"], g["receivers"], g["route"], g["channels"], g["send"], g["recv"], g["by"]' "(2, 2, 'detector', 4, True, True, 'local:$(id -u)')"
[ "$(ctl G grants | head -n 1)" = "session ${uid[one]}  route detector, 4 channels, senders and receivers" ] || fail "$(ctl G grants)"
for role in send recv; do ! grep -q "$(secret_of "$tmp/one.$role")" "$tmp/G.err" "$tmp/grants" || fail "a secret was told"; done

step "two sessions of one route at once, and those with its secret, do not mix"
grant two
rm -f "$tmp/out"
start_recv common G/detector --transport link -o "$tmp/out0"
recv_by recv1 one -o "$tmp/out1"
recv_by recv2 two -o "$tmp/out2"
for name in common recv1 recv2; do wait_said $name 'waiting for a sender'; done
send_by send2 two "$tmp/in2"
send_by send1 one "$tmp/in1"
for name in send1 send2 recv1 recv2; do ends $name 0 30; done
same "$tmp/in1" "$tmp/out1"
same "$tmp/in2" "$tmp/out2"
alive common && ! grep -q . "$tmp/out0" || fail "it got something"
kill "${pid[common]}"
ends common 76

step "what does not open it: another role, another secret, the secret of the route, an unknown uid"
altered one role=2
recv_by recv altered -o "$tmp/no"
ends recv 67 15 "session ${uid[one]}: $unknown"
log_has G "attach from .* refused: wrong secret for '${uid[one]}'"
altered one secret=$(printf 'ab%.0s' {1..32})
send_by send altered "$tmp/in1"
ends send 67 15 "session ${uid[one]}: $unknown"
altered one uid="${uid[two]}"
send_by send altered "$tmp/in1"
ends send 67 15 "session ${uid[two]}: $unknown"
printf %s the-secret-of-this-route-32bytes >"$tmp/G/secret"
ctl_G 0 reload
altered one secret=$(printf %s the-secret-of-this-route-32bytes | od -v -An -tx1 | tr -d ' \n')
recv_by recv one -o "$tmp/out"
wait_said recv 'waiting for a sender'
send_by send altered "$tmp/in1"
ends send 67 15 "session ${uid[one]}: $unknown"
send_by send one "$tmp/in1"
ends send 0 30
ends recv 0
altered one uid=0123456789abcdef0123456789abcdef
send_by send altered "$tmp/in1"
ends send 67 15 "session 0123456789abcdef0123456789abcdef: $unknown"
log_has G "attach from .* refused: no such session '0123456789abcdef0123456789abcdef'"

step "channels: those of the grant, and those of the route for all of its sessions"
grant narrow --channels 1
grant wide
recv_by n0 narrow -o "$tmp/no0"
wait_said n0 'waiting for a sender'
recv_by n1 narrow -o "$tmp/no1"
ends n1 75 15 "session ${uid[narrow]} has 1 channel and no place for another receiver; channel 0 is held by"
for i in 0 1 2; do
    recv_by w$i wide -o "$tmp/no$i"
    wait_said w$i 'waiting for a sender'
done
recv_by w3 wide -o "$tmp/no3"
ends w3 75 15 'all channels of route detector \(4\) are held, some of them in other sessions'
start_recv common G/detector --transport link -o "$tmp/no3"
ends common 75 15 'all channels of route detector \(4\) are held'
is wide 'g["open"]' 3
altered narrow channels=4
send_by send altered --channel 1 "$tmp/in1"
ends send 64 15 "session ${uid[narrow]} has channels 0 to 0, not 1"

step "revoked: those that wait are told, nobody comes any more"
ctl_G 0 revoke "${uid[wide]}"
for i in 0 1 2; do ends w$i 67 10 "session ${uid[wide]} was revoked: nobody can come to it any more"; done
recv_by recv wide -o "$tmp/no3"
ends recv 67 15 "session ${uid[wide]}: $unknown"
ctl_G 64 revoke "${uid[wide]}"
says ctl 'no granted session with that uid: it is unknown, has expired, or was revoked'
ctl_G 0 revoke "${uid[narrow]}" --abort --json
[ "$(cat "$tmp/ctl.out")" = '{"aborted":1,"running":0,"told_pid":0}' ] || fail "$(cat "$tmp/ctl.out")"
ends n0 76 10 'released by an administrator: the session was revoked'
log_has G "session ${uid[narrow]} revoked by unix"

# begin NAME: a stream by its tickets, from $tmp/gate, open as ${gate}
mkfifo "$tmp/gate"
begin()
{
    recv_by recv "$1" -o "$tmp/out"
    input=$tmp/gate send_by send "$1" "$tmp/in1" -
    exec {gate}<>"$tmp/gate"
    wait_for 10 flowing G 500000
}
goes_on() { cat "$tmp/in2" >&$gate; exec {gate}>&-; ends send 0 30; ends recv 0; cat "$tmp/in1" "$tmp/in2" | cmp - "$tmp/out" || fail "not what was sent"; rm "$tmp/out"; }

step "a stream that runs goes on when its session is revoked, unless --abort is given"
grant run
begin run
ctl_G 0 revoke "${uid[run]}"
[ "$(cat "$tmp/ctl.out")" = 'revoked; 1 stream that runs may end by itself' ] || fail "$(cat "$tmp/ctl.out")"
send_by late run "$tmp/in1"
ends late 67 15 "$unknown"
goes_on
grant run2
begin run2
ctl_G 0 revoke "${uid[run2]}" --abort
[ "$(cat "$tmp/ctl.out")" = 'revoked, 1 stream aborted' ] || fail "$(cat "$tmp/ctl.out")"
ends recv 76 10 'the session was revoked'
ends send 76 10 'the session was revoked'
exec {gate}>&-

step "renewed: sooner or later, with new tickets for who wants them"
grant renewed --for 1h
ctl_G 0 renew "${uid[renewed]}" --for 2h --recv-file "$tmp/later.recv"
grep -q '^recv ticket is in ' "$tmp/ctl.out" && sed -n 's/^send //p' "$tmp/ctl.out" >"$tmp/later.send"
chmod 600 "$tmp/later.send"
for n in renewed later; do "$builddir/scistreamctl" -j ticket show "$tmp/$n.recv" >"$tmp/show-$n"; done
lasts=$(($(json "$tmp/show-later" 'd["expires_s"]') - $(json "$tmp/show-renewed" 'd["expires_s"]')))
[ $lasts -ge 3600 ] && [ $lasts -lt 5400 ] || fail "it lasts $lasts s longer"
recv_by recv later -o "$tmp/out" # one of before, one of now
send_by send renewed "$tmp/in1"
ends send 0 30
ends recv 0
rm "$tmp/out"
recv_by recv renewed -o "$tmp/out"
send_by send later "$tmp/in1"
ends send 0 30
ends recv 0
same "$tmp/in1" "$tmp/out"
rm "$tmp/out"

step "expired: no new attaches, who waits is told, what runs goes on"
begin renewed
recv_by waits renewed -o "$tmp/no3"
wait_said waits 'waiting for a sender'
ctl_G 0 renew "${uid[renewed]}" --for 1s
wait_for 20 not_listed renewed
ends waits 67 10 "session ${uid[renewed]} has expired: nobody can come to it any more"
send_by late renewed "$tmp/in1"
ends late 67 15 "session ${uid[renewed]}: $unknown"
log_has G "session ${uid[renewed]} \(detector\) has expired"
ctl_G 64 renew "${uid[renewed]}"
goes_on

step "what cannot be granted"
ctl_G 64 grant no-such-route
says ctl 'no route of that name'
ctl_G 64 grant detector --channels 5
says ctl 'the route has fewer channels'
ctl_G 64 grant apps
says ctl 'nobody attaches to this route'
ctl_G 64 grant on --recv-file "$tmp/no.recv"
says ctl 'receivers do not attach to this route: it goes on to another gateway'
[ ! -e "$tmp/no.recv" ] || fail "a file was left"
ctl_G 0 grant on --send-file "$tmp/on.send"
! grep -q '^recv' "$tmp/ctl.out" || fail "a ticket for a receiver: $(cat "$tmp/ctl.out")"
ctl_G 64 grant detector --for 500ms
ctl_G 64 grant detector --for 1500ms
says ctl 'must be whole seconds'
ctl_G 64 grant detector --address :5000
says ctl 'a host is missing'
ctl_G 64 grant detector --address a --address b --address c --address d --address e
says ctl 'room for 4 addresses'
ctl_G 64 grant detector --send-file "$tmp/x" --recv-file "$tmp/x"
ctl_G 64 renew "../$(printf 'x%.0s' {1..1000})"
if [ "$(id -u)" = 0 ] && id nobody >/dev/null 2>&1 && command -v setpriv >/dev/null; then
    chmod 711 "$tmp" "$tmp/G"
    cp "$builddir/scistreamctl" "$tmp/ctl" && chmod 755 "$tmp/ctl"
    run ctl 67 setpriv --reuid=nobody --clear-groups "$tmp/ctl" -S "$tmp/G/sock" grants
fi

step "an upgrade hands them over, and while it is tried nothing changes"
grant doomed
recv_by across doomed -o "$tmp/across"
input=$tmp/gate send_by crosses doomed "$tmp/in1" -
exec {gate}<>"$tmp/gate"
wait_for 20 flowing G 1000000
grant kept
left=$(granted)
mv "$tmp/bin/scistreamd" "$tmp/bin/good"
printf '#!/bin/sh\nexec sleep 1000\n' >"$tmp/bin/scistreamd"
chmod 755 "$tmp/bin/scistreamd"
start upgrade "$builddir/scistreamctl" -S "$tmp/G/sock" upgrade
heir() { heir=$(pgrep -P "${pid[G]}" -x sleep); }
wait_for 10 heir
for what in 'grant detector' "renew ${uid[kept]}" "revoke ${uid[kept]}"; do
    ctl_G 69 $what
    says ctl 'an upgrade is under way: ask again when it is over'
done
kill -9 $heir
ends upgrade 78 20 'was killed by signal 9'
[ "$(granted)" = "$left" ] || fail "there are: $(granted)"
ctl_G 0 renew "${uid[kept]}"
mv "$tmp/bin/good" "$tmp/bin/scistreamd"
ctl_G 0 upgrade
before=${pid[G]}
pid[G]=$(ctl G info --json | $python -ISc 'import json, sys; print(json.load(sys.stdin)["pid"])')
started+=("${pid[G]}")
log_has G 'granted sessions taken over'
[ "$(granted)" = "$left" ] || fail "there are: $(granted)"
for name in one kept; do
    rm -f "$tmp/out"
    recv_by recv $name -o "$tmp/out"
    send_by send $name "$tmp/in2"
    ends send 0 30
    ends recv 0
    same "$tmp/in2" "$tmp/out"
done

step "revoked after the upgrade: the program of before aborts what it still has of it"
kill -0 "$before" && alive crosses || fail "the stream has not crossed the upgrade"
ctl_G 0 revoke --abort --json "${uid[doomed]}"
[ "$(json "$tmp/ctl.out" 'd["aborted"], d["running"], d["told_pid"]')" = "(0, 0, $before)" ] || fail "$(cat "$tmp/ctl.out")"
ends crosses 76 10 'released by an administrator: the session was revoked'
ends across 76 10 'released by an administrator: the session was revoked'
exec {gate}>&-
wait_until 20 "! kill -0 $before 2>/dev/null"

step "a reload: they go by what their route is now, and end with it"
sed -i '/^route "detector"/,/^}/s/channels = 4/channels = 1/' "$tmp/G/conf"
ctl_G 0 reload
is kept 'g["channels"]' 1
recv_by recv kept -o "$tmp/no0"
wait_said recv 'waiting for a sender'
sed 's/route "detector"/route "renamed"/' "$tmp/one-route" >"$tmp/G/conf"
ctl_G 0 reload
ends recv 67 10 "session ${uid[kept]} is over, its route was removed from the configuration"
[ -z "$(granted)" ] || fail "there are: $(granted)"
cp "$tmp/one-route" "$tmp/G/conf"
ctl_G 0 reload
send_by send kept "$tmp/in1"
ends send 67 15 "$unknown"

step "a restart forgets them"
grant last
kill "${pid[G]}"
wait_for 20 gone G
start_it
[ -z "$(granted)" ] || fail "there are: $(granted)"
send_by send last "$tmp/in1"
ends send 67 15 "$unknown"
