#!/bin/bash
# The RDMA devices as people and scripts see them: with a gateway and without, a port that is down and comes back, and what verbs says when
# none can be used. For the guest of tests/vm/run, where veth0 and veth1 carry the devices of $RDMA_HERE and $RDMA_THERE.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
. "$srcdir/tests/rdma/functions.sh"
gateway_defaults='workers = 2'
rdma_transports='"verbs", "link"'
global="rdma { listen = \"$RDMA_THERE\" }"
openssl rand -hex 32 >"$tmp/secret"
chmod 600 "$tmp/secret"
export XDG_RUNTIME_DIR=$tmp/nobody # no gateway there
undo+=(wire_up)

c() { start ctl "$builddir/scistreamctl" "$@"; finish ctl 30; [ $status = 0 ] || fail "exit code $status: $(cat "$tmp/ctl.err")"; }
has() { grep -Eq -- "$1" "$tmp/ctl.out" || fail "no '$1' in: $(cat "$tmp/ctl.out" "$tmp/ctl.err")"; }
# holds EXPRESSION: of the JSON object d, and of here and there, the two devices in it
holds()
{
    [ "$($python - "$tmp/ctl.out" "$RDMA_HERE" "$RDMA_THERE" "$1" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
here, there = ([x for x in d["devices"] if a in x["addresses"]][0] for a in sys.argv[2:4])
print(eval(sys.argv[4]))
END
    )" = True ] || fail "not $1: $(cat "$tmp/ctl.out")"
}
state_is() { "$builddir/scistreamctl" "$@" devices -j | grep -q "\"netdev\":\"veth1\",\"link_layer\":\"[^\"]*\",\"state\":\"$wanted\""; }
kind=$(ls /sys/class/infiniband | head -n 1)
case $kind in rxe*) link='RoCE v2' ;; *) link=iWARP ;; esac
name_here=${kind%[0-9]}0:1 name_there=${kind%[0-9]}1:1

step "without a gateway: those of this machine, as a table and as JSON"
c devices
has '^RDMA devices of this machine \(no gateway answers at '
has "^$name_here +veth0 +$link +active +[0-9.]+ .bit/s +[0-9]+/[0-9]+ .* $RDMA_HERE\$"
has "^$name_there +veth1 +$link +active .* $RDMA_THERE\$"
c devices --json
holds 'd["source"] == "machine" and len(d["devices"]) == 2'
holds "here['name'] == '$name_here' and there['name'] == '$name_there' and here['netdev'] == 'veth0' and there['netdev'] == 'veth1'"
holds "all(x['transport'] == 'verbs' and x['link_layer'] == '$link' and x['state'] == 'active' and not x['listens'] for x in (here, there))"
holds "all(x['mtu'] in (256, 512, 1024, 2048, 4096) and x['mtu_max'] >= x['mtu'] and x['rate_bit_s'] > 10 ** 9 and x['numa_node'] >= -1 for x in (here, there))"
if [ "$link" = iWARP ]; then
    holds 'here["gid_index"] == -1 and here["gid"] == ""'
else
    index=$(grep -l "ffff:0a63:0001" /sys/class/infiniband/${kind%[0-9]}0/ports/1/gids/* | head -n 1)
    holds "here['gid_index'] == ${index##*/} and here['gid'] == '::ffff:$RDMA_HERE'"
fi

step "with a gateway: as its workers see them, each once, and where peers attach"
new_gateway G
add_route G detector
start_gateway G
c -S "$tmp/G/sock" devices
has "^RDMA devices as the gateway at $tmp/G/sock sees them\$"
has "^$name_there .* $RDMA_THERE \(peers attach here\)\$"
c -S "$tmp/G/sock" devices -j
holds 'd["source"] == "gateway" and len(d["devices"]) == 2 and there["listens"] and not here["listens"]'
[ "$(grep -c "worker 0\].*RDMA device $name_there: $link, active, on veth1 with $RDMA_THERE," "$tmp/G.err")" = 1 ] || fail "not logged once: $(cat "$tmp/G.err")"
! grep -q 'worker 1\].*RDMA device' "$tmp/G.err" || fail "every worker logs them"

