#!/bin/bash
# SIGHUP and scistreamctl reload: certificate, secrets, routes, limits and other options are read again while a stream runs across all of it;
# what is wrong leaves everything as it was and says why; what needs a restart is named; a storm of signals is a few reloads.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
route='low_latency = no' start_gateway_pair detector other
make_data 5000000 >"$tmp/in"
mkfifo "$tmp/gate"
reload() { run ctl "$1" "$builddir/scistreamctl" -S "$tmp/$2/sock" reload "${@:3}"; }
# answers EXPRESSION VALUE: of a reload of A that is taken
answers() { reload 0 A --json; [ "$(json "$tmp/ctl.out" "$1")" = "$2" ] || fail "$1 is not $2 in: $(cat "$tmp/ctl.out")"; }
changes='d["ok"], d["changed"], d["after_restart"], d["routes_added"], d["routes_removed"], d["routes_changed"]'
option() { sed -i "/^$2 = /d; 1i $2 = $3" "$tmp/$1/conf"; } # GATEWAY NAME VALUE
across() { flowing B 500000 && alive sender && alive receiver || fail "the stream was hurt: $(cat "$tmp/sender.err" "$tmp/receiver.err")"; }
reloads() { grep -c 'configuration read again' "$tmp/$1.err"; }
workers=$(workers_of A; workers_of B)

start_recv receiver B/detector -o "$tmp/out"
input=$tmp/gate start_send sender A/detector "$tmp/in" -
exec {gate}<>"$tmp/gate" # until it is closed, the stream goes on
wait_for 10 flowing B 500000

step "nothing changed"
reload 0 A
[ "$(cat "$tmp/ctl.out")" = "nothing changed" ] || fail "$(cat "$tmp/ctl.out")"
log_has A 'configuration read again: nothing changed'
answers "$changes" "(True, [], [], [], [], [])"

step "options: some take effect, some after a restart"
option A drain_timeout '"7s"'
option A log_level '"debug"'
option A max_connections 100
answers "$changes" "(True, ['max_connections', 'drain_timeout', 'log_level'], [], [], [], [])"
option A workers 3
option A log_level '"info"'
answers "$changes" "(True, ['log_level'], ['workers'], [], [], [])"
log_has A 'configuration read again: log_level; takes effect after a restart: workers'
[ "$(workers_of A | wc -l)" = 2 ] || fail "there are other workers"
option A workers 2
answers "$changes" "(True, [], [], [], [], [])"
across

step "a new certificate: who comes now sees it, who is here does not mind"
"$builddir/scistreamd" --init "$tmp/new" --name localhost >"$tmp/new.out" 2>&1 || fail "--init"
old=${pin[A]}
cat "$tmp/new/gateway.crt" >"$tmp/A/gateway.crt"
cat "$tmp/new/gateway.key" >"$tmp/A/gateway.key"
kill -HUP "${pid[A]}"
log_has A 'configuration read again: certificate$'
run old 67 "$builddir/scistream-send" --secret-file "${secret[A]}" --pin "$old" "gateway://127.0.0.1:${port[A]}/other" "$tmp/in"
pin[A]=$(grep -o -m 1 'sha256:[0-9a-f]*' "$tmp/new.out" | head -n 1)
stream "$tmp/in" A/other B/other
across

step "a new secret: who waits with the old one is paired, who comes with it is refused"
start_recv early B/other -o "$tmp/early"
wait_said early 'waiting for a sender'
cp -p "$tmp/B/secret" "$tmp/old-secret"
for g in A B; do openssl rand -hex 32 >"$tmp/$g/secret"; done
for g in A B; do
    reload 0 $g
    grep -q '^routes changed: detector, other$' "$tmp/ctl.out" || fail "$(cat "$tmp/ctl.out")"
done
run old 67 "$builddir/scistream-recv" --secret-file "$tmp/old-secret" --pin "${pin[B]}" "gateway://127.0.0.1:${port[B]}/other"
send 0 A/other "$tmp/in"
ends early 0
same "$tmp/in" "$tmp/early"
stream "$tmp/in" A/other B/other
across

step "a route is added"
send 67 A/fresh "$tmp/in"
add_route B fresh
add_route A fresh B
answers "$changes" "(True, [], [], ['fresh'], [], [])"
kill -HUP "${pid[B]}"
log_has B 'configuration read again: routes added: fresh'
stream "$tmp/in" A/fresh B/fresh

step "a route is changed: the stream keeps what it began with, the next one has the new ring"
sed -i '/^route "detector"/,/^}/s/low_latency = no/window = 1M/' "$tmp/A/conf"
answers "$changes" "(True, [], [], [], [], ['detector'])"
start_recv second B/detector
start_send third A/detector --rate 8Mbit /dev/zero
wait_until 10 "ctl A sessions --json | grep -q '\"number\":1,\"state\":\"flowing\"'"
ctl A sessions --json >"$tmp/sessions.json"
[ "$(json "$tmp/sessions.json" '[(s["route"], [(c["number"], c["window"] >> 20) for c in s["channels"]]) for s in d["sessions"]]')" = \
    "[('detector', [(0, 4), (1, 1)])]" ] || fail "$(cat "$tmp/sessions.json")"
