#!/bin/bash
# /metrics: what it tells of streams, refusals and workers; counters never go back; scraped by 50 at once, garbage and slow visitors on
# its port harm nothing; a port that is taken.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program curl openssl
requires_python socket
make_data 5000000 >"$tmp/in"
new_gateway A
add_route A detector
start_gateway A
at=127.0.0.1:$((port[A] + 9)) page=$tmp/page

# shows NAME LABELS VALUE: within 5 s
has() { scrape A >"$page" && [ "$(metric "$page" "${@:1:2}")" = "$3" ]; }
shows() { within 5 has "$@" || fail "$1{$2} is not $3 but: $(grep -F "$1" "$page")"; }

step "a page of nothing yet"
scrape A >"$page" || fail "no page"
[ "$(curl -s -o "$tmp/index" -w '%{http_code} %{content_type}' "http://$at/metrics")" = "200 text/plain; version=0.0.4; charset=utf-8" ] || fail "type"
grep -q '^scistream_build_info{version="' "$page" || fail "build info"
shows scistream_worker_up 'worker="1"' 1
shows scistream_channels 'route="detector",state="flowing"' 0
shows scistream_stream_bytes_total 'route="detector",direction="forward"' 0
began=$(metric "$page" process_start_time_seconds)
[ $((EPOCHSECONDS - began)) -lt $((60 * slow)) ] || fail "it started at $began?"
expires=$(metric "$page" scistream_certificate_expiry_timestamp_seconds)
[ "$expires" = "$(date -d "$(openssl x509 -noout -enddate -in "$tmp/A/gateway.crt" | cut -d= -f2)" +%s)" ] || fail "certificate: $expires"
# HELP and TYPE stand once before each family, counters and only they end in _total
awk '/^# HELP/ { if (help[$3]++) exit 1; if (NF < 4) exit 1 } /^# TYPE/ { if (!help[$3]) exit 1; if (($4 == "counter") != ($3 ~ /_total$/)) exit 1; t[$3] = 1; last = $3 }
    !/^#/ { n = $1; sub(/{.*/, "", n); if (n != last) exit 1 }' "$page" || fail "not in order: $(cat "$page")"
for code in "GET / 200" "GET /metrics/x 404" "POST /metrics 405" "DELETE / 405"; do
    read -r method path want <<<"$code"
    got=$(curl -s -o "$tmp/index" -w '%{http_code}' -X "$method" "http://$at$path")
    [ "$got" = "$want" ] || fail "$method $path: $got"
done

step "a stream, a wrong secret, an abort"
stream "$tmp/in" A/detector A/detector
shows scistream_channels_ended_total 'route="detector",outcome="confirmed"' 1
shows scistream_stream_bytes_total 'route="detector",direction="forward"' 5000000
shows scistream_attaches_total 'result="accepted"' 2
openssl rand -hex 32 >"$tmp/wrong"
chmod 600 "$tmp/wrong"
run send 67 "$builddir/scistream-send" --secret-file "$tmp/wrong" --pin "${pin[A]}" "gateway://127.0.0.1:${port[A]}/detector" "$tmp/in"
shows scistream_attach_refusals_total 'reason="EAUTH"' 1
shows scistream_attaches_total 'result="refused"' 1
run recv 75 "$builddir/scistream-recv" --secret-file "${secret[A]}" --pin "${pin[A]}" --wait 2s "gateway://127.0.0.1:${port[A]}/detector" -o "$tmp/none"
shows scistream_channels_aborted_total 'route="detector",reason="ERENDEZVOUS"' 1
shows scistream_channels 'route="detector",state="closing"' 0
shows scistream_window_admitted_bytes '' 0

step "while it runs: channels, bytes, ring, and who is slow"
start_recv recv A/detector -o /dev/null
input=<(head -c 2000000 "$tmp/in"; exec sleep 20) start_send send A/detector
shows scistream_channels 'route="detector",state="flowing"' 1
within 5 eval 'scrape A >"$page"; [ "$(metric "$page" scistream_stream_bytes_total "route=\"detector\",direction=\"forward\"")" -ge 7000000 ]' ||
    fail "bytes of a stream that runs: $(grep stream_bytes "$page")"
shows scistream_flows_waiting 'route="detector",for="source"' 1
[ "$(metric "$page" scistream_window_admitted_bytes)" = 4194304 ] || fail "window: $(grep admitted "$page")"
waited() { metric "$page" scistream_wait_seconds_total 'route="detector",direction="forward",for="source"'; }
before=$(waited)
within 5 eval 'scrape A >"$page"; awk "BEGIN { exit !($(waited) > $before + 0.2) }"' || fail "it waits for its source: $before $(waited)"

step "a worker that dies is told, and no counter goes back; neither while streams come and go"
start watch $python "$srcdir/tests/func/metrics_watch.py" "http://$at/metrics"
for worker in $(workers_of A); do
    kill -9 "$worker"
    break
done
shows scistream_worker_deaths_total 'cause="signal"' 1
if alive send && ! within 3 gone send; then # it was on the other one
    for worker in $(workers_of A); do kill -9 "$worker"; done
fi
ends send 75 10
finish recv
for i in 1 2 3; do stream "$tmp/in" A/detector A/detector; done
shows scistream_channels_ended_total 'route="detector",outcome="confirmed"' 4
shows scistream_channels_aborted_total 'route="detector",reason="EWORKER"' 1
alive watch || fail "$(cat "$tmp/watch.err")"
[ "$(tail -n 1 "$tmp/watch.out")" -gt 5 ] || fail "the watcher has seen nothing"
kill "${pid[watch]}"
finish watch
within 10 eval 'scrape A >"$page"; [ "$(grep -c "^scistream_worker_up.* 1" "$page")" = 2 ]' || fail "workers: $(grep worker "$page")"
grep -qE '^scistream_worker_restarts_total\{worker="[01]"\} [12]$' "$page" || fail "restarts: $(grep restarts "$page")"

step "50 scrapes at once, again and again, while a stream runs"
start_recv recv A/detector -o "$tmp/out"
start_send send A/detector --rate 200Mbit "$tmp/in" "$tmp/in" "$tmp/in" "$tmp/in"
urls=()
for ((i = 0; i < 200; i++)); do urls+=(-o "$tmp/scraped$i" "http://$at/metrics"); done
curl -sS -f --no-keepalive --parallel --parallel-max 50 --parallel-immediate --max-time 60 "${urls[@]}" || fail "a scrape failed"
[ "$(cat "$tmp"/scraped* | grep -c '^scistream_flows_waiting{route="detector",for="rate"}')" = 200 ] || fail "a page is cut"
rm -f "$tmp"/scraped*
ends send 0 60
ends recv 0

step "garbage and slow visitors"
cat >"$tmp/slow.py" <<'END'
import socket, sys, time
host, port = sys.argv[1].split(":")
bad = []
for junk in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 100000, b"GET /metrics HTTP/9.9\r\n\r\n", b"A" * 70000):
    s = socket.create_connection((host, int(port)))
    bad.append(s)
    s.settimeout(30)
    try:
        s.sendall(junk)
        s.shutdown(socket.SHUT_WR)
    except OSError:
        pass
