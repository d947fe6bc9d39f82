#!/bin/bash
# What scistream-recv --listen takes and says: addresses, the line for the sender, --wait, and that ucx is used only on a --device.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
make_data 100000 >"$tmp/in"
take_ports
recv_=$builddir/scistream-recv
ours=$(ip -o addr show scope global 2>/dev/null | awk '{ sub(/\/.*/, "", $4); print $4 }')

# listen [OPTIONS]: start the receiver; $line is what it prints for the sender
listen()
{
    start recv "$recv_" "$@"
    wait_said recv 'scistream-send --secret-file .* FILE$'
    line=$(grep -o -- '--secret-file.*' "$tmp/recv.err" | sed -n 's/ FILE$//p')
}
quit() { kill "${pid[recv]}"; ends recv 76; }

step "a port alone is that port at any address"
for text in $base :$base 0.0.0.0:$base; do
    listen --listen $text -o "$tmp/out"
    says recv 'with a copy of this secret file'
    host=$(sed -n 's|.*direct://\(.*\):[0-9]*$|\1|p' <<<"$line")
    [[ $line = *":$base" ]] || fail "$text: $line"
    run send 0 "$builddir/scistream-send" ${line/$host/127.0.0.1} "$tmp/in"
    ends recv 0
    same "$tmp/in" "$tmp/out"
done

step "what is printed leads here from elsewhere: no name that is this machine itself only to this machine"
if getent ahosts "$host" | grep -qE '^(127\.|::1 )'; then
    fail "$host is a loopback address to others"
elif [ -n "$ours" ] && [ "$host" != "$(hostname)" ]; then
    grep -qxF -- "$(tr -d '[]' <<<"$host")" <<<"$ours" || fail "$host is none of: $ours"
fi

step "names are refused, and ports that are none"
run recv 64 "$recv_" --listen localhost:$base
says recv "'localhost' must be a numeric address"
run recv 64 "$recv_" --listen 99999
says recv 'port must be 1 to 65535'

step "--wait limits the wait for a sender, with --keep too; without it there is no limit"
run recv 75 "$recv_" --listen 127.0.0.1:$base --wait 300ms -o "$tmp/out"
says recv 'no sender came in time'
listen --listen 127.0.0.1:$base --wait 1s --keep -o "$tmp/out-%n"
run send 0 "$builddir/scistream-send" $line "$tmp/in"
ends recv 75 10 'no sender came in time'
same "$tmp/in" "$tmp/out-0"
"$recv_" --help | tr '\n' ' ' | tr -s ' ' | grep -q -- '--listen: for a sender' || fail "--help does not say that --wait works with --listen"

step "a sender that is slow after it came is not cut off by --wait"
listen --listen 127.0.0.1:$base --wait 500ms -o "$tmp/out"
input=<(sleep 1; cat "$tmp/in") run send 0 "$builddir/scistream-send" $line
ends recv 0
same "$tmp/in" "$tmp/out"

step "a lost connection names who was at its other end, and says what that means"
rm -f "$tmp/out"*
listen --listen 127.0.0.1:$base --transport link -o "$tmp/out"
input=<(cat "$tmp/in"; sleep 30) start send "$builddir/scistream-send" $line
wait_until 5 "[ -s '$tmp/out.part' ]"
kill -9 "${pid[send]}"
ends recv '69' 5 'sender 127\.0\.0\.1:[0-9]+: connection lost \(.*\): the stream is not confirmed'
rm -f "$tmp/out"*
listen --listen 127.0.0.1:$base --transport link -o "$tmp/out"
input=<(cat "$tmp/in"; sleep 30) start send "$builddir/scistream-send" $line
wait_until 5 "[ -s '$tmp/out.part' ]"
kill -9 "${pid[recv]}"
ends send '69' 5 "receiver 127\.0\.0\.1:$base: connection lost \(.*\): the stream is not confirmed"

requires_ucx
step "ucx only with --device, and the sender hears which end decided that"
listen --listen 127.0.0.1:$base -o "$tmp/out"
run send 0 "$builddir/scistream-send" --device lo $line "$tmp/in"
ends recv 0
says send 'by link; passed over ucx: the receiver was started without --device'
listen --listen 127.0.0.1:$base -o "$tmp/out"
run send 76 "$builddir/scistream-send" --device lo --require ucx $line "$tmp/in"
says send 'ucx: the receiver was started without --device'
quit 2>/dev/null
for option in --require --transport; do
    run recv 64 "$recv_" --listen 127.0.0.1:$base $option ucx -o "$tmp/out"
    says recv 'ucx needs --device'
done
listen --listen 127.0.0.1:$base --device lo -o "$tmp/out"
run send 0 "$builddir/scistream-send" $line "$tmp/in"
ends recv 0
says send ' ucx on lo with 127\.0\.0\.1, unencrypted'
