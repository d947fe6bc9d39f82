#!/bin/bash
# A user at a third place and two gateways that know him by a token: he logs in, arranges streams, and unchanged applications go
# through them; policies, owners, renewal, revocation; port forwards; and when the second gateway refuses or is gone, nothing is left at the first.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
. "$srcdir/tests/lib/apps.sh"
unset http_proxy https_proxy
ctl=$builddir/scistreamctl

# ------------------------------------------------------------ two gateways, two users

(umask 077; echo nobody >"$tmp/bad.token")
for name in alice bob; do
    run token 0 "$ctl" token "$name@example.org" --for 30d
    (umask 077; cat "$tmp/token.out" >"$tmp/$name.token")
    tail -n 1 "$tmp/token.err" >>"$tmp/tokens"
done
chmod 600 "$tmp/tokens"
# new_site NAME: applications may be at its ports + 12 and + 13
new_site()
{
    new_tcp_gateway "$1"
    cat >>"$tmp/$1/conf" <<END
scistream { enable = yes  auth = policy  data_ports = "$((port[$1] + 10))-$((port[$1] + 11))" }
auth { token_file = "$tmp/tokens" }
policy "users" {
    principals = {"*@example.org"}
    roles = {PROD, CONS, SEND, RECV}
    targets = {"127.0.0.1:${port[A]}-$((port[A] + 15))", "127.0.0.1:${port[B]:-1}-$((${port[B]:-1} + 15))"}
    lifetime = 12h
}
END
}
new_site A
port[B]=${port[A]} # until it has its own
new_site B
sed -i "s/\"127.0.0.1:${port[A]}-$((port[A] + 15))\", \"[^\"]*\"/\"127.0.0.1:${port[A]}-$((port[A] + 15))\", \"127.0.0.1:${port[B]}-$((port[B] + 15))\"/" "$tmp/A/conf" "$tmp/B/conf"
start_gateway A
start_gateway B
A=localhost:${port[A]} B=localhost:${port[B]}
behind=$((port[A] + 12))

c() { run ctl "$@"; }
out() { cat "$tmp/ctl.out"; }
# left GATEWAY: uids of what was arranged there
left() { ctl "$1" grants --json >"$tmp/grants" && json "$tmp/grants" '" ".join(g["session"] for g in d["grants"] if g["arranged"])'; }
nothing_left() { [ -z "$(left A)$(left B)" ]; }
uid_of() { json "$tmp/ctl.out" 'd["session"]'; }
end_both() { c 0 "$ctl" revoke --abort --from "$A" --to "$B" "$1"; wait_for 10 nothing_left; }

# ------------------------------------------------------------ the user

step "login: who I am, until when, and what I may; later commands need neither pin nor token"
c 67 "$ctl" login --gateway "$A" --token-file "$tmp/alice.token"
says ctl 'needs --pin'
c 67 "$ctl" login --gateway "$A" --pin "${pin[A]}" --token-file "$tmp/A/secret"
says ctl 'token is invalid'
[ ! -e "$XDG_CONFIG_HOME/scistream/gateways/$A" ] || fail "remembered nevertheless"
c 64 "$ctl" login
cd "$tmp"
c 0 "$ctl" login --gateway "$A" --pin "${pin[A]}" --token-file alice.token --json
cd "$builddir"
[ "$(json "$tmp/ctl.out" 'd["principal"], d["how"], d["arranges"], [p["role"] for p in d["permissions"]], d["permissions"][0]["policy"], d["permissions"][0]["lifetime_s"]')" = \
    "('alice@example.org', 'token', 'policy', ['PROD', 'CONS', 'SEND', 'RECV'], 'users', 43200)" ] || fail "$(out)"
