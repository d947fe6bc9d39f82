#!/bin/bash
# scistreamctl: info, sessions, devices and probe, for people and as JSON; the first step of a probe that fails is named.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
start_gateway_pair detector
make_data 5000000 >"$tmp/in"
mkfifo "$tmp/gate"
c() { start ctl "$builddir/scistreamctl" "$@"; finish ctl; out=$(cat "$tmp/ctl.out"); }
# has PATTERN: the output
has() { grep -Eq -- "$1" "$tmp/ctl.out" || fail "no '$1' in: $(cat "$tmp/ctl.out" "$tmp/ctl.err")"; }

step info
c -S "$tmp/A/sock" info
has '^gateway    A, version [0-9.]+, protocol 1, pid [0-9]+$'
has "^pin        ${pin[A]}\$"
has '^state      serving, up .*, 2 workers$'
has "^transports .*$rdma"
has '^routes     detector$'
c -S "$tmp/A/sock" info --json
[ "$(json "$tmp/ctl.out" '[d["name"], d["workers"], d["draining"], d["routes"], sorted(d["transports"])]')" = "['A', 2, False, ['detector'], ['link', '$rdma']]" ] ||
    fail "$out"

[ "$(json "$tmp/ctl.out" 'sorted(d["worker_states"][1].items())')" = "[('channels', 0), ('completion_events', 0), ('completions', 0), \
('copied_bytes', 0), ('index', 1), ('posts', 0), ('turns', $(json "$tmp/ctl.out" 'd["worker_states"][1]["turns"]')), ('work_requests', 0)]" ] || fail "$out"
c -S "$tmp/A/sock" info
has '^worker 1   0 channels, 0 B copied; verbs: 0 work requests in 0 posts, 0 completions, 0 wake-ups$'

step "devices: of a gateway, and of this machine where none listens; one that was named must be there"
devices() { ls /sys/class/infiniband 2>/dev/null | sort; }
c -S "$tmp/A/sock" devices
[ $status = 0 ] || fail "$(cat "$tmp/ctl.err")"
has "^RDMA devices as the gateway at $tmp/A/sock sees them\$"
[ -n "$(devices)" ] || has '^There is none'
c -S "$tmp/A/sock" devices --json
[ "$(json "$tmp/ctl.out" 'd["source"], d["socket"]')" = "('gateway', '$tmp/A/sock')" ] || fail "$out"
[ "$(json "$tmp/ctl.out" '"\n".join(sorted({x["name"].split(":")[0] for x in d["devices"]}))')" = "$(devices)" ] || fail "$out"
export XDG_RUNTIME_DIR=$tmp/nobody
if [ "$(id -u)" != 0 ] || [ ! -e /run/scistream/control.sock ]; then
    c devices
    [ $status = 0 ] || fail "$(cat "$tmp/ctl.err")"
    has '^RDMA devices of this machine \(no gateway answers at .*/control.sock\)$'
    c devices --json
    [ "$(json "$tmp/ctl.out" 'd["source"]')" = machine ] || fail "$out"
    [ "$(json "$tmp/ctl.out" '"\n".join(sorted({x["name"].split(":")[0] for x in d["devices"]}))')" = "$(devices)" ] || fail "$out"
fi
c -S "$tmp/nobody" devices
[ $status = 69 ] || fail "status $status: $out"
says ctl 'is scistreamd running'

step sessions
c -S "$tmp/A/sock" sessions
[ "$out" = 'no sessions' ] || fail "$out"
c -S "$tmp/A/sock" sessions --json
[ "$out" = '{"sessions":[],"routes":[]}' ] || fail "$out"
start_recv recv B/detector -o "$tmp/out"
input=$tmp/gate start_send send A/detector "$tmp/in" -
exec {gate}<>"$tmp/gate" # until it is closed, the stream goes on
wait_for 10 flowing B 500000
c -S "$tmp/A/sock" sessions
has '^session [0-9a-f]{32}  route detector, best effort, '
has '^  channel 0  flowing, .*, mean .*bit/s, ring 4M'
has "^    source  127.0.0.1:[0-9]+ by $rdma on $rdma_device, $rdma_security, ready$"
has "^    sink    dialed 127.0.0.1:[0-9]+ by link on tcp, TLSv1.3 TLS_AES_256_GCM_SHA384, ready; passed over $rdma: not offered"
c -S "$tmp/B/sock" sessions --json
cp "$tmp/ctl.out" "$tmp/b.json"
[ "$(json "$tmp/b.json" '[(s["route"], [(c["number"], c["state"], c["source"]["transport"], c["sink"]["transport"], c["source"]["dialed"],
    c["bytes_in"] > c["bytes_out"] - 1 > 0) for c in s["channels"]]) for s in d["sessions"]]')" = \
  "[('detector', [(0, 'flowing', 'link', '$rdma', False, True)])]" ] || fail "$out"
uid=$(json "$tmp/b.json" 'd["sessions"][0]["uid"]')
c -S "$tmp/B/sock" sessions "$uid"
has "^session $uid"
c -S "$tmp/B/sock" sessions "${uid//[0-9]/0}"
[ $status != 0 ] || fail "a session that is not there: $out"
says ctl 'no session with that uid'
exec {gate}>&-
ends send 0
ends recv 0

step probe
at=(--secret-file "${secret[B]}" --pin "${pin[B]}")
url=gateway://localhost:${port[B]}/detector
c probe "${at[@]}" "$url" --time 300ms
[ $status = 0 ] || fail "$(cat "$tmp/ctl.out" "$tmp/ctl.err")"
has '^connect  ok, localhost is 127.0.0.1:[0-9]+, [0-9.]+ ms$'
has '^tls      ok, TLSv1.3 .*, public key as pinned$'
has '^proof    ok, route detector lets us send, session [0-9a-f]{32}$'
has "^data     ok, $rdma on $rdma_device, $rdma_security, [0-9.]+ ms after the offer$"
has '^stream   ok, .*iB in 0\.[0-9] s, .*bit/s, memory to memory; waited for'
wait_for 5 idle B
c probe "${at[@]}" "$url" --time 300ms --json
[ $status = 0 ] || fail "$(cat "$tmp/ctl.out" "$tmp/ctl.err")"
$python -c 'import json, sys; d = json.loads(open(sys.argv[1]).read().splitlines()[-1]); sys.exit(not (d["ok"] and d["bytes"] > 1e6))' "$tmp/ctl.out" || fail "$out"

# step_fails STEP CODE ARGUMENTS
step_fails() { c probe "${@:3}"; [ $status = "$2" ] || fail "probe exits with $status: $out"; has "^$1 +FAILED$"; }
step_fails resolve 69 "${at[@]}" gateway://no-such-host.invalid/detector
step_fails connect 69 "${at[@]}" "gateway://127.0.0.1:$((port[B] + 12))/detector"
step_fails tls 67 --secret-file "${secret[B]}" --pin "${pin[A]}" "$url"
step_fails proof 67 --secret-file "${secret[A]}" --pin "${pin[B]}" "$url"
