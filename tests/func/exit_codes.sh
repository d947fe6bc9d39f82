#!/bin/bash
# The exit codes that scripts rely on, each with one line that says what failed; never 77, which test harnesses read as skipped.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
start_gateway_pair detector
echo data >"$tmp/in"
send_=$builddir/scistream-send recv_=$builddir/scistream-recv

# one CODE PATTERN PROGRAM...: that exit code, and exactly one line, which says so
one()
{
    run one "$1" "${@:3}"
    says one "$2"
    [ "$1" = 64 ] || [ "$(wc -l <"$tmp/one.err")" = 1 ] || fail "more than one line: $(cat "$tmp/one.err")"
}

step "0: help and version, on standard output"
for p in scistreamd scistreamctl scistream-send scistream-recv; do
    run one 0 "$builddir/$p" --help
    grep -q "^Usage: $p\|^usage: $p" "$tmp/one.out" || fail "--help of $p: $(head -n 2 "$tmp/one.out")"
    run one 0 "$builddir/$p" --version
    grep -qx "$p .*[0-9]\.[0-9].*" "$tmp/one.out" || fail "--version of $p: $(cat "$tmp/one.out")"
done

step "64 usage"
one 64 'DEST is missing' "$send_"
one 64 'bananas: no such option' "$send_" --bananas
one 64 'give one SRC' "$recv_"
one 64 'give one SRC' "$recv_" --listen 127.0.0.1:1 gateway://localhost/detector
one 64 'neither gateway://' "$send_" tcp://localhost:1 "$tmp/in"
one 64 'route' "$send_" gateway://localhost "$tmp/in"
one 64 'window' "$send_" --window 1 gateway://localhost/detector "$tmp/in"
one 64 'transport' "$send_" --transport pigeon gateway://localhost/detector "$tmp/in"
one 64 'require' "$send_" --require pigeon gateway://localhost/detector "$tmp/in"
one 64 'unexpected operand' "$builddir/scistreamd" bananas
one 64 'COMMAND is missing' "$builddir/scistreamctl"
one 64 "unknown command 'bananas'" "$builddir/scistreamctl" bananas
one 64 'did you mean inbound' "$builddir/scistreamctl" inbond
one 64 'sessions takes no --for: it is for inbound, .*token' "$builddir/scistreamctl" sessions --for 8h
one 64 'renew takes no --from' "$builddir/scistreamctl" renew --from a --to b x
one 64 '--for: must be a time, 366d at most' "$builddir/scistreamctl" grant detector --for forever
one 64 'bit/s: write the unit' "$builddir/scistreamctl" inbound --to localhost:1 --class provisioned --rate 10
one 64 '--token-file says who you are to a --gateway' "$builddir/scistreamctl" -T "$tmp/nowhere" grants
one 64 'firewall: of what' env -u SCISTREAM_TICKET_FILE "$builddir/scistreamctl" firewall
one 64 'usage: scistreamctl probe' "$builddir/scistreamctl" probe

to B/detector # a command line that the gateway finds wrong, and one at the other end of the stream, which is not ours
one 64 'has channels 0 to 15, not 99' "$recv_" "${to[@]}" --channel 99

step "67 not allowed"
to B/nowhere
one 67 'no such route, or wrong secret' "$send_" "${to[@]}" "$tmp/in"
to A/detector
one 67 'receivers attach there, not here' "$recv_" "${to[@]}"

step "69 unreachable"
take_ports
one 69 'refused' "$send_" --secret-file "${secret[A]}" --pin "${pin[A]}" gateway://127.0.0.1:$base/detector "$tmp/in"
one 69 'resolve' "$send_" --secret-file "${secret[A]}" --pin "${pin[A]}" gateway://no-such-host.invalid/detector "$tmp/in"
one 69 'is scistreamd running' "$builddir/scistreamctl" --socket "$tmp/nowhere" info

step "74 local input and output"
to A/detector
one 74 'cannot read .*/missing: No such file' "$send_" "${to[@]}" "$tmp/missing"
one 74 'is a directory' "$send_" "${to[@]}" "$tmp"
to B/detector
one 74 'cannot write into .*/no/folder: No such file' "$recv_" "${to[@]}" -o "$tmp/no/folder/out"
mkdir "$tmp/taken.part" # known only when the stream comes
start_recv recv B/detector -o "$tmp/taken"
start_send send A/detector "$tmp/in"
ends recv 74 10 'cannot write .*/taken.part: Is a directory'
ends send 76 10 'aborted by the other side: scistream-recv on .*cannot write .*/taken.part: Is a directory'

step "75 try again later"
to B/detector
one 75 'in time' "$recv_" "${to[@]}" --wait 100ms --quiet

step "76 aborted by the peer"
input=<(sleep 20) start_send send A/detector
start_recv recv B/detector
wait_for 10 flowing B 0
kill -TERM "${pid[recv]}"
ends recv 76 5 'interrupted by SIGTERM'
ends send 76 5 'aborted by the other side: scistream-recv on .*: interrupted by SIGTERM'

step "78 configuration"
one 78 'No such file' "$send_" --secret-file "$tmp/missing" gateway://localhost/detector "$tmp/in"
one 78 'No such file.*--secret-file' "$send_" gateway://localhost/detector "$tmp/in"
one 78 'missing' "$send_" --secret-file "${secret[A]}" --ca "$tmp/missing" gateway://localhost/detector "$tmp/in"
one 78 'pin|sha256' "$send_" --secret-file "${secret[A]}" --pin sha256:12 gateway://localhost/detector "$tmp/in"
chmod 644 "${secret[A]}"
to A/detector
one 78 'chmod 600' "$send_" "${to[@]}" "$tmp/in"