[ $(($(json "$tmp/ctl.out" 'd["expires_s"]') - $(date +%s))) -gt $((29 * 86400)) ] || fail "$(out)"
[ "$(stat -c %a "$XDG_CONFIG_HOME/scistream/gateways/$A")" = 600 ] || fail "its mode"
! grep -q "$(cat "$tmp/alice.token")" "$XDG_CONFIG_HOME/scistream/gateways/$A" || fail "a secret was remembered"
c 0 "$ctl" login --gateway "$B" --pin "${pin[B]}" --token-file "$tmp/alice.token"
says ctl "remembered for later commands with --gateway $B: "
grep -qE '^you are    alice@example.org, by token, until 20.*, in ' "$tmp/ctl.out" && grep -qE '^may        PROD, by policy users, for 12:00:00 at most$' "$tmp/ctl.out" &&
    grep -q 'are arranged by whom a policy lets' "$tmp/ctl.out" || fail "$(out)"
c 0 "$ctl" login --gateway "$A"
grep -q '^you are    alice' "$tmp/ctl.out" || fail "$(out)"
c 0 "$ctl" login --gateway "$A" --token-file "$tmp/bob.token" --json # who is another than the one remembered, which gateway the same
[ "$(json "$tmp/ctl.out" 'd["principal"]')" = bob@example.org ] || fail "$(out)"
c 0 "$ctl" login --gateway "$A" --token-file "$tmp/alice.token"
chmod 644 "$XDG_CONFIG_HOME/scistream/gateways/$A"
c 78 "$ctl" login --gateway "$A"
says ctl 'chmod 600'
chmod 600 "$XDG_CONFIG_HOME/scistream/gateways/$A"

