#!/bin/bash
# A stream of class provisioned has its 2 Gbit/s at the application that receives it, within 5 % in every window of 1 s (99 of 100 of them), by TCP, and another
# one its 1 Gbit/s by attaching, while eight best-effort streams by TCP and by ucx push as hard as they can and others are refused; and these
# share what is left, and no more than that.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_ucx
sanitized && skip "a sanitizer's programs are too slow for 5 Gbit/s"
windows=15 most=120
ends=$srcdir/tests/func/provisioned.py

new_gateway G
door=$((port[G] + 10)) behind=$((port[G] + 11))
take_ports # six doors more, and where they lead
be_door=$base
cat >>"$tmp/G/conf" <<END
capacity { wan = 3Gbit  rdma = 2Gbit }
END
route='class = provisioned  rate = 2Gbit' add_tcp_route G gold tcp://127.0.0.1:$door tcp://127.0.0.1:$behind
add_attach_route() # NAME OPTIONS...
{
    cat >>"$tmp/G/conf" <<END
route "$1" { accept = {"ucx"}  deliver = {"ucx"}  secret_file = "$tmp/G/secret"  ${*:2} }
END
}
add_attach_route silver 'class = provisioned  rate = 1Gbit'
for i in 0 1 2 3 4; do
    cat >>"$tmp/G/conf" <<END
route "tcp$i" { accept = {"tcp://127.0.0.1:$((be_door + 2 * i))"}  connect = "tcp://127.0.0.1:$((be_door + 2 * i + 1))"  connections = 1 }
END
done
for i in 0 1 2; do add_attach_route ucx$i; done
start_gateway G

step "what is reserved can be seen"
ctl G info >"$tmp/info"
grep -qx 'capacity   wan 3Gbit: 2Gbit reserved by 1 session, 850Mbit can be, 1Gbit for best effort' "$tmp/info" || fail "info: $(cat "$tmp/info")"
grep -qx 'capacity   rdma 2Gbit: 1Gbit reserved by 1 session, 900Mbit can be, 1Gbit for best effort' "$tmp/info" || fail "info: $(cat "$tmp/info")"
scrape G >"$tmp/metrics"
[ "$(metric "$tmp/metrics" scistream_reserved_bits_per_second 'segment="wan"')" = 2000000000 ] || fail "metrics: $(grep segment "$tmp/metrics")"
[ "$(metric "$tmp/metrics" scistream_best_effort_bits_per_second 'segment="rdma"')" = 1000000000 ] || fail "metrics: $(grep segment "$tmp/metrics")"

step "eight best-effort streams push"
start sink $python "$ends" sink $(seq $((be_door + 1)) 2 $((be_door + 9)))
wait_until 10 'port_busy $((be_door + 9))'
for i in 0 1 2 3 4; do start push$i $python "$ends" push 127.0.0.1:$((be_door + 2 * i)); done
for i in 0 1 2; do
    start_recv recv$i G/ucx$i --no-digest --quiet -o /dev/null
    start_send send$i G/ucx$i --no-digest --quiet /dev/zero
done
step "and others are refused"
start knock $python "$ends" knock $be_door
refuse_attach() { while sleep 0.2; do "$builddir/scistream-send" "${to[@]}" --quiet /dev/zero; done; }
to G/ucx0
start refused refuse_attach

step "two have what they reserved"
start gold $python "$ends" meter $behind $$ "push 127.0.0.1:$door" $windows $most
wait_until 10 'port_busy $behind'
start golden $python "$ends" push 127.0.0.1:$door
to G/silver
silver=("$builddir/scistream-recv" "${to[@]}" --no-digest --quiet)
receive_silver() { "${silver[@]}" | $python "$ends" meter - $$ /silver $windows $most; }
start silver receive_silver
start_send silver_send G/silver --no-digest --quiet /dev/zero

