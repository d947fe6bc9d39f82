#!/bin/bash
# One line of JSON for each stream that has ended, however it ended; logrotate may rename the file; a full disk harms no stream.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program curl openssl xxh128sum
make_data 3000000 >"$tmp/in"
records=$tmp/records
new_gateway A
add_route A detector
start_gateway A -o records="$records"

# record N EXPRESSION: of the object d in line N
record() { sed -n "$1p" "$records" | $python -ISc 'import json,sys; d = json.loads(sys.stdin.readline()); print(eval(sys.argv[1]))' "$2"; }
holds() { [ "$(record "$1" "$2")" = True ] || fail "not so: $2 in $(sed -n "$1p" "$records")"; }
lines() { [ "$(wc -l <"$records")" = "$1" ]; }

step "a stream that was confirmed"
stream "$tmp/in" A/detector A/detector
wait_for 5 lines 1
holds 1 'd["gateway"] == "A" and d["route"] == "detector" and d["channel"] == 0 and len(d["uid"]) == 32'
holds 1 'd["outcome"] == "confirmed" and d["code"] == "OK" and d["reason"] == "confirmed"'
holds 1 'd["bytes"] == 3000000 and d["bytes_backward"] == 0 and d["seconds"] > 0 and abs(d["gbit_s"] - 0.024 / d["seconds"]) < 0.01 * d["gbit_s"] + 1e-5'
holds 1 "d['digest'] == '$(digest_of "$tmp/in")'"
holds 1 'd["principal"] == d["source"]["principal"] == d["sink"]["principal"] == "secret"'
holds 1 'd["source"]["peer"].startswith(("127.0.0.1:", "10.99.")) and d["sink"]["peer"] != d["source"]["peer"]'
holds 1 "d['source']['transport'] == '$rdma' and d['sink']['device'] != ''"
holds 1 'set(d["wait_seconds"]) == {"source", "credits", "sink", "rate"} and d["slow"] in ("", *d["wait_seconds"])'
$python -ISc 'import datetime,sys; t = datetime.datetime.fromisoformat(sys.argv[1].replace("Z", "+00:00")); assert abs(t.timestamp() - float(sys.argv[2])) < 120' \
    "$(record 1 'd["time"]')" "$EPOCHREALTIME" || fail "time: $(record 1 'd["time"]')"

step "who was slow: the source"
start_recv recv A/detector -o "$tmp/out"
input=<(head -c 1000 "$tmp/in"; sleep 1; head -c 1000 "$tmp/in") start_send send A/detector --transport link --require link
ends send 0
ends recv 0
wait_for 5 lines 2
holds 2 'd["slow"] == "source" and d["wait_seconds"]["source"] > 0.5 and d["bytes"] == 2000 and d["source"]["transport"] == "link" and "TLS" in d["source"]["security"]'

step "one that was aborted, while it waited for who does not read"
start_recv recv A/detector -o /dev/null --transport link --require link
start_send send A/detector --report json "$tmp/in" "$tmp/in" "$tmp/in" "$tmp/in" "$tmp/in" "$tmp/in" "$tmp/in" "$tmp/in" --rate 8Mbit
wait_until 10 "flowing A 1000"
kill "${pid[recv]}"
finish recv
finish send
wait_for 10 lines 3
holds 3 'd["outcome"] == "aborted" and d["code"] == "EINTERRUPTED" and "interrupted" in d["reason"] and d["bytes"] >= 1000 and d["digest"] == ""'

step "one that never began, and a probe"
run recv 75 "$builddir/scistream-recv" --secret-file "${secret[A]}" --pin "${pin[A]}" --wait 2s "gateway://127.0.0.1:${port[A]}/detector" -o "$tmp/none"
wait_for 5 lines 4
holds 4 'd["code"] == "ERENDEZVOUS" and d["seconds"] == 0 and d["gbit_s"] == 0 and d["source"]["peer"] == "" and d["sink"]["peer"] != ""'
run probe 0 "$builddir/scistreamctl" --secret-file "${secret[A]}" --pin "${pin[A]}" probe "gateway://127.0.0.1:${port[A]}/detector"
wait_for 5 lines 5
holds 5 'd["outcome"] == "probed" and d["bytes"] > 0'