step "inbound at A, outbound at B: iperf3, curl and ZeroMQ go through it unchanged"
c 0 "$ctl" inbound --gateway "$A" --to 127.0.0.1:$behind -o "$tmp/ticket"
says ctl "and connects to 127.0.0.1:$behind"
c 0 "$ctl" outbound --gateway "$B" --ticket-file "$tmp/ticket"
door=$(out)
[ "${door%:*}" = 127.0.0.1 ] || fail "printed: $door"
door=${door##*:}
all inbound
uid=$(left A)
[ "$uid" = "$(left B)" ] || fail "$(left A), and $(left B)"
log_has A 'audit: principal="alice@example.org" how=token .* what=Arrange uid="[0-9a-f]{32}" allowed=yes'

step "shown, renewed and revoked by who has arranged it, and nobody else"
c 0 "$ctl" show --gateway "$A" "$uid"
grep -q "^session $uid  arranged, 1 channel, best effort\$" "$tmp/ctl.out" && grep -q "targets   127.0.0.1:$behind" "$tmp/ctl.out" &&
    grep -q 'PROD Listening, takes connections .* by alice@example.org, WAN TLS, keyed by ticket' "$tmp/ctl.out" || fail "$(out)"
c 0 "$ctl" show --gateway "$B" "$uid" --json
[ "$(json "$tmp/ctl.out" 'd["grant"]["application"], d["grant"]["dials"], d["grant"]["by"], d["session"]["arranged"]["security"]')" = \
    "('connects', True, 'alice@example.org', 'TLS, keyed by ticket')" ] || fail "$(out)"
c 67 "$ctl" show --gateway "$A" --token-file "$tmp/bob.token" "$uid"
c 67 "$ctl" revoke --gateway "$A" --token-file "$tmp/bob.token" "$uid"
says ctl "$A: the session is somebody else"
c 67 "$ctl" grants --gateway "$A"
c 64 "$ctl" show --gateway "$A" "${uid//[0-9]/0}"
c 0 "$ctl" renew --gateway "$A" "$uid" --for 2h -o "$tmp/renewed"
grep -q '^outbound ticket is in ' "$tmp/ctl.out" || fail "$(out)"
"$ctl" ticket show "$tmp/renewed" --json >"$tmp/show" || fail "ticket show"
[ "$(json "$tmp/show" 'd["session"], d["role"], d["left_s"] > 7100')" = "('$uid', 'cons', True)" ] || fail "$(cat "$tmp/show")"
c 64 "$ctl" outbound --gateway "$B" --ticket-file "$tmp/renewed" # it has that session
c 0 "$ctl" renew --gateway "$B" "$uid" --for 2h
grep -qE "^session $uid, 1 channel, until 20" "$tmp/ctl.out" && [ "$(wc -l <"$tmp/ctl.out")" = 1 ] || fail "$(out)"
c 0 "$ctl" renew --gateway "$B" "$uid" --for 20h
says ctl 'not for longer: the session itself ends then'
c 0 "$ctl" revoke --gateway "$B" --abort "$uid"
c 0 "$ctl" outbound --gateway "$B" --ticket-file "$tmp/renewed" --listen $((port[B] + 11))
[ "$(out)" = "127.0.0.1:$((port[B] + 11))" ] || fail "$(out)"
door=$((port[B] + 11))
iperf renewed -n 50M || fail "no bytes"
end_both "$uid"

step "what secures a connection is shown"
start web $python "$apps" http $behind
wait_for 10 listens $behind
c 0 "$ctl" stream --from "$A=127.0.0.1:$behind" --to "$B=listen" --json
uid=$(uid_of)
exec {connection}<>"/dev/tcp/127.0.0.1/$(json "$tmp/ctl.out" 'd["listeners"][0].rsplit(":", 1)[1]')"
shows() { ctl "$1" sessions --connections --limit 5 | grep -qE "$2"; }
wait_for 10 shows A 'TLSv1.3 [A-Z0-9_]+, psk > plaintext$'
wait_for 10 shows B 'plaintext > TLSv1.3 [A-Z0-9_]+, psk$'
c 0 "$ctl" show --from "$A" --to "$B" "$uid"
[ "$(grep -cE "^($A|$B):\$|used by 1 connection now" "$tmp/ctl.out")" = 4 ] || fail "$(out)"
exec {connection}>&-
end_both "$uid"
kill "${pid[web]}"
finish web

step "stream: both by one command, and the applications the other way round"
c 0 "$ctl" stream --from "$A=listen" --to "$B=127.0.0.1:$behind" --channels 2 --for 1h --json
door=$(json "$tmp/ctl.out" 'd["listeners"][1].rsplit(":", 1)[1]')
[ "$(json "$tmp/ctl.out" 'len(d["listeners"]), d["dialed"], d["expires_s"] - d["issued_s"], d["ends_s"] - d["issued_s"], d["security"]')" = \
    "(2, '$B', 3600, 3600, 'TLS, keyed by ticket')" ] || fail "$(out)"
iperf stream -n 50M || fail "no bytes"
end_both "$(uid_of)"

step "mixed: an application listens on one side, and scistream-recv or -send attaches on the other"
start web $python "$apps" http $behind
wait_for 10 listens $behind
c 0 "$ctl" stream --from "$A" --to "$B=127.0.0.1:$behind" --json
(umask 077; json "$tmp/ctl.out" 'd["send"]' >"$tmp/mixed")
printf 'GET /70000/a HTTP/1.0\r\n\r\n' >"$tmp/request"
run send 0 "$builddir/scistream-send" -T "$tmp/mixed" "$tmp/request"
says send 'handed to TCP peer'
end_both "$(uid_of)"
kill "${pid[web]}"
finish web

step "through port forwards: the ticket has the gateway's own address"
new_tcp_gateway F
add_tcp_route F a tcp://127.0.0.1:$((port[F] + 10)) tcp://127.0.0.1:${port[A]}
add_tcp_route F b tcp://127.0.0.1:$((port[F] + 11)) tcp://127.0.0.1:${port[B]}
start_gateway F
to_a=127.0.0.1:$((port[F] + 10)) to_b=127.0.0.1:$((port[F] + 11))
c 67 "$ctl" login --gateway "$to_a" --ca "$tmp/A/gateway.crt" --tls-name other.example.org --token-file "$tmp/alice.token"
c 0 "$ctl" login --gateway "$to_a" --ca "$tmp/A/gateway.crt" --tls-name localhost --token-file "$tmp/alice.token"
c 0 "$ctl" stream --from "$to_a=127.0.0.1:$behind" --to "$to_b=listen,ca=$tmp/B/gateway.crt,tls-name=localhost,token-file=$tmp/alice.token" --json
door=$(json "$tmp/ctl.out" 'd["listeners"][0].rsplit(":", 1)[1]') wan=$(json "$tmp/ctl.out" 'd["ports"][0]')
[ "$(json "$tmp/ctl.out" 'd["expires_s"] == d["ends_s"]')" = True ] || fail "it may be used longer than it is: $(out)"
iperf forwarded -n 50M || fail "no bytes"
uid=$(left A)
ctl B grants --json >"$tmp/grants"
[ "$(json "$tmp/grants" 'd["grants"][0]["targets"]')" = "['127.0.0.1:$wan']" ] || fail "$(cat "$tmp/grants")"
end_both "$uid"

step "what a policy does not allow, or nobody does, at the first or the second gateway: nothing is left"
# refused CODE TEXT ARGUMENTS...
refused() { c "$1" "$ctl" stream "${@:3}"; says ctl "$2"; wait_for 10 nothing_left; }
refused 67 "$A refuses: policy \"users\": 127.0.0.2:1 is in none of its targets" --from "$A=127.0.0.2:1" --to "$B=listen"
refused 75 "$A refuses: policy \"users\": lifetime: 13h would be more than its limit of 12h" --from "$A=127.0.0.1:$behind" --to "$B=listen" --for 13h
sed -i 's/roles = {PROD, CONS, SEND, RECV}/roles = {PROD, SEND, RECV}/' "$tmp/B/conf"
ctl B reload >"$tmp/reload" || fail "$(cat "$tmp/reload")"
refused 67 "$B refuses: no policy allows alice@example.org the role CONS" --from "$A=127.0.0.1:$behind" --to "$B=listen"
says ctl "nothing is left at $A: the session was revoked there"
sed -i 's/roles = {PROD, SEND, RECV}/roles = {PROD, CONS, SEND, RECV}/' "$tmp/B/conf"
ctl B reload >"$tmp/reload" || fail "$(cat "$tmp/reload")"
refused 64 'none of data_ports' --from "$A=127.0.0.1:$behind" --to "$B=listen:${port[B]}"
c 0 "$ctl" inbound --gateway "$B" --to 127.0.0.1:$behind --channels 2 -o "$tmp/all"
c 75 "$ctl" stream --from "$A=127.0.0.1:$behind" --to "$B=listen"
says ctl "$B refuses: 1 port is asked for, 0 of data_ports|$B refuses: .* data_ports"
says ctl "nothing is left at $A"
c 0 "$ctl" --gateway "$B" revoke --abort "$(left B)"
refused 67 "nothing is left at $A" --from "$A=127.0.0.1:$behind" --to "$B=listen,token-file=$tmp/bad.token"
refused 64 'this gateway has a session with it' --from "$A=127.0.0.1:$behind" --to "$A=listen"

step "a gateway that does not answer, stopped or killed between the two calls: nothing is left at the other one"
kill -STOP "${pid[B]}"
start ctl "$ctl" stream --from "$A=127.0.0.1:$behind" --to "$B=listen"
wait_until 10 '[ -n "$(left A)" ]'
kill -INT "${pid[ctl]}"
ends ctl 76 30
says ctl "nothing is left at $A: the session was revoked there"
[ -z "$(left A)" ] || fail "$(left A)"
start ctl "$ctl" stream --from "$A=127.0.0.1:$behind" --to "$B=listen"
wait_until 10 '[ -n "$(left A)" ]'
kill -9 "${pid[B]}"
finish B
ends ctl 69 30
says ctl "nothing is left at $A: the session was revoked there"
[ -z "$(left A)" ] || fail "$(left A)"
