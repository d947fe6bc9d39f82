#!/bin/bash
# Sessions that users arrange with class provisioned: admitted or refused with the shortage, given back however they end; what policies say of rate and rings; they
# have their rate while others push, and keep it when the gateway is upgraded.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program protoc
requires_python grpc google.protobuf
unset http_proxy https_proxy
mkdir "$tmp/messages"
protoc -I "$srcdir/ctrl" --python_out="$tmp/messages" scistream.proto gateway.proto || fail "protoc"
new_arranging() # NAME, with $options
{
    new_tcp_gateway "$1"
    cat >>"$tmp/$1/conf" <<END
scistream { enable = yes  auth = ${auth:-none}  data_ports = "$((port[$1] + 10))-$((port[$1] + 15))" }
${options:-}
END
}
ask()
{
    PATIENCE=$((10 * slow)) run ask 0 timeout $((120 * slow)) $python "$srcdir/tests/func/arrange_class.py" "$1" "$tmp/messages" "${@:2}"
    told=$(tr '\n' ' ' <"$tmp/ask.out")
}

options='capacity { wan = 10Gbit  best_effort_percent = 10 }' new_arranging L
new_arranging D
start_gateway L
start_gateway D
step "admitted, refused, given back"
ask admission "$tmp/L" "$tmp/D"
log_has L 'audit: principal="anonymous" .* what=Arrange uid="" allowed=no why="4Gbit cannot be reserved now: '
inbound() # CODE RATE
{
    run ctl $1 "$builddir/scistreamctl" inbound --gateway localhost:${port[L]} --pin "${pin[L]}" --to 127.0.0.1:9 --class provisioned --rate $2 -o "$tmp/ticket"
}
step "as a user is told by scistreamctl"
inbound 0 6Gbit
run shown 0 "$builddir/scistreamctl" ticket show "$tmp/ticket"
grep -q 'provisioned, 6 Gbit/s' "$tmp/shown.out" || fail "ticket: $(cat "$tmp/shown.out")"
rm "$tmp/ticket"
inbound 75 4Gbit
says ctl '4Gbit cannot be reserved now: of 10Gbit wan, 9Gbit can be, and 6Gbit are reserved by 1 session; 1Gbit are missing; when one of them ends is not known'
inbound 64 20Gbit
says ctl '20Gbit cannot be reserved: the wan segment has 10Gbit, of which 9Gbit can be'
stop_gateway L

step "policies"
run token 0 "$builddir/scistreamctl" token anna@example.org
export ANNA=$(cat "$tmp/token.out")
(umask 077 && tail -n 1 "$tmp/token.err" >"$tmp/tokens")
auth=policy options="
capacity { wan = 10Gbit }
auth { token_file = \"$tmp/tokens\" }
policy \"anna\" { principals = {\"anna@*\"}  roles = {PROD, ADMIN}  targets = {\"127.0.0.1:*\"}  classes = {best_effort, provisioned}  rate = 5Gbit  ring_memory = 2M  lifetime = 1h }" new_arranging W
cat >>"$tmp/W/conf" <<END
route "shared" { accept = {"link"}  deliver = {"link"}  secret_file = "$tmp/W/secret"  window = 512K  channels = 4 }
END
start_gateway W
ask policy "$tmp/W"
stop_gateway W

step "80 of 200 Mbit/s, while another session pushes"
sed -i 's/wan = 10Gbit/wan = 200Mbit/' "$tmp/L/conf"
start_gateway L
behind=$((port[L] + 7)) ends=$srcdir/tests/func/provisioned.py
start sink $python "$ends" sink $behind
wait_until 10 'port_busy $behind'
ask arranged "$tmp/L" "$tmp/D" $behind 80000000
read -r gold gold_door <<<"$told"
ask arranged "$tmp/L" "$tmp/D" $behind 0
read -r other other_door <<<"$told"
start push0 $python "$ends" push 127.0.0.1:$gold_door
start push1 $python "$ends" push 127.0.0.1:$other_door
moved() { json "$tmp/$2.json" "next(s['arranged']['bytes_forward'] for s in d['sessions'] if s['uid'] == '$1')"; }
is_about() # UID MBIT_PER_S, over a second, and what it costs to ask
{
    local ms got
    ctl L sessions --json >"$tmp/before.json" && ms=$(now_ms)
    sleep 1
    ctl L sessions --json >"$tmp/after.json" && ms=$(($(now_ms) - ms))
    got=$((($(moved $1 after) - $(moved $1 before)) * 8 / 1000 / ms))
    echo "$got of $2 Mbit/s" >>"$tmp/rates.err" # shown where it never is
    [ $((got * 100)) -ge $(($2 * 80)) ] && [ $((got * 100)) -le $(($2 * 115)) ]
}
wait_for 30 is_about $gold 80
wait_for 30 is_about $other 120
ctl L sessions >"$tmp/sessions"
grep -q "^session $gold  route scistream:sessions, provisioned 80Mbit, " "$tmp/sessions" || fail "sessions: $(cat "$tmp/sessions")"

step "an upgrade: it has it there, too, for connections that come then; and so has one that is attached to"
ask attached "$tmp/L" 50000000
wanted=${told% }
run ctl 0 "$builddir/scistreamctl" -S "$tmp/L/sock" upgrade
pid[L]=$(ctl L info --json | sed 's/.*"pid":\([0-9]*\).*/\1/')
started+=("${pid[L]}")
wait_said L "session $gold taken over, 1 port"
wait_said L "session $other taken over, 1 port"
[ "$(ctl L info --json | $python -ISc 'import json,sys; print(json.load(sys.stdin)["capacity"]["wan"]["reserved"])')" = 130000000 ] || fail "$(ctl L info)"
run ctl 0 "$builddir/scistreamctl" -S "$tmp/L/sock" release $wanted
for i in 0 1; do
    kill "${pid[push$i]}"
    finish push$i
done
start push0 $python "$ends" push 127.0.0.1:$gold_door
start push1 $python "$ends" push 127.0.0.1:$other_door
wait_for 30 is_about $gold 80
wait_for 30 is_about $other 120
run ctl 0 "$builddir/scistreamctl" -S "$tmp/L/sock" release $gold
wait_for 30 is_about $other 200
