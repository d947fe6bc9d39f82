#!/bin/bash
# Without a gateway: scistream-recv --listen prints the line that scistream-send needs; one stream at a time; --keep serves the next.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program openssl
make_data 5000000 >"$tmp/in"
take_ports
[ $rdma = verbs ] && ours="--transport verbs" || ours= # verbs is not listened for unless it is asked for

# listen [OPTIONS]: start the receiver; $line is what it prints for the sender
listen()
{
    start recv "$builddir/scistream-recv" --listen $rdma_at:$base --report json $ours "$@"
    wait_said recv 'scistream-send --secret-file .* FILE$'
    line=$(grep -o -- '--secret-file.*' "$tmp/recv.err" | sed 's/ FILE$//')
}
# direct CODE [OPTIONS]: run that line
direct() { local code=$1; shift; run send "$code" "$builddir/scistream-send" $line --report json "$@"; }

step "the first start makes a secret, for its user alone"
listen -o "$tmp/out"
[ "$(stat -c %a "$XDG_CONFIG_HOME/scistream/secret")" = 600 ] || fail "mode of the new secret"
says recv 'new secret written to'
direct 0 "$tmp/in"
ends recv 0
same "$tmp/in" "$tmp/out"
[ ! -e "$tmp/out.part" ] || fail "out.part is still there"
[ "$(json "$tmp/send.out" 'd["confirmed"]')" = True ] || fail "$(cat "$tmp/send.out")"

transports=link
(requires_rdma) 2>/dev/null && transports="$rdma link"
for transport in $transports; do
    step "by $transport"
    [ $transport = verbs ] && device="" || device="--transport auto --device lo"
    listen $device -o "$tmp/out"
    direct 0 --require $transport "$tmp/in"
    ends recv 0
    same "$tmp/in" "$tmp/out"
    [ "$(json "$tmp/recv.out" 'd["transport"]')" = $transport ] || fail "$(cat "$tmp/recv.out")"
done

step "plaintext only when the receiver says so, and both reports say it"
listen --plaintext --transport link -o "$tmp/out"
direct 0 "$tmp/in"
ends recv 0
same "$tmp/in" "$tmp/out"
for end in send recv; do
    [ "$(json "$tmp/$end.out" 'd["security"]')" = plaintext ] || fail "$(cat "$tmp/$end.out")"
done

step "while it is busy others are told so; it serves streams one after the other, also after a sender that went wrong"
listen --keep -o "$tmp/run-%n"
input=<(sleep 30) start slow "$builddir/scistream-send" $line
within 5 eval "[ -e '$tmp/run-0.part' ]" || fail "the slow sender has not begun"
direct 75 "$tmp/in"
says send 'busy with another stream'
kill -9 "${pid[slow]}"
ends slow 137
direct 0 --retry 10s "$tmp/in"
same "$tmp/in" "$tmp/run-1"
direct 0 --retry 10s "$tmp/in"
same "$tmp/in" "$tmp/run-2"
[ -e "$tmp/run-0.part" ] && [ ! -e "$tmp/run-0" ] || fail "a broken stream has the name of a whole one"

step "a wrong secret, and a gateway's kind of address"
echo "0123456789abcdef0123456789abcdef" >"$tmp/wrong"
chmod 600 "$tmp/wrong"
pin=$(grep -o 'sha256:[0-9a-f]*' <<<"$line")
run send 67 "$builddir/scistream-send" --secret-file "$tmp/wrong" --pin "$pin" direct://$rdma_at:$base "$tmp/in"
says send 'no such route, or wrong secret'
run send 67 "$builddir/scistream-send" --secret-file "$XDG_CONFIG_HOME/scistream/secret" --pin "$pin" gateway://$rdma_at:$base/detector "$tmp/in"
says send 'no such route, or wrong secret'
direct 0 --retry 10s "$tmp/in"

step "SIGTERM ends the waiting receiver"
kill "${pid[recv]}"
ends recv 76 5 'interrupted by SIGTERM'