kill -INT "${pid[third]}"
ends third 76
ends second 76
across

step "a route is removed: no new offers; its stream runs on, who waits there is told, and it may come again"
start_recv early B/other
wait_said early 'waiting for a sender'
cp "$tmp/A/conf" "$tmp/A/whole"
cp "$tmp/B/conf" "$tmp/B/whole"
for g in A B; do
    sed -i '/^route "\(detector\|other\)"/,/^}/d' "$tmp/$g/conf"
    reload 0 $g
    grep -q '^routes removed: detector, other$' "$tmp/ctl.out" || fail "$(cat "$tmp/ctl.out")"
done
ends early 67 5 'gateway B: route other was removed from its configuration'
send 67 A/detector "$tmp/in"
across
for g in A B; do
    cp "$tmp/$g/whole" "$tmp/$g/conf"
    reload 0 $g
    grep -q '^routes added: detector, other$' "$tmp/ctl.out" || fail "$(cat "$tmp/ctl.out")"
done
stream "$tmp/in" A/other B/other

step "a route leads elsewhere: who waits is told"
start_recv early B/other
wait_said early 'waiting for a sender'
sed -i '/^route "other"/,/^}/s|deliver = .*|connect = "gateway://127.0.0.1:1/x"|' "$tmp/B/conf"
reload 0 B
ends early 75 5 'gateway B: route other leads elsewhere by now: attach again'
cp "$tmp/B/whole" "$tmp/B/conf"
reload 0 B

# bad CODE PATTERN: a reload of A is refused, with that reason to who asks and to the log, and A serves as before
bad()
{
    reload 78 A
    says ctl "not taken, the configuration of before stays in force: $1"
    log_has A "configuration read again: not taken, .*$1"
    reload 78 A --json
    [ "$(json "$tmp/ctl.out" '[d["ok"], d["changed"], d["problem"] != ""]')" = "[False, [], True]" ] || fail "$(cat "$tmp/ctl.out")"
    across
    cp "$tmp/A/whole" "$tmp/A/conf"
}
step "what is wrong changes nothing"
sed -i '3i peer_timeout = 1' "$tmp/A/conf"; sed -i '4i drain_timeout = "9s"' "$tmp/A/conf"
sed -i 's/^peer_timeout = 1$/peer_timeout = soon/' "$tmp/A/conf"
bad "$tmp/A/conf:3: peer_timeout = soon: must be "
echo 'route "broken" {' >>"$tmp/A/conf"
bad "$tmp/A/conf:[0-9]+: "
echo 'route "broken" { deliver = {"link"} }' >>"$tmp/A/conf"
bad "$tmp/A/conf: route \"broken\": secret_file is missing"
echo 'route "broken" { deliver = {"link"} secret_file = "/no/such/file" }' >>"$tmp/A/conf"
bad "$tmp/A/conf: route broken: /no/such/file: No such file"
sed -i 's/^key = .*/key = "\/no\/such\/key"/' "$tmp/A/conf"
bad "$tmp/A/conf: /no/such/key"
(umask 022 && cp "$tmp/A/secret" "$tmp/loose" && chmod 644 "$tmp/loose")
echo "route \"broken\" { deliver = {\"link\"} secret_file = \"$tmp/loose\" }" >>"$tmp/A/conf"
bad "$tmp/A/conf: route broken: $tmp/loose: others may use it \(mode 0644\)"
mv "$tmp/A/conf" "$tmp/A/gone"
reload 78 A
says ctl "$tmp/A/conf: No such file or directory"
mv "$tmp/A/gone" "$tmp/A/conf"
stream "$tmp/in" A/other B/other
reload 0 A
[ "$(cat "$tmp/ctl.out")" = "nothing changed" ] || fail "$(cat "$tmp/ctl.out")"

step "a storm of signals is a few reloads"
before=$(reloads A) begin=$(now_ms) worker=$(workers_of A | head -n 1)
for ((i = 0; i < 1000; i++)); do kill -HUP "${pid[A]}" $worker; done
took=$(($(now_ms) - begin))
reload 0 A
enough() { [ $(($(reloads A) - before)) -ge 2 ]; }
wait_for 5 enough # that of the signals may come after ours
n=$(($(reloads A) - before))
[ $n -ge 2 ] && [ $n -le $((took / 250 + 4)) ] || fail "$n reloads in $took ms"
across

step "the stream that ran all the time ends well, and no worker has died"
exec {gate}>&-
ends sender 0
ends receiver 0
same "$tmp/in" "$tmp/out"
[ "$workers" = "$(workers_of A; workers_of B)" ] || fail "a worker died"
wait_for 5 idle A
