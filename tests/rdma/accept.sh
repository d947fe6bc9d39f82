#!/bin/bash
# tests/ib/accept, the script for real hosts, with both its ends here: what it measures is in its JSON, what cannot be measured is told and hinders
# nothing, and nothing of it stays.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires "no RDMA devices: run it by tests/vm/run" test -n "${RDMA_HERE:-}"
accept() { $python "$srcdir/tests/ib/accept" "$@"; }
local_run() { accept run --local --from "$RDMA_HERE" --to "$RDMA_THERE" --bin "$builddir" --seconds 1 "$@"; }
# measures NAME CODE COMMAND...: as run, but with the time that an emulated machine may need
measures() { start "$1" "${@:3}"; ends "$1" "$2" 120; }
step_of() { json "$1" "[s for s in d['steps'] if s['name'] == '$2'][0]$3"; }

step "ours, directly and through two gateways"
measures measured 0 local_run --only direct-verbs --only two-gateways --only port-down -o "$tmp/a.json"
for s in direct-verbs two-gateways; do
    [ "$(step_of "$tmp/a.json" $s '["ok"]')" = True ] || fail "$s: $(step_of "$tmp/a.json" $s)"
    [ "$(step_of "$tmp/a.json" $s '["result"]["sender"]["transport"]')" = verbs ] || fail "$s did not use verbs"
done
step_of "$tmp/a.json" port-down '["skipped"]' | grep -q 'not asked for' || fail "port-down was not skipped"
[ "$(json "$tmp/a.json" 'd["format"]')" = scistream-accept-1 ] || fail "another format"
json "$tmp/a.json" '[h["facts"]["devices"] for h in d["hosts"]]' | grep -q "'state': '4: ACTIVE'" || fail "no active port among the facts"

step "a step that cannot be done is told, the others are done"
mkdir "$tmp/bin"
ln -s "$builddir"/scistreamd "$builddir"/scistream-worker "$builddir"/scistream-recv "$tmp/bin/"
printf '#!/bin/sh\necho "error: of no use" >&2\nexit 69\n' >"$tmp/bin/scistream-send"
chmod +x "$tmp/bin/scistream-send"
measures broken 2 local_run --bin "$tmp/bin" --only direct-verbs --only direct-link -o "$tmp/b.json"
step_of "$tmp/b.json" direct-link '["error"]' | grep -q 'of no use' || fail "the reason is lost: $(step_of "$tmp/b.json" direct-link)"

step "the other half by a connection, and only with its token"
take_ports
start serve $python "$srcdir/tests/ib/accept" serve --listen "127.0.0.1:$base"
wait_until 10 'grep -q Token: "$tmp/serve.out"'
ACCEPT_TOKEN=guessed measures wrong 2 accept run --serve "127.0.0.1:$base" --bin "$builddir" --only direct-verbs -o "$tmp/c.json"
says wrong 'token'
ACCEPT_TOKEN=$(sed -n 's/^Token: //p' "$tmp/serve.out") measures right 0 accept run --serve "127.0.0.1:$base" --bin "$builddir" --from "$RDMA_HERE" \
    --to "$RDMA_THERE" --seconds 1 --only direct-verbs -o "$tmp/c.json"
[ "$(step_of "$tmp/c.json" direct-verbs '["ok"]')" = True ] || fail "direct-verbs: $(step_of "$tmp/c.json" direct-verbs)"
ends serve 0

step "nothing is left"
left=$(ls -d /dev/shm/scistream-accept-* "${TMPDIR:-/tmp}"/scistream-accept-* 2>/dev/null)
[ -z "$left" ] || fail "left behind: $left"
for p in scistreamd scistream-send scistream-recv; do ! pgrep -x $p >/dev/null || fail "$p still runs: $(pgrep -ax $p)"; done
