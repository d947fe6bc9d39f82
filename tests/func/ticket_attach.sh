#!/bin/bash
# scistream-send and scistream-recv by a ticket: its addresses in their order, its pins, its secret, the session it names. A ticket that cannot be used here is
# refused before any connection is made; one that the gateway does not know gets the answer that a wrong secret gets.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program xxh128sum
umask 077
new_gateway G
add_route G detector
key=the-secret-of-this-route-32bytes # 32 bytes: the secret of the route is what a ticket for one of its sessions has to hold
printf %s $key >"${secret[G]}"
start_gateway G
make_data 3000000 >"$tmp/in"
take_ports
nobody=127.0.0.1:$base here=127.0.0.1:${port[G]}

# make NAME OPTION...: the file $tmp/NAME.ticket, for a session of that gateway unless it is said otherwise
make()
{
    $python "$srcdir/tests/lib/make_ticket.py" secret="$(printf %s $key | od -v -An -tx1 | tr -d ' \n')" addresses=$here pins=${pin[G]#sha256:} "${@:2}" \
        >"$tmp/$1.ticket" || fail "make_ticket.py ${*:2}"
}
waiting() { uid=$(ctl G sessions --json | $python -c 'import json, sys; print(json.load(sys.stdin)["sessions"][0]["uid"])' 2>/dev/null); }
by_ticket() { start "$1" "$builddir/scistream-$1" --transport link "${@:2}"; }
# refused NAME CODE PATTERN ARGUMENTS...
refused() { run "$1" "$2" "$builddir/scistream-$1" "${@:4}"; says "$1" "$3"; ! grep -q "$key" "$tmp/$1.err" || fail "its secret was told"; }

step "a sender: the first address where somebody answers, the channel that it names"
start_recv recv G/detector --transport link -o "$tmp/out"
wait_for 10 waiting
make send uid=$uid channels=4 addresses=$nobody,no-such-host.invalid:5000,$here
by_ticket send --ticket-file "$tmp/send.ticket" --channel 0 "$tmp/in"
ends send 0 30 'trying no-such-host.invalid port 5000$'
says send "no-such-host.invalid port 5000: .*; trying 127.0.0.1 port ${port[G]}\$"
says send 'confirmed with digest'
ends recv 0
same "$tmp/in" "$tmp/out"

step "a receiver by the environment and nothing else, a sender by standard input"
wait_for 10 idle G
start_send send G/detector --transport link "$tmp/in"
wait_for 10 waiting
make recv uid=$uid role=2
rm "$tmp/out"
SCISTREAM_TICKET_FILE=$tmp/recv.ticket by_ticket recv -o "$tmp/out"
ends recv 0 30
ends send 0
same "$tmp/in" "$tmp/out"
wait_for 10 idle G
start_recv recv G/detector --transport link -o "$tmp/out"
wait_for 10 waiting
make send uid=$uid
input=$tmp/send.ticket by_ticket send --ticket-file - "$tmp/in"
ends send 0 30
ends recv 0

step "an address is given although the environment names a ticket: the address counts"
export SCISTREAM_TICKET_FILE=$tmp/missing.ticket
refused recv 69 'refused' --secret-file "${secret[G]}" --pin "${pin[G]}" gateway://$nobody/detector -o "$tmp/no"
refused send 69 'refused' --secret-file "${secret[G]}" --pin "${pin[G]}" gateway://$nobody/detector "$tmp/in"
refused recv 78 'missing.ticket: No such file' -o "$tmp/no"
unset SCISTREAM_TICKET_FILE

step "what a gateway does not know, or not by this secret"
make other
refused send 67 "127.0.0.1:${port[G]}, session 0123456789abcdef0123456789abcdef: no such route, or wrong secret" --ticket-file "$tmp/other.ticket" "$tmp/in"
said G "attach from .* refused: no such session '0123456789abcdef0123456789abcdef'" || fail "$(cat "$tmp/G.err")"
start_recv recv G/detector --transport link -o "$tmp/out"
wait_for 10 waiting
make wrong uid=$uid secret=$(printf 'ab%.0s' {1..32})
refused send 67 "session $uid: no such route, or wrong secret" --ticket-file "$tmp/wrong.ticket" "$tmp/in"
make pin uid=$uid pins=$(printf 'ab%.0s' {1..32})
refused send 67 'matches no given pin' --ticket-file "$tmp/pin.ticket" "$tmp/in"
make send uid=$uid pins=$(printf 'ab%.0s' {1..32}) # what is on the command line goes before
by_ticket send --ticket-file "$tmp/send.ticket" --pin "${pin[G]}" "$tmp/in"
ends send 0 30
ends recv 0

step "nobody at any of its addresses"
make lost addresses=$nobody,$nobody
refused send 69 'refused' --ticket-file "$tmp/lost.ticket" "$tmp/in"
[ "$(grep -c 'trying 127' "$tmp/send.err")" = 1 ] || fail "$(cat "$tmp/send.err")"

step "refused before any connection is made: nobody would answer at its address"
make send addresses=$nobody channels=4
make recv addresses=$nobody role=2
make cons addresses=$nobody role=3
make old addresses=$nobody issued=-7200 expires=-3600
refused recv 78 'the ticket is for scistream-send' --ticket-file "$tmp/send.ticket" -o "$tmp/no"
refused send 78 'the ticket is for scistream-recv' --ticket-file "$tmp/recv.ticket" "$tmp/in"
refused send 78 'transparent channels' --ticket-file "$tmp/cons.ticket" "$tmp/in"
refused send 67 'the ticket expired at 20' --ticket-file "$tmp/old.ticket" "$tmp/in"
refused send 64 'the ticket is for channels 0 to 3' --ticket-file "$tmp/send.ticket" --channel 4 "$tmp/in"
chmod 644 "$tmp/recv.ticket"
refused recv 78 'chmod 600' --ticket-file "$tmp/recv.ticket" -o "$tmp/no"
fold -w 76 "$tmp/send.ticket" >"$tmp/wrapped.ticket"
refused send 78 'the ticket was wrapped' --ticket-file "$tmp/wrapped.ticket" "$tmp/in"

step "usage"
refused send 64 'takes the name of a file' --ticket-file "$(cat "$tmp/send.ticket")" "$tmp/in"
refused send 64 'DEST or a ticket' --ticket-file "$tmp/send.ticket" gateway://$here/detector "$tmp/in"
refused send 64 'standard input cannot' --ticket-file -
refused send 64 'standard input cannot' --ticket-file - "$tmp/in" -
refused recv 64 'one of them' --ticket-file "$tmp/recv.ticket" gateway://$here/detector
refused recv 64 'one of them' --ticket-file "$tmp/recv.ticket" --listen $here
[ ! -e "$tmp/no" ] || fail "a file was made for nothing"
alive G || fail "the gateway has ended: $(tail "$tmp/G.err")"
