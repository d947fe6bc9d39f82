#!/bin/bash
# TCP connections in bad times: nobody behind the door, or one who never answers or never reads, storms, scanners, no descriptors, no memory, a
# worker killed. Applications see a RST at once or within the time set, the others nothing at all; and when times are better all goes on.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
v4=tcp://127.0.0.1

luck()
{
    PATIENCE=$((10 * slow)) start case timeout $((80 * slow)) $python "$srcdir/tests/func/tcp_bad_luck.py" "$@"
    ends case 0 80
    step "    $(tr '\n' ' ' <"$tmp/case.out")"
}
lines_of() { wc -l <"$tmp/$1.err"; }

global='workers = 2' gateway_defaults='' new_tcp_gateway G
at=$((port[G] + 10)) behind=$((port[G] + 14)) full=$((port[G] + 15))
route='connections = 12000 connect_timeout = 1s' add_tcp_route G app $v4:$at $v4:$behind
route='connect_timeout = 1s' add_tcp_route G nowhere $v4:$((at + 1)) tcp://255.255.255.255:9
route='connect_timeout = 1s' add_tcp_route G full $v4:$((at + 2)) $v4:$full
start_gateway G
workers=$(workers_of G)

step "nobody listens; then somebody does"
luck shut_out $v4:$at 0 1
wait_said G '(app|127.0.0.1:'$behind').*refused'
before=$(lines_of G)
luck shut_out_often $v4:$at 100
[ $(($(lines_of G) - before)) -lt 40 ] || fail "100 refused connections made $(($(lines_of G) - before)) lines in the log"
luck comes_later $v4:$at $v4:$behind
step "no way there; a black hole"
luck shut_out $v4:$((at + 1)) 0 3
wait_said G '255.255.255.255.*unreachable'
luck black_hole $v4:$((at + 2)) $v4:$full 0.9 3
wait_said G "127.0.0.1:$full.*in time"
step "one who never reads"
luck never_reads $v4:$((at + 2)) $v4:$full $v4:$at $v4:$behind
step "a storm, then scanners"
for w in $workers; do fds[$w]=$(fd_count $w); done
luck storm $v4:$at $v4:$behind 10000
before=$(lines_of G)
luck scanners $v4:$at $v4:$behind 300
[ $(($(lines_of G) - before)) -lt 40 ] || fail "scanners made $(($(lines_of G) - before)) lines in the log"
for w in $workers; do wait_until 10 "[ \$(fd_count $w) -le $((fds[w] + 40)) ]"; done # it keeps some pipes
[ "$workers" = "$(workers_of G)" ] || fail "a worker died"
step "a worker is killed under 500 connections"
luck worker_killed $v4:$at $v4:$behind 500 "${pid[G]}"
wait_said G 'was killed by signal 9 .* a new one is started'
stop_gateway G

step "no descriptors"
global='' gateway_defaults='workers = 1' new_tcp_gateway F
at=$((port[F] + 10))
add_tcp_route F app $v4:$at $v4:$((at + 1))
sanitized && few=100 || few=64
start F bash -c 'ulimit -n "$1" && shift && exec "$@"' - $few "$builddir/scistreamd" -c "$tmp/F/conf"
wait_said F ' is ready: ' 20
promised="the routes promise [0-9]+ connections( \(as many as memory_limit has room for\))?, which need [0-9]+ descriptors in a worker, RLIMIT_NOFILE is $few: raise LimitNOFILE .* or lower connections of route app"
log_has F "$promised"
run checked 0 bash -c 'ulimit -n "$1" && shift && exec "$@"' - $few "$builddir/scistreamd" -c "$tmp/F/conf" --check-config
says checked "$promised"
ctl F reload >"$tmp/reload.out" || fail "no reload"
wait_until 10 '[ "$(grep -cE "$promised" "$tmp/F.err")" = 2 ]' # it is said again
luck few_descriptors $v4:$at $v4:$((at + 1)) $few
[ "$(grep -c 'out of descriptors' "$tmp/F.err")" = 1 ] || fail "out of descriptors is said $(grep -c 'out of descriptors' "$tmp/F.err") times"
first_free() { local n=0; while [ -e /proc/$1/fd/$n ]; do ((++n)); done; echo $n; }
step "no descriptor for a door that comes by a reload"
w=$(workers_of F)
if command -v prlimit >/dev/null; then
    prlimit --pid $w --nofile=$(first_free $w):$few
    add_tcp_route F more $v4:$((at + 2)) $v4:$((at + 1))
    ctl F reload >"$tmp/reload.out" || fail "no reload"
    wait_said F "worker 0.*: route more, $v4:$((at + 2)): not accepted by this worker: out of descriptors .RLIMIT_NOFILE."
    prlimit --pid $w --nofile=$few:$few
fi
stop_gateway F

step "no memory"
global='memory_limit = 4M' gateway_defaults='workers = 1' new_tcp_gateway M
at=$((port[M] + 10))
add_tcp_route M app $v4:$at $v4:$((at + 1))
start_gateway M
luck little_memory $v4:$at $v4:$((at + 1)) 60
wait_said M 'memory_limit'
stop_gateway M
