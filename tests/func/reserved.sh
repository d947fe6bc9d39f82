#!/bin/bash
# What class provisioned reserves: a configuration that promises too much is refused and says what is missing; rings are kept for those who have not come
# yet, and they come in when nobody else does any more; a reload changes what is reserved and what others share, while they stream.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_ucx
ends=$srcdir/tests/func/provisioned.py

new_gateway G
door=$((port[G] + 10))
take_ports
be_door=$base behind=$((base + 1))
start sink $python "$ends" sink $behind
write_conf() # WAN RDMA GOLD_RATE [OPTIONS]
{
    [ -f "$tmp/plain" ] || cp "$tmp/G/conf" "$tmp/plain"
    cp "$tmp/plain" "$tmp/G/conf"
    cat >>"$tmp/G/conf" <<END
memory_limit = 2M
capacity { wan = $1  rdma = $2  best_effort_percent = 10 }
route "gold" { accept = {"tcp://127.0.0.1:$door"}  connect = "tcp://127.0.0.1:$behind"  window = 512K  class = provisioned  rate = $3 }
route "silver" { accept = {"ucx"}  deliver = {"ucx"}  secret_file = "$tmp/G/secret"  window = 512K  class = provisioned  rate = 100Mbit }
route "be" { accept = {"tcp://127.0.0.1:$be_door"}  connect = "tcp://127.0.0.1:$behind"  window = 512K }
route "ucx" { accept = {"ucx"}  deliver = {"ucx"}  secret_file = "$tmp/G/secret"  window = 512K }
END
}

step "more than there is"
write_conf 1Gbit 1Gbit 1Gbit
run check 78 "$builddir/scistreamd" -c "$tmp/G/conf" --check-config
says check 'route "gold": rate: with it the routes of class provisioned reserve 1Gbit of the wan segment, and 900Mbit of it can be: raise capacity.wan'
write_conf 0 1Gbit 1Gbit
run check 78 "$builddir/scistreamd" -c "$tmp/G/conf" --check-config
says check 'nothing can be reserved of the wan segment, which it uses, while capacity.wan is not set'
write_conf 200Mbit 200Mbit 80Mbit
start_gateway G

step "rings are kept for them: two connections more, and no third; nor a channel"
# G has 2M: gold's and silver's first come first, with 512K each
for i in 0 1; do start push$i $python "$ends" push 127.0.0.1:$be_door; done
opened() { ctl G sessions --json >"$tmp/s.json" && [ "$(json "$tmp/s.json" "sum(r['open'] for r in d['routes'] if r['route'] == '$1')")" = "$2" ]; }
wait_for 10 opened be 2
start push2 $python "$ends" push 127.0.0.1:$be_door
log_has G 'route be, .* refused: two rings of 256K do not fit into memory_limit 2 MiB'
start_recv recv G/ucx --quiet -o /dev/null
send 75 G/ucx --quiet /dev/zero
says send 'a ring of 512 KiB does not fit: 2 MiB of memory_limit 2 MiB are in use'
ends recv 75

step "and there is room for those it is kept for, which who watches can see"
start watch "$builddir/scistreamctl" -S "$tmp/G/sock" watch --json
wait_until 10 'grep -q \"connections\" "$tmp/watch.out"'
start gold $python "$ends" push 127.0.0.1:$door
wait_for 10 opened gold 1
start_recv silver G/silver --quiet -o /dev/null
start_send silver_send G/silver --quiet /dev/zero
wait_until 10 'flowing G 1000000'
wait_until 10 'grep -qE "\"what\":\"flowing\",.*\"route\":\"silver\",\"class\":\"provisioned\",\"rate\":100000000," "$tmp/watch.out"'
wait_until 10 'grep -qE "\"route\":\"gold\",\"reserved\":80000000," "$tmp/watch.out"'
kill "${pid[watch]}"
sleep 0.3 # until it was looked at again
scrape G >"$tmp/page"
[ "$(metric "$tmp/page" scistream_window_admitted_bytes)" = $((2 << 20)) ] || fail "memory: $(grep admitted "$tmp/page")"

# rate_of ROUTE: Mbit/s of its connections, over a second
moved() { json "$tmp/$2.json" "sum(r['forward']['bytes'] for r in d['routes'] if r['route'] == '$1')"; }
rate_of()
{
    local ms
    ctl G sessions --json >"$tmp/before.json" && ms=$(now_ms)
    sleep 1
    ctl G sessions --json >"$tmp/after.json" && ms=$(($(now_ms) - ms))
    echo $((($(moved $1 after) - $(moved $1 before)) * 8 / 1000 / ms))
}
about() { [ $(($1 * 100)) -ge $(($2 * 80)) ] && [ $(($1 * 100)) -le $(($2 * 115)) ]; } # what it costs to ask included
is_about() { local got; got=$(rate_of $1); echo "$1: $got of $2 Mbit/s" >>"$tmp/rates.err"; about "$got" "$2"; }
step "each has what it should have"
wait_for 30 is_about gold 80
wait_for 30 is_about be 120

step "a reload: more for gold, less for others, who stream on"
write_conf 200Mbit 200Mbit 120Mbit
ctl G reload >"$tmp/reload" || fail "reload: $(cat "$tmp/reload")"
wait_for 30 is_about gold 120
wait_for 30 is_about be 80
step "another: nothing is reserved, nothing limited"
sed -e '/^capacity/d; s/class = provisioned  rate = [0-9A-Za-z]*//' -i "$tmp/G/conf"
ctl G reload >"$tmp/reload" || fail "reload: $(cat "$tmp/reload")"
grep -q capacity.wan "$tmp/reload" || fail "reload: $(cat "$tmp/reload")"
faster() { [ "$(rate_of be)" -gt $((200 / slow)) ]; }
wait_for 20 faster
step "and again, which the same connections hear of"
write_conf 200Mbit 200Mbit 80Mbit
ctl G reload >"$tmp/reload" || fail "reload: $(cat "$tmp/reload")"
wait_for 30 is_about gold 80
wait_for 30 is_about be 120
alive gold && alive push0 && alive push1 && alive silver_send || fail "somebody was ended"
