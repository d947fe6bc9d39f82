#!/bin/bash
# scistreamctl upgrade and SIGUSR2: a new program takes over the listening sockets while streams run, nobody who comes meanwhile is turned away, and
# what cannot start leaves the gateway as it was.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
requires_program curl
requires_python socket
new_gateway B
add_route B detector
take_ports # of the listeners of A, of more than one program of it at once
ucx_ports=$base-$((base + 15))
[ $rdma = verbs ] || ucx_section="ucx { devices = {\"lo\"} ports = \"$ucx_ports\" }"
global='drain_timeout = 30s' new_gateway A
add_route A detector B
add_route A local
door=$((port[A] + 10)) behind=$((port[A] + 11))
add_tcp_route A app tcp://127.0.0.1:$door tcp://127.0.0.1:$behind
mkdir "$tmp/bin"
install_good() { cp "$builddir/scistreamd" "$tmp/bin/new" && mv "$tmp/bin/new" "$tmp/bin/scistreamd"; }
install_good
cp "$builddir/scistream-worker" "$tmp/bin/"
mkfifo "$tmp/gate"
make_data 3000000 >"$tmp/in"

hold() { mkfifo "$tmp/$1.to"; input=$tmp/$1.to start "$1" $python "$srcdir/tests/func/upgrade.py" "$2" $door; exec {held[$1]}>"$tmp/$1.to"; }
declare -A held
echoes() { echo "$2" >&"${held[$1]}"; wait_until 10 "grep -qx '$2' '$tmp/$1.out'"; }
upgrade() { run ctl "$1" "$builddir/scistreamctl" -S "$tmp/A/sock" upgrade "${@:2}"; }
of_A() { ctl A info --json >"$tmp/info" && json "$tmp/info" "d['$1']"; }
# from now on A is the program that took over
follow() { old=${pid[A]}; pid[A]=$(of_A pid); started+=("${pid[A]}"); [ "${pid[A]}" != "$old" ] || fail "it is the program of before"; }
serves_new() { stream "$tmp/in" A/detector B/detector; rm "$tmp/stream.dat"; }

start_gateway B
start A "$tmp/bin/scistreamd" -c "$tmp/A/conf"
wait_said A ' is ready: ' 20
start echo $python "$srcdir/tests/func/upgrade.py" echo $behind
wait_until 10 "grep -q listens '$tmp/echo.out'"
hold app hold
echoes app first
hold hammer hammer
start_recv receiver B/detector -o "$tmp/out"
input=$tmp/gate start_send sender A/detector "$tmp/in" -
exec {gate}<>"$tmp/gate" # nothing that lives as long is started after it
wait_for 10 flowing A 1000000