step "it was renamed: the next goes to a new file"
mv "$records" "$records.1"
stream "$tmp/in" A/detector A/detector
wait_until 5 "[ -f '$records' ] && [ \$(wc -l <'$records') = 1 ]"
[ "$(wc -l <"$records.1")" = 5 ] || fail "the old file was written to"
if command -v logrotate >/dev/null; then
    sed "s|/var/log/scistream/records.jsonl|$records|; /^ *su /d; /dateext/d" "$srcdir/etc/logrotate.conf" >"$tmp/logrotate.conf"
    chmod go-w "$tmp" "$tmp/logrotate.conf"
    logrotate -f -s "$tmp/logrotate.state" "$tmp/logrotate.conf" 2>"$tmp/logrotate.err" || fail "logrotate: $(cat "$tmp/logrotate.err")"
    [ ! -f "$records" ] || fail "logrotate did not take it"
    stream "$tmp/in" A/detector A/detector
    wait_until 5 "[ -f '$records' ] && [ \$(wc -l <'$records') = 1 ]"
fi
stop_gateway A

step "many at once: every line is whole"
start_gateway A -o records="$records" -o route.detector.channels=8
before=$(wc -l <"$records")
for i in 1 2 3 4 5 6; do start_recv r$i A/detector -o /dev/null; done
for i in 1 2 3 4 5 6; do start_send s$i A/detector "$tmp/in"; done
for i in 1 2 3 4 5 6; do ends s$i 0; ends r$i 0; done
wait_for 5 lines $((before + 6))
$python -ISc 'import json,sys; [json.loads(x) for x in open(sys.argv[1])]' "$records" || fail "a line is broken"
stop_gateway A

step "a full disk: streams go on, it is said once and counted"
start_gateway A -o records=/dev/full
for i in 1 2 3; do stream "$tmp/in" A/detector A/detector; done
wait_said A 'error: records /dev/full: No space left on device: they are lost'
scrape A >"$tmp/page"
[ "$(metric "$tmp/page" scistream_records_lost_total)" = 3 ] || fail "lost: $(grep records "$tmp/page")"
[ "$(grep -c 'are lost' "$tmp/A.err")" = 1 ] || fail "said more than once"
stop_gateway A

step "in the log; not at all; a file that cannot be"
start_gateway A -o records=log
stream "$tmp/in" A/detector A/detector
wait_said A '^scistreamd: record \{"time":.*"outcome":"confirmed",.*\}$'
stop_gateway A
run A 78 "$builddir/scistreamd" -c "$tmp/A/conf" -o records=/nowhere/records
says A 'records = /nowhere/records: cannot be opened: No such file or directory'
run A 78 "$builddir/scistreamd" -c "$tmp/A/conf" -o records=relative
says A 'records = relative: must be an absolute path, log, or'

step "through two gateways: each has a record of its own, and how the next one was known"
global="records = \"$tmp/near\"" new_gateway N
global="records = \"$tmp/far\"" new_gateway F
add_route F detector
add_route N detector F
start_gateway F
start_gateway N
stream "$tmp/in" N/detector F/detector
records=$tmp/near
wait_until 5 "[ -s '$tmp/near' ] && [ -s '$tmp/far' ]"
holds 1 'd["gateway"] == "N" and d["source"]["principal"] == "secret" and d["sink"]["principal"] == "pin"'
records=$tmp/far
holds 1 'd["gateway"] == "F" and d["principal"] == "secret" and d["bytes"] == 3000000 and d["outcome"] == "confirmed"'