step "sessions and the log name device and port; the report counts what verbs did"
make_data 3000000 >"$tmp/in"
start_recv recv G/detector --report none --require verbs -o "$tmp/out"
mkfifo "$tmp/source"
input=$tmp/source start_send send G/detector --report json --require verbs # until its source is closed
exec {source}>"$tmp/source"
cat "$tmp/in" >&$source
wait_for 60 flowing G 3000000
c -S "$tmp/G/sock" sessions
has "^    source  .* by verbs on $name_there, unencrypted, $link"
exec {source}>&-
ends send 0 60
ends recv 0 15
grep -q "flows: .* by verbs on $name_there (unencrypted" "$tmp/G.err" || fail "the log does not name the port"
json "$tmp/send.out" '1 / (d["counters"]["work_requests"] >= d["counters"]["posts"] and d["counters"]["copied_bytes"] == 0)' >"$tmp/zero" ||
    fail "counters: $(cat "$tmp/send.out")"
c -S "$tmp/G/sock" info -j
json "$tmp/ctl.out" 'len(d["worker_states"])' | grep -qx 2 || fail "$(cat "$tmp/ctl.out")"

step "direct: verbs does not encrypt, so a device must be named; by the address of another it is not, and says why"
# direct ADDRESS [OPTIONS of the sender]; $named: the device of the receiver
named=
direct()
{
    local at=$1 pin
    shift
    take_ports
    start recv "$builddir/scistream-recv" --listen "$at:$base" --secret-file "$tmp/secret" --report json -o "$tmp/out" ${named:+--device $named}
    wait_said recv 'sha256:[0-9a-f]*' 30
    pin=$(grep -o -m 1 'sha256:[0-9a-f]*' "$tmp/recv.err" | head -n 1)
    start send "$builddir/scistream-send" --secret-file "$tmp/secret" --pin "$pin" --report json "$@" "direct://$at:$base" "$tmp/in"
}
direct "$RDMA_THERE"
ends send 0 60
ends recv 0 15
[ "$(json "$tmp/send.out" 'd["transport"]')" = link ] || fail "without encryption, and nobody asked: $(cat "$tmp/send.out" "$tmp/send.err")"
named=$name_there
direct "$RDMA_THERE"
ends send 0 60
ends recv 0 15
[ "$(json "$tmp/send.out" 'd["transport"]')" = verbs ] || fail "not by verbs: $(cat "$tmp/send.out" "$tmp/send.err")"
named=lo
direct 127.0.0.1
ends send 0 60 'passed over verbs: .*no RDMA device has this address'
ends recv 0 15
named=

step "a port that is down is shown so, and again when it is back"
ip link set veth1 down
wanted=down wait_for 10 state_is
c devices
has "^$name_there +veth1 +$link +down "
wire_up
wanted=active wait_for 20 state_is

step "no port is active: --require verbs fails with what was looked at, auto says it and goes on"
ip link set veth0 down
ip link set veth1 down
wanted=down wait_for 10 state_is
c devices
has '^verbs cannot be used here: no RDMA device has an active port'
looked="no RDMA device has an active port with an address; looked at $name_here \($link, down.*\), $name_there \($link, down"
start recv "$builddir/scistream-recv" --listen "$RDMA_THERE:$base" --require verbs --secret-file "$tmp/secret" -o "$tmp/out"
ends recv 76 30 "verbs cannot be used on this machine: .*$name_there.* down"
direct 127.0.0.1 --require verbs
ends send 76 30 "verbs cannot be used on this machine: $looked"
[ "$(json "$tmp/send.out" 'd["error"]')" = ENOTRANSPORT ] || fail "$(cat "$tmp/send.out")"
kill "${pid[recv]}"
finish recv
direct 127.0.0.1
ends send 0 60 "verbs cannot be used here: $looked"
ends recv 0 15

step "no device at all: a sentence what to do, nothing said by auto, and the reason by --require"
stop_gateway G
for d in 0 1; do
    rdma link delete "${kind%[0-9]}$d"
    undo+=("rdma link add ${kind%[0-9]}$d type ${kind%[0-9]} netdev veth$d")
done
c devices
has '^There is none\. .*driver'
c devices --json
[ "$(cat "$tmp/ctl.out")" = '{"source":"machine","socket":"","devices":[]}' ] || fail "$(cat "$tmp/ctl.out")"
direct 127.0.0.1
ends send 0 60
ends recv 0 15
! grep -q verbs "$tmp/send.err" "$tmp/recv.err" || fail "verbs is mentioned: $(cat "$tmp/send.err" "$tmp/recv.err")"
direct 127.0.0.1 --require verbs
ends send 76 30 "verbs cannot be used on this machine: this machine has no RDMA device"
