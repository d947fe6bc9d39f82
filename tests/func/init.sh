#!/bin/bash
# scistreamd --init makes a configuration that works as it stands, tells the lines its users need, and never overwrites;
# --check-config and --print-config agree with what is then served.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program openssl
d=$builddir/scistreamd
take_ports
ports=(-o listen=127.0.0.1:$base -o link_ports=$((base + 1))-$((base + 9)))

run init 0 "$d" --init "$tmp/gw" --name gw.example.org
[ ! -s "$tmp/init.err" ] || fail "it complains: $(cat "$tmp/init.err")"
modes=$(cd "$tmp/gw" && stat -c '%n %a' *)
[ "$modes" = "gateway.crt 644
gateway.key 600
scistreamd.conf 644
secret 600" ] || fail "files: $modes"
openssl x509 -in "$tmp/gw/gateway.crt" -noout -ext subjectAltName | grep -q 'DNS:gw.example.org' || fail "name in the certificate"
openssl x509 -in "$tmp/gw/gateway.crt" -noout -checkend $((3650 * 86400 - 90000)) >/dev/null || fail "the certificate does not last ten years"
pin=sha256:$(openssl x509 -in "$tmp/gw/gateway.crt" -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r | cut -d ' ' -f 1)
grep -q "scistream-send --secret-file secret --pin $pin gateway://gw.example.org/stream FILE" "$tmp/init.out" || fail "it prints: $(cat "$tmp/init.out")"

step "it never overwrites"
cksum "$tmp"/gw/* >"$tmp/before"
run init 74 "$d" --init "$tmp/gw"
says init '--init never overwrites'
cksum "$tmp"/gw/* | cmp - "$tmp/before" || fail "it did"

step "what it prints works"
run check 0 "$d" -c "$tmp/gw/scistreamd.conf" --check-config -o user=root
grep -q '1 route, nothing wrong' "$tmp/check.out" || fail "$(cat "$tmp/check.out")"
start gw "$d" -c "$tmp/gw/scistreamd.conf" "${ports[@]}" -o user=root -o control_socket="$tmp/gw/sock"
wait_said gw 'is ready'
make_data 100000 >"$tmp/in"
url=gateway://127.0.0.1:$base/stream
start recv "$builddir/scistream-recv" --secret-file "$tmp/gw/secret" --pin $pin $url -o "$tmp/out"
run send 0 "$builddir/scistream-send" --secret-file "$tmp/gw/secret" --pin $pin $url "$tmp/in"
ends recv 0
same "$tmp/in" "$tmp/out"

step "--print-config is a configuration, and a fixed point"
"$d" -c "$tmp/gw/scistreamd.conf" "${ports[@]}" -o route.other.deliver=link -o route.other.secret_file="$tmp/gw/secret" -o route.other.window=4M \
    -o peer_timeout=1500ms -o log_format=json --print-config >"$tmp/one.conf" || fail "--print-config"
"$d" -c "$tmp/one.conf" --print-config >"$tmp/two.conf" || fail "it cannot read what it printed"
same "$tmp/one.conf" "$tmp/two.conf"
grep -Eq '^peer_timeout *= *"?1500ms' "$tmp/one.conf" || fail "$(grep peer_timeout "$tmp/one.conf")"
"$d" -c "$tmp/two.conf" --check-config -o user=root | grep -q '2 routes, nothing wrong' || fail "--check-config of what was printed"

step "--check-config finds what the start would find"
run check 78 "$d" -c "$tmp/gw/scistreamd.conf" --check-config -o route.stream.secret_file="$tmp/missing"
says check 'missing'
[ "$(id -u)" = 0 ] && code=78 || code=0 # for others than root it is a warning
run check $code "$d" -c "$tmp/gw/scistreamd.conf" --check-config -o user=no-such-user
says check "user 'no-such-user' does not exist: create it"
run check 0 "$d" -c "$tmp/gw/scistreamd.conf" --check-config -o user=root -o scistream.enable=yes -o scistream.auth=policy
says check 'auth = policy, but section auth has no way to know who calls'
run check 78 "$d" -c "$tmp/gw/scistreamd.conf" --check-config -o workers=1000
says check 'workers'