step "what cannot start leaves all as it was"
not_upgraded() { upgrade 78 && says ctl "not upgraded, this program goes on: .*$1" && alive A && [ "$(of_A pid)" = "${pid[A]}" ] || fail "$1: $(cat "$tmp/ctl.err")"; echoes app "still-$RANDOM"; }
printf '#!/bin/sh\nexit 3\n' >"$tmp/bin/new" && chmod 755 "$tmp/bin/new" && mv "$tmp/bin/new" "$tmp/bin/scistreamd"
not_upgraded 'exited with status 3'
cp "$(type -P false)" "$tmp/bin/scistreamd" # it ends sooner than all is said to it: as a rule, where both have one processor
cpus=$(taskset -cp "${pid[A]}") && cpus=${cpus##* }
taskset -acp "${cpus##*[,-]}" "${pid[A]}" >"$tmp/cpus"
for i in {1..20}; do
    not_upgraded 'exited with status 1'
done
taskset -acp "$cpus" "${pid[A]}" >"$tmp/cpus"
printf '#!/bin/sh\nkill -9 $$\n' >"$tmp/bin/scistreamd"
not_upgraded 'was killed by signal 9'
install_good
sed -i '3i peer_timeout = soon' "$tmp/A/conf"
not_upgraded "$tmp/A/conf:3: peer_timeout = soon: must be "
log_has A 'not upgraded, this program goes on: .*peer_timeout'
sed -i '3d' "$tmp/A/conf"
if [ $rdma = ucx ]; then
    sed -i "s/$ucx_ports/${ucx_ports%-*}-$((${ucx_ports%-*} + 1))/" "$tmp/A/conf" # those that its two workers have
    not_upgraded 'ucx.ports = .*: no port of it is free on 127.0.0.1: give it one for each worker, and for an upgrade as many again'
    sed -i "s/${ucx_ports%-*}-$((${ucx_ports%-*} + 1))/$ucx_ports/" "$tmp/A/conf"
fi
cp "$tmp/bin/scistream-worker" "$tmp/worker"
printf '#!/bin/sh\nexit 4\n' >"$tmp/bin/new" && chmod 755 "$tmp/bin/new" && mv "$tmp/bin/new" "$tmp/bin/scistream-worker"
not_upgraded 'worker . exited with status '
mv "$tmp/worker" "$tmp/bin/scistream-worker"
chmod 644 "$tmp/bin/scistreamd"
run ctl 76 "$builddir/scistreamctl" -S "$tmp/A/sock" upgrade
says ctl 'cannot be started: Permission denied'
printf '#!/bin/sh\nexec sleep 1000\n' >"$tmp/bin/new" && chmod 755 "$tmp/bin/new" && mv "$tmp/bin/new" "$tmp/bin/scistreamd"
kill -USR2 "${pid[A]}" # it says nothing for a while
log_has A 'upgrade: .* is started'
run ctl 76 "$builddir/scistreamctl" -S "$tmp/A/sock" upgrade
says ctl 'an upgrade is under way'
run ctl 76 "$builddir/scistreamctl" -S "$tmp/A/sock" drain
says ctl 'an upgrade is under way: ask again when it is over'
run ctl 78 "$builddir/scistreamctl" -S "$tmp/A/sock" reload
says ctl 'an upgrade is under way'
pkill -9 -P "${pid[A]}" -x sleep
log_has A 'not upgraded.* was killed by signal 9'
install_good
serves_new

step "a new program takes over, with streams that run across it"
n=$(wc -l <"$tmp/hammer.out")
upgrade 0 --json
follow
first=$old
[ "$(json "$tmp/ctl.out" '[d["ok"], d["pid"] == '"${pid[A]}"', d["channels"] >= 2]')" = "[True, True, True]" ] || fail "$(cat "$tmp/ctl.out")"
[ "$(of_A predecessor_pid)" = "$first" ] || fail "$(cat "$tmp/info")"
echoes app after
serves_new
wait_until 10 "[ \$(wc -l <'$tmp/hammer.out') -gt $((n + 20)) ]"
scrape A >"$tmp/page" && [ "$(metric "$tmp/page" scistream_connections_accepted_total 'route="app"')" -gt 0 ] || fail "$(cat "$tmp/page")"
wait_until 5 "[ \"\$(of_A predecessor_channels)\" = 2 ]" # the stream and the application
ctl A info | grep -q "^upgraded   pid $first, which it took over from, still serves 2 channels$" || fail "$(ctl A info)"
run ctl 0 "$builddir/scistreamctl" -S "$tmp/A/sock" reload

step "by signal once more, while the first still has its streams; its end, and theirs"
kill -USR2 "${pid[A]}"
wait_until 20 "[ \"\$(of_A pid)\" != ${pid[A]} ]"
follow
second=$old
wait_until 5 "[ \"\$(of_A predecessor_channels)\" = 2 ]"
echoes app again
exec {gate}>&-
ends sender 0
ends receiver 0
same "$tmp/in" "$tmp/out"
wait_until 5 "[ \"\$(of_A predecessor_channels)\" = 1 ]"
echo over >&"${held[app]}"
ends app 0
wait_until 10 "! kill -0 $first 2>/dev/null && ! kill -0 $second 2>/dev/null"
wait "$first" || fail "the first program ended with $?"
wait_until 5 "[ \"\$(of_A predecessor_pid)\" = 0 ]"
log_has A "pid $second, which this program took over from, has ended"
serves_new
echo >&"${held[hammer]}"
ends hammer 0
grep -qx 'bad 0' "$tmp/hammer.out" || fail "turned away: $(tail -n 1 "$tmp/hammer.out") $(tail -n 3 "$tmp/hammer.err")"

step "one that dies just after it has taken over: the one before serves again, and what it still had goes on"
hold app2 hold
echoes app2 forth
upgrade 0
follow
kill -9 "${pid[A]}"
pid[A]=$old
log_has A 'the program that took over was killed by signal 9 \(Killed\): this one serves again'
[ "$(of_A pid)" = "$old" ] && [ "$(of_A predecessor_pid)" = 0 ] || fail "$(cat "$tmp/info")"
echoes app2 back
serves_new
hold app3 hold
echoes app3 new
scrape A >"$tmp/page" || fail "no metrics"
upgrade 0
follow
echoes app2 across
for app in app2 app3; do
    echo over >&"${held[$app]}"
    ends $app 0
done
wait_until 15 "! kill -0 $old 2>/dev/null"
serves_new

step "who waits for a partner finds the new program; the time of the old one's streams ends"
mkfifo "$tmp/gate2"
sed -i 's/^drain_timeout = .*/drain_timeout = 5s/' "$tmp/A/conf"
run ctl 0 "$builddir/scistreamctl" -S "$tmp/A/sock" reload
start_recv receiver B/detector -o "$tmp/out2"
input=$tmp/gate2 start_send sender A/detector "$tmp/in" -
exec {gate}<>"$tmp/gate2"
wait_for 10 flowing A 1000000
start_recv waiting A/local -o "$tmp/late"
wait_said waiting 'waiting for a sender'
start_send early A/detector "$tmp/in" # its partner is to come to B, so it has begun: it stays where it is
wait_said early 'waiting for a receiver'
upgrade 0
third=${pid[A]}
follow
wait_said waiting 'attach again.*trying again'
start_send send A/local "$tmp/in"
ends send 0
ends waiting 0
same "$tmp/in" "$tmp/late"
recv 0 B/detector -o "$tmp/late2"
ends early 0
same "$tmp/in" "$tmp/late2"
ends sender 75 10 'gateway A: it was upgraded, and the time of streams from before is over'
ends receiver 75 5 'time of streams from before is over'
wait_until 10 "! kill -0 $third 2>/dev/null"

step "a gateway that stops waits for the program of before, and takes it along when its time is over"
start_recv receiver B/detector -o "$tmp/out3"
input=$tmp/gate2 start_send sender A/detector "$tmp/in" -
exec {gate2}<>"$tmp/gate2"
wait_for 10 flowing A 1000000
upgrade 0
fourth=${pid[A]}
follow
kill "${pid[A]}"
log_has A 'Terminated: no new streams; 1 open channel gets 5 s to finish'
wait_until 15 "! kill -0 ${pid[A]} 2>/dev/null"
! kill -0 "$fourth" 2>/dev/null || fail "the program of before was left"
ends sender 75 5
ends receiver 75 5
[ ! -e "$tmp/A/sock" ] || fail "the control socket is still there"

step "a stop while the other program starts takes that along"
start A "$tmp/bin/scistreamd" -c "$tmp/A/conf"
wait_said A ' is ready: ' 20
printf '#!/bin/sh\nexec sleep 1000\n' >"$tmp/bin/new" && chmod 755 "$tmp/bin/new" && mv "$tmp/bin/new" "$tmp/bin/scistreamd"
kill -USR2 "${pid[A]}"
log_has A 'upgrade: .* is started'
sleeper=$(pgrep -P "${pid[A]}" -x sleep)
stop_gateway A
log_has A 'not upgraded, this program goes on: the gateway is asked to stop'
! kill -0 "$sleeper" 2>/dev/null || fail "the other program was left"
