#!/bin/bash
# scistreamctl watch: what happens as it happens, as lines, JSON lines, or a table on a terminal; a watcher that does not read is held against
# what waits for it, and told how much it missed; it ends by Ctrl-C, with its session, or with the gateway.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
requires_python pty termios
global='peer_timeout = 60s' start_gateway_pair detector
make_data 3000000 >"$tmp/in"
mkfifo "$tmp/gate"
watch() { start "$1" "$builddir/scistreamctl" -S "$tmp/A/sock" watch "${@:2}"; }
# event WATCHER EXPRESSION: some event e is so
event() { $python -ISc 'import json, sys
for line in open(sys.argv[1]):
    if not line.endswith("\n"): break
    e = json.loads(line); p = e.get("progress", {}); c = e.get("channel", {})
    if eval(sys.argv[2]): print(e["session"] if "session" in e else ""); sys.exit(0)
sys.exit(1)' "$tmp/$1.out" "$2"; }
sees() { wait_for 10 event "$@"; }
begin_stream()
{
    start_recv recv B/detector
    input=$tmp/gate start_send send A/detector "$tmp/in" -
    exec {gate}<>"$tmp/gate"
    wait_for 10 flowing A 500000
}

step "the life of a channel, as JSON lines and as text"
watch json --json --interval 50ms
watch text --interval 50ms
sleep 0.3
begin_stream
sees json 'e["what"] == "opened" and e["route"] == "detector" and c["number"] == 0 and c["source"]["peer"].startswith("127.0.0.1:")'
sees json 'e["what"] == "flowing" and c["source"]["transport"] == "'$rdma'" and c["sink"]["transport"] == "link" and c["sink"]["dialed"]'
sees json 'e["what"] == "progress" and p["channel"] == 0 and p["bytes_out"] > 0 and p["window"] == 4 << 20 and p["interval_ms"] > 0'
sees json 'e["what"] == "progress" and p["waiting_for"] == "source" and p["source_permille"] > 900' # the gate is closed
uid=$(event json 'e["what"] == "opened"')
exec {gate}>&-
ends send 0
ends recv 0
sees json 'e["what"] == "ended" and e["text"] == "confirmed" and e["session"] == "'$uid'"'
wait_until 10 "grep -qE '^..:..:..  ${uid:0:8}/0 \(detector\) ended: confirmed$' '$tmp/text.out'"
grep -qE "^..:..:..  ${uid:0:8}/0 \(detector\) opened: 127.0.0.1:[0-9]+ by .* -> " "$tmp/text.out" || fail "$(cat "$tmp/text.out")"
grep -qE "^..:..:..  ${uid:0:8}/0 [0-9.]+ .*bit/s, .*, ring [0-9]+ %, waits for " "$tmp/text.out" || fail "$(cat "$tmp/text.out")"

step "what happens to the gateway"
first=$(workers_of A | head -n 1)
kill -9 $first
sees json 'e["what"] == "worker-died" and e["worker"] == 0 and "killed by signal 9" in e["text"]'
sees json 'e["what"] == "worker-started" and e["worker"] == 0'
ctl A reload >/dev/null || fail "reload"
sees json 'e["what"] == "reloaded" and e["text"] == "nothing changed"'
ctl A drain --timeout forever >/dev/null && ctl A drain --resume >/dev/null || fail "drain"
sees json 'e["what"] == "draining"'
sees json 'e["what"] == "resumed"'

step "a channel that was there before; one session alone; it ends with it"
begin_stream
uid=$(ctl A sessions --json | $python -ISc 'import json, sys; print(json.load(sys.stdin)["sessions"][0]["uid"])')
watch one "$uid" --json --interval 50ms
sees one 'e["what"] == "opened" and e["session"] == "'$uid'" and c["state"] == "flowing"'
ctl A reload >/dev/null || fail "reload"
ctl A release "$uid" --reason enough >/dev/null || fail "release"
sees one 'e["what"] == "ended" and "released by an administrator: enough" in e["text"]'
ends one 0
! event one 'e["what"] == "reloaded"' || fail "that is not of this session"
ends send 76
ends recv 76
exec {gate}>&-
run none 64 "$builddir/scistreamctl" -S "$tmp/A/sock" watch "${uid//[0-9]/0}"
says none 'no session with that uid'

step "a table on a terminal: redrawn in place, as wide and high as it is, and gone at the end"
begin_stream
start tty $python "$srcdir/tests/func/watch_tty.py" "$builddir/scistreamctl" -S "$tmp/A/sock" watch --interval 100ms
ends tty 0 60
TERM=dumb start plain $python -c 'import pty, sys; pty.spawn(sys.argv[1:])' timeout -s INT 2 "$builddir/scistreamctl" -S "$tmp/A/sock" watch
finish plain
grep -q 'opened: ' "$tmp/plain.out" && ! grep -q $'\033' "$tmp/plain.out" || fail "$(cat -v "$tmp/plain.out")"
exec {gate}>&-
ends send 0
ends recv 0

step "at most eight at once"
for i in 1 2 3 4 5 6; do watch w$i; done
# While one of before leaves, or a ninth of an earlier try has a place, one of the six may have been refused: it comes again.
eight_watch()
{
    for i in 1 2 3 4 5 6; do alive w$i || watch w$i; done
    start ninth "$builddir/scistreamctl" -S "$tmp/A/sock" watch
    within 1 gone ninth && said ninth 'eight watch already' && return
    kill -INT "${pid[ninth]}"
    finish ninth
    return 1
}
wait_for 20 eight_watch
finish ninth
[ $status = 75 ] || fail "it ends with $status"
for i in 1 2 3 4 5 6; do kill -INT "${pid[w$i]}"; ends w$i 0; done

step "one that does not read is told how much it missed; the gateway keeps no more for it than it should"
for i in 0 1 2 3 4 5 6 7; do
    start_recv r$i B/detector --report none
    start_send s$i A/detector --rate 8Mbit /dev/zero
done
wait_until 30 "[ \$(ctl A sessions | grep -c flowing) = 8 ]"
before=$(rss_kib "${pid[A]}")
start slow $python "$srcdir/tests/func/watch_slow.py" "$tmp/A/sock" $((6 * slow)) # 8 channels, 50 times a second, 100 bytes each
ends slow 0 60
[ $(($(rss_kib "${pid[A]}") - before)) -lt 4096 ] || sanitized || fail "control has grown from $before to $(rss_kib "${pid[A]}") KiB"
for i in 0 1 2 3 4 5 6 7; do kill -INT "${pid[s$i]}"; done
for i in 0 1 2 3 4 5 6 7; do ends s$i 76; ends r$i 76; done

step "Ctrl-C ends it well; the end of the gateway does not"
kill -INT "${pid[json]}"
ends json 0
kill "${pid[A]}"
ends A 0
ends text 69
grep -q 'stopping: no new streams' "$tmp/text.out" || fail "$(tail -n 3 "$tmp/text.out")"
