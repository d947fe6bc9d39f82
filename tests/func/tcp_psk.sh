#!/bin/bash
# TLS by pre-shared key at a door, and towards a peer: stunnel with SciStream's template on the other side, with others, and openssl; bytes, half-closes and
# resets go through as they are, and who has not the key reaches nobody.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program stunnel
requires_python socket
key=7f4df9b09a0e11ee8c900242ac120002
other=7f4df9b09a0e11ee8c900242ac120003
take_ports
app=$base back=$((base + 1)) middle=$((base + 2))

# stunnel client=yes|no FROM TO KEY LINES: as SciStream's template has it, then LINES
start_stunnel()
{
    printf '%s\n' "client1:$4" >"$tmp/psk"
    chmod 600 "$tmp/psk"
    {
        printf 'fips = no\nPSKsecrets = %s\nsecurityLevel = 0\ndebug = 7\nforeground = yes\npid = %s\n' "$tmp/psk" "$tmp/stunnel.pid"
        printf '%b' "$5"
        printf '[door]\nclient = %s\naccept = 127.0.0.1:%s\nconnect = 127.0.0.1:%s\n%b' "$1" "$2" "$3" "$6"
    } >"$tmp/stunnel.conf"
    start stunnel stunnel "$tmp/stunnel.conf"
    wait_for 10 port_busy "$2"
}

start_door() { start door "$builddir/psk_door" "$@" $key; wait_until 10 "grep -q ready '$tmp/door.out'"; }
stop() { local p; for p; do kill "${pid[$p]}"; finish "$p" 10; done; }
case_of() { PATIENCE=$((20 * slow)) start case timeout $((60 * slow)) $python "$srcdir/tests/func/tcp_psk.py" "$@"; ends case 0 60; }
speaks() { grep -qF "up $1" "$tmp/door.out" || fail "not '$1' but: $(cat "$tmp/door.out")"; }

# One on our side reaches stunnel, which makes an end of it; on its own side it says close_notify.
reset_seen() { case_of $app $back "$1" end; wait_until 10 "grep -q 'TLS fd: Connection reset by peer' '$tmp/stunnel.err'"; }
# through KIND HEAD LINES SPOKEN: both roles
through()
{
    local c
    step "stunnel is the client: $4"
    start_door $middle $back accept $1
    start_stunnel yes $app $middle $key "$2" "$3"
    for c in bulk half_close_client half_close_server; do case_of $app $back $c gentle; done
    reset_seen reset_server
    speaks "$4 | plaintext"
    stop stunnel door
    step "stunnel is the server: $4"
    start_stunnel no $middle $back $key "$2" "$3"
    start_door $app $middle connect $1
    for c in bulk half_close_client half_close_server; do case_of $app $back $c gentle; done
    reset_seen reset_client
    speaks "plaintext | $4"
    stop door stunnel
}

scistreams='sslVersionMax = TLSv1.2\n'
through null "$scistreams" 'ciphers = eNULL\n' 'TLSv1.2 ECDHE-PSK-NULL-SHA384, psk client1, not encrypted'
through legacy "$scistreams" '' 'TLSv1.2 ECDHE-PSK-CHACHA20-POLY1305, psk client1'
through legacy "$scistreams" 'ciphers = PSK-AES256-GCM-SHA384\n' 'TLSv1.2 PSK-AES256-GCM-SHA384, psk client1'
through uid '' '' 'TLSv1.3 TLS_AES_128_GCM_SHA256, psk client1'

step "no key, no word"
start_door $middle $back accept legacy
start_stunnel yes $app $middle $key "$scistreams" 'ciphers = eNULL\n'
case_of $app $back not_let_in
stop stunnel
start_stunnel yes $app $middle $other "$scistreams" ''
case_of $app $back not_let_in
stop stunnel
case_of $middle $back scan
wait_said door 'route psk: refused: tcp with 127.0.0.1:[0-9]+: TLS handshake: '
grep -q "ended badly 0 0 backend ''" "$tmp/door.out" || fail "a refused one reached somebody: $(cat "$tmp/door.out")"
step "openssl"
for v in -tls1_3 -tls1_2; do case_of $middle $back s_client $v -psk $key -psk_identity client1; done
stop door
start_stunnel no $middle $back $other "$scistreams" ''
start_door $app $middle connect legacy
case_of $app $back not_let_in
stop door stunnel
start_stunnel no $middle $back $key "$scistreams" 'ciphers = eNULL\n'
start_door $app $middle connect legacy
case_of $app $back not_let_in
stop door stunnel
start_door $app $middle connect uid
for v in -tls1_3 -tls1_2; do case_of $app $middle s_server $v -psk $key -psk_identity client1; done
stop door

step "two of ours"
start_door $middle $back accept ours
mv "$tmp/door.out" "$tmp/first.out"
pid[first]=${pid[door]}
start_door $app $middle connect ours
for c in bulk half_close_client half_close_server reset_client reset_server; do case_of $app $back $c; done
speaks 'plaintext | TLSv1.3 TLS_AES_256_GCM_SHA384, psk'
grep -qF 'up TLSv1.3 TLS_AES_256_GCM_SHA384, psk | plaintext' "$tmp/first.out" || fail "first: $(cat "$tmp/first.out")"
stop door first
if grep -qi "7f4df9b0\|thirty-two" "$tmp"/*.err; then fail "a key in the log"; fi