# bytes_of ROUTE: that have come out, by its connections or channels
bytes_of()
{
    $python -ISc '
import json, sys
d, route = json.load(open(sys.argv[1])), sys.argv[2]
print(sum(c["bytes_out"] for s in d["sessions"] if s["route"] == route for c in s["channels"]) +
      sum(r["forward"]["bytes"] for r in d["routes"] if r["route"] == route))' "$1" "$2"
}
look() { ctl G sessions --json >"$tmp/$1.json" || fail "sessions"; now_ms >"$tmp/$1.ms"; }
wait_until 20 'flowing G'
sleep 2 # the start is left out
look begin
for m in gold silver; do wait_until $((most + 20)) '[ -s "$tmp/'$m'.out" ] || gone '$m; done
look end
for m in gold silver; do [ -s "$tmp/$m.out" ] || fail "$m: $(cat "$tmp/$m.err")"; done

# outcome NAME RATE: in words; status 1: a window of another rate, 2: too few that can be judged
outcome()
{
    $python -ISc '
import json, sys
d, name, rate, wanted = json.load(open(sys.argv[1])), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
of, others = [w / rate for w in d["judged"]], d["not_judged"]
bad = [w for w in of if abs(w - 1) > 0.05]
text = f"{min(of):.3f} to {max(of):.3f} of its rate in {len(of)} windows" if of else "no window could be judged"
had = f"; {len(others)} more in which others had the machine, {min(others)[0] / rate:.3f} to {max(others)[0] / rate:.3f}, are not judged" if others else ""
print(f"{name}: {text}{had}")
sys.exit(1 if len(bad) > len(of) / 100 else 2 if len(of) < wanted else 0)' "$tmp/$1.out" "$1" "$2" $windows
}
few=no
for m in gold:2000000000 silver:1000000000; do
    text=$(outcome "${m%:*}" "${m#*:}") && code=0 || code=$?
    step "$text"
    [ $code != 1 ] || fail "$text: $(cat "$tmp/${m%:*}.out")"
    [ $code != 2 ] || few=yes
done

step "best effort shares what is left, whatever the machine does not more"
ms=$(($(<"$tmp/end.ms") - $(<"$tmp/begin.ms")))
share_of() # PREFIX: least, most and sum, Mbit/s, of its routes
{
    for route in $(sed -n "s/^route \"\($1[0-9]\)\".*/\1/p" "$tmp/G/conf"); do
        echo $((($(bytes_of "$tmp/end.json" $route) - $(bytes_of "$tmp/begin.json" $route)) * 8 / 1000 / ms))
    done | sort -n | awk 'NR == 1 { least = $1 } { sum += $1 } END { print least, $1, sum }'
}
for of in tcp ucx; do
    read -r least most_of sum < <(share_of $of)
    step "$of: $least to $most_of Mbit/s, $sum together"
    [ $sum -le 1040 ] || fail "$of: more than 1 Gbit/s"
    [ $few = yes ] || [ $sum -ge 850 ] || fail "$of: much less than 1 Gbit/s"
    [ $few = yes ] || [ $((most_of * 10)) -le $((least * 14)) ] || fail "$of: not alike"
done
[ "$(tail -n 1 "$tmp/knock.out")" -ge 20 ] || fail "connections refused: $(tail -n 1 "$tmp/knock.out")"
grep -qa 'route ucx0 has 1 channel and no place for another sender' "$tmp/refused.err" || fail "nobody was refused: $(cat "$tmp/refused.err")"

step "the session says what it is"
ctl G sessions >"$tmp/sessions"
grep -qE 'route silver, provisioned 1Gbit,' "$tmp/sessions" && grep -qE '^route gold  provisioned 2Gbit, 1 connection' "$tmp/sessions" || fail "sessions: $(cat "$tmp/sessions")"
json "$tmp/end.json" '[(s["class"], s["rate"]) for s in d["sessions"] if s["route"] in ("silver", "ucx0")]' >"$tmp/classes"
grep -q "('provisioned', 1000000000)" "$tmp/classes" && grep -q "('best effort', 0)" "$tmp/classes" || fail "classes: $(cat "$tmp/classes")"
[ $few = no ] || skip "fewer than $windows windows of $most could be judged, others had the machine; what could be judged holds"