drip, mute, deaf = (socket.create_connection((host, int(port))) for _ in range(3))
deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
begin = time.time()
print("here", flush=True)
try:
    while time.time() < begin + 60:
        drip.sendall(b"G" if time.time() < begin + 0.1 else b"E")
        time.sleep(0.2)
    sys.exit("who drips is still there")
except OSError:
    pass
mute.settimeout(30)
for s in (mute, *bad):
    try:
        while data := s.recv(65536):
            assert b"scistream_build_info" not in data and s is not mute
    except ConnectionError:
        pass
print("gone", flush=True)
END
start slow $python "$tmp/slow.py" "$at"
wait_until 10 "grep -q here '$tmp/slow.out'"
scrape A >"$page" || fail "no page beside slow visitors"
stream "$tmp/in" A/detector A/detector

step "a port that is taken: by another gateway refuses the start, the default one is only a warning; none at all"
new_gateway B
add_route B other
run B 78 "$builddir/scistreamd" -c "$tmp/B/conf" -o metrics=$at
says B "metrics: cannot listen on $at: Address already in use; another program has the port"
if ! port_busy 9500; then
    start taker $python -c 'import socket,time; s = socket.create_server(("127.0.0.1", 9500)); print("bound", flush=True); time.sleep(600)'
    within 5 port_busy 9500 || fail "port 9500"
fi
start_gateway B -o metrics=127.0.0.1:9500
says B 'warning: metrics: another program has 127.0.0.1:9500, so there are none'
stop_gateway B
start_gateway B -o metrics=
! curl -s --max-time 5 "http://127.0.0.1:$((port[B] + 9))/metrics" >"$page" || fail "there is a page"
stop_gateway B
for bad in localhost:9500 127.0.0.1 127.0.0.1:99999 nonsense; do
    run B 78 "$builddir/scistreamd" -c "$tmp/B/conf" -o metrics=$bad --check-config
    says B 'metrics'
done

step "a certificate that expires soon: said at the start, and told"
openssl req -x509 -key "$tmp/B/gateway.key" -subj /CN=localhost -days 5 -out "$tmp/B/short.crt" 2>/dev/null
start_gateway B -o certificate="$tmp/B/short.crt"
says B 'error: certificate .*/short.crt expires in [45] days: renew it now'
scrape B >"$page"
left=$(($(metric "$page" scistream_certificate_expiry_timestamp_seconds) - EPOCHSECONDS))
[ $left -gt $((5 * 86400 - 600)) ] && [ $left -le $((5 * 86400)) ] || fail "left: $left"
stop_gateway B

step "the slow visitors were sent away"
ends slow 0 40
grep -qx gone "$tmp/slow.out" || fail "slow visitors"
scrape A >"$page" || fail "no page after them"

step "while it stops, it still answers"
start_recv recv A/detector -o /dev/null
input=<(head -c 1000 "$tmp/in"; exec sleep 20) start_send send A/detector
shows scistream_channels 'route="detector",state="flowing"' 1
kill "${pid[A]}"
shows scistream_draining '' 1
kill "${pid[A]}"
ends A 0 20
