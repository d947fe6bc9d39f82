#!/bin/bash
# Who may not attach is refused in one clear sentence, learns nothing, and disturbs nobody: wrong and missing secrets, unknown routes,
# certificates that are not trusted, expired or another's, wrong pins, wrong protocols.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program openssl
start_gateway_pair detector
echo data >"$tmp/in"
url=gateway://127.0.0.1:${port[A]}/detector
try() { run send "$1" "$builddir/scistream-send" --quiet "${@:3}" "$tmp/in"; [ -z "$2" ] || says send "$2"; }

step "an unknown route and a wrong secret read the same to the peer; the log tells them apart"
openssl rand -hex 32 >"$tmp/wrong"
chmod 600 "$tmp/wrong"
try 67 'no such route, or wrong secret' --secret-file "$tmp/wrong" --pin "${pin[A]}" $url
says send "127.0.0.1:${port[A]}, route detector: "
told() { sed 's/route [^:]*:/route:/' "$tmp/send.err"; } # without the route's name, which is the user's own
told >"$tmp/wrong-secret"
log_has A "refused: wrong secret for 'detector'"
try 67 'no such route, or wrong secret' --secret-file "${secret[A]}" --pin "${pin[A]}" "${url%detector}no-such-route"
told | cmp - "$tmp/wrong-secret" || fail "it can be told apart: $(cat "$tmp/send.err")"
log_has A "refused: no such route 'no-such-route'"
try 67 'no such route, or wrong secret' --secret-file "$tmp/wrong" --pin "${pin[A]}" "${url%detector}no-such-route"
told | cmp - "$tmp/wrong-secret" || fail "it can be told apart: $(cat "$tmp/send.err")"
grep -qi "$(cat "$tmp/wrong")\|$(cat "${secret[A]}")" "$tmp/A.err" && fail "a secret stands in the log"

step "a gateway whose secret for the next one is wrong: both ends are told by which gateway"
stop_gateway A
sed -i "s|connect_secret_file = .*|connect_secret_file = \"$tmp/wrong\"|" "$tmp/A/conf"
start_gateway A
try 67 'no such route, or wrong secret' --secret-file "${secret[A]}" --pin "${pin[A]}" $url
log_has B "refused: wrong secret for 'detector'"
stop_gateway A
sed -i "s|connect_secret_file = .*|connect_secret_file = \"${secret[B]}\"|; s|connect_pin = .*|connect_pin = {\"sha256:$(printf %064d 7)\"}|" "$tmp/A/conf"
start_gateway A
try 67 'pin|public key|certificate' --secret-file "${secret[A]}" --pin "${pin[A]}" $url
stop_gateway A
sed -i "s|connect_pin = .*|connect_pin = {\"${pin[B]}\"}|" "$tmp/A/conf"

step "a certificate that no CA vouches for, a wrong pin, a name that is not in it"
start_gateway A
try 67 'certificate|self-signed' --secret-file "${secret[A]}" $url
try 67 'pin|public key' --secret-file "${secret[A]}" --pin "sha256:$(printf %064d 1)" $url
try 67 'name|mismatch|IP' --secret-file "${secret[A]}" --ca "$tmp/A/gateway.crt" $url # it says localhost, not 127.0.0.1
start_recv recv B/detector
try 0 '' --secret-file "${secret[A]}" --ca "$tmp/A/gateway.crt" --tls-name localhost $url
ends recv 0
try 67 'name|mismatch' --secret-file "${secret[A]}" --ca "$tmp/A/gateway.crt" --tls-name example.org $url
stop_gateway A

step "an expired certificate: refused by the client that trusts its CA, and by scistreamd at its start"
# certificate NOT_BEFORE NOT_AFTER: of a CA of ours, for localhost, in $tmp/A
certificate()
{
    (
        cd "$tmp" && rm -rf ca && mkdir ca && : >ca/index && echo 01 >ca/serial
        cat >ca/conf <<END
[ca]
default_ca = ours
[ours]
database = ca/index
serial = ca/serial
new_certs_dir = ca
policy = any
default_md = sha256
copy_extensions = copy
[any]
commonName = supplied
END
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=ours -keyout ca/key -out ca/crt &&
            openssl req -new -key A/gateway.key -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -out ca/req &&
            openssl ca -batch -config ca/conf -cert ca/crt -keyfile ca/key -startdate "$1" -enddate "$2" -in ca/req -out ca/new -notext
    ) >"$tmp/openssl.err" 2>&1 || fail "openssl: $(cat "$tmp/openssl.err")"
    cp "$tmp/ca/new" "$tmp/A/gateway.crt"
}
certificate 20200101000000Z 20491231000000Z
start_gateway A
start_recv recv B/detector
try 0 '' --secret-file "${secret[A]}" --ca "$tmp/ca/crt" $url
ends recv 0
stop_gateway A
certificate 20200101000000Z 20210101000000Z
run A 78 "$builddir/scistreamd" -c "$tmp/A/conf"
says A 'expired [0-9]+ days ago: renew it'
start s_server openssl s_server -accept ${port[A]} -cert "$tmp/A/gateway.crt" -key "$tmp/A/gateway.key" -alpn h2 -tls1_3 -quiet
within 5 port_busy ${port[A]} || fail "s_server does not start"
try 67 'expired' --secret-file "${secret[A]}" --ca "$tmp/ca/crt" $url

step "another protocol than h2, and no TLS 1.3: the gateway refuses them"
hello() { openssl s_client -connect 127.0.0.1:${port[B]} "$@" </dev/null 2>&1; }
hello -alpn h2 | grep -q 'ALPN protocol: h2' || fail "h2 is not spoken: $(hello -alpn h2)"
hello -alpn http/1.1 | grep -q 'alert number 120' || fail "http/1.1: $(hello -alpn http/1.1 | tail -n 5)"
hello -alpn scistream-link/1 | grep -q 'alert number 120' || fail "link's ALPN on the control port"
hello -tls1_2 -alpn h2 | grep -q 'alert number 70\|alert protocol version' || fail "TLS 1.2 is spoken"

step "after all of this a stream goes through as before"
certificate 20200101000000Z 20491231000000Z
kill "${pid[s_server]}"
finish s_server
start_gateway A
start_recv recv B/detector
send 0 A/detector "$tmp/in"
ends recv 0
same "$tmp/in" "$tmp/recv.out"
