#!/bin/bash
# Reload, drain and TCP peers: doors open and close as routes come, go and change, an address moves from one route to another, connections go on
# as they began; while the gateway drains, who comes is reset, and relays that are left at its end, too.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_python socketserver
new_tcp_gateway G
take_ports
door=$base other=$((base + 1)) a=$((base + 2)) b=$((base + 3)) taken=$((base + 4))
cp "$tmp/G/conf" "$tmp/bare"
ends_of() { $python "$srcdir/tests/func/reload_tcp.py" "$@"; }
reload() { run ctl "$1" "$builddir/scistreamctl" -S "$tmp/G/sock" reload; [ -z "${2:-}" ] || grep -qF -- "$2" "$tmp/ctl.out" "$tmp/ctl.err" || fail "no '$2' in: $(cat "$tmp/ctl.out" "$tmp/ctl.err")"; }
routes() # NAME DOOR BACKEND ...: the configuration has these, and no others
{
    cp "$tmp/bare" "$tmp/G/conf"
    while [ $# -gt 0 ]; do
        add_tcp_route G "$1" "tcp://127.0.0.1:$2" "tcp://127.0.0.1:$3"
        shift 3
    done
}
says_at() { [ "$(ends_of ask "$1" hello)" = "$2" ]; } # PORT ANSWER
answers() { within 5 says_at "$@" || fail "at $1: $(ends_of ask "$1" hello) instead of $2"; }
for s in a b; do
    start $s $python "$srcdir/tests/func/reload_tcp.py" serve ${!s} $s
    wait_until 10 "grep -q listening '$tmp/$s.out'"
done

routes one $door $a
start_gateway G
answers $door "a hello"
mkfifo "$tmp/lines"
input=$tmp/lines start held $python "$srcdir/tests/func/reload_tcp.py" hold $door
exec {lines}>"$tmp/lines"
goes_on() { echo "$1" >&$lines; wait_until 5 "grep -qx 'a $1' '$tmp/held.out'"; }
goes_on first

step "a route is added, another leads elsewhere: who is there stays where it is"
routes one $door $b two $other $a
reload 0 'routes added: two; routes changed: one'
answers $door "b hello"
answers $other "a hello"
goes_on second

step "addresses change places between routes"
routes one $other $b two $door $a
reload 0 'routes changed: one, two'
answers $door "a hello"
answers $other "b hello"
goes_on third

step "an address that somebody else has: nothing changes"
start thief $python "$srcdir/tests/func/reload_tcp.py" serve $taken thief
wait_until 10 "grep -q listening '$tmp/thief.out'"
routes one $other $b two $door $a three $taken $a
reload 78 "route three: cannot listen on tcp://127.0.0.1:$taken: Address already in use"
answers $door "a hello"
kill -9 "${pid[thief]}"
finish thief
wait_for 5 reload 0 'routes added: three'
answers $taken "a hello"

step "routes go: nobody listens there any more, who is there stays"
routes three $taken $a
reload 0 'routes removed: one, two'
answers $door refused
answers $other refused
answers $taken "a hello"
goes_on fourth
[ "$(scrape G | grep -c '^scistream_.*route="one"')" -gt 0 ] || fail "the metrics have forgotten what was"

step "drained: who comes is reset; resumed: served again; with a time-out, who is there is aborted"
ctl G drain --timeout forever >/dev/null || fail "drain"
answers $taken reset
goes_on fifth
ctl G drain --resume >/dev/null || fail "resume"
answers $taken "a hello"
ctl G drain --timeout 300ms >/dev/null || fail "drain"
wait_said G 'drained: no channel is open'
echo sixth >&$lines
wait_until 5 "grep -qE '^(reset|end)$' '$tmp/held.out'"
reload 0 'nothing changed' # while it drains: the doors stay closed
answers $taken reset
ctl G drain --resume >/dev/null || fail "resume"
answers $taken "a hello"
exec {lines}>&-

step "a worker that takes the place of a dead one knows the doors of now"
routes three $taken $b four $door $a
reload 0 'routes added: four; routes changed: three'
kill -9 $(workers_of G)
wait_until 10 "[ \$(workers_of G | wc -l) = 2 ]"
for i in 1 2 3 4; do
    answers $door "a hello"
    answers $taken "b hello"
done
stop_gateway G
