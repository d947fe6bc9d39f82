#!/bin/bash
# Who administrates a gateway from afar: by certificate, by a token of its file, by a token that an introspection server knows; and nobody else, whatever
# that server does. What changes takes effect by a reload. Each decision is one line of the audit, and no token is in the log.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program openssl
requires_python grpc
helper=$srcdir/tests/func/who.py
mkdir "$tmp/oauth"

# ------------------------------------------------------------ certificates

ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$tmp/$1.key" -out "$tmp/$1.crt" -days 30 -subj "/CN=$1" 2>/dev/null; }
# issue NAME CA SUBJECT EXTENSIONS [OPTIONS]: $tmp/NAME.crt and .key
issue()
{
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$tmp/$1.key" -out "$tmp/$1.csr" -subj "$3" 2>/dev/null || fail "csr of $1"
    openssl x509 -req -in "$tmp/$1.csr" -CA "$tmp/$2.crt" -CAkey "$tmp/$2.key" -CAcreateserial -days 30 -out "$tmp/$1.crt" \
        -extfile <(printf '%b' "basicConstraints=CA:FALSE\n$4") "${@:5}" 2>/dev/null || fail "certificate of $1"
    chmod 600 "$tmp/$1.key"
}
# crl CA [CERTIFICATE...]: $tmp/CA.crl, with these revoked. $crl_time: options of openssl ca -gencrl
crl_time='-crldays 30'
crl()
{
    local ca=$1 one
    shift
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s\ndefault_md=sha256\n' "$tmp/$ca.index" >"$tmp/ca.conf"
    : >"$tmp/$ca.index"
    for one; do openssl ca -config "$tmp/ca.conf" -cert "$tmp/$ca.crt" -keyfile "$tmp/$ca.key" -revoke "$tmp/$one.crt" 2>"$tmp/crl.err" || fail "$(cat "$tmp/crl.err")"; done
    openssl ca -config "$tmp/ca.conf" -cert "$tmp/$ca.crt" -keyfile "$tmp/$ca.key" -gencrl $crl_time -out "$tmp/$ca.crl" 2>"$tmp/crl.err" || fail "$(cat "$tmp/crl.err")"
}
ca people
ca strangers
issue oauth people /CN=localhost 'subjectAltName=DNS:localhost\n'
issue uri people /CN=other 'subjectAltName=DNS:dns.example.org,email:mail@example.org,URI:spiffe://site/daq\n'
issue mail people /CN=other 'subjectAltName=DNS:dns.example.org,email:root@anl.gov\n'
issue dns people /CN=other 'subjectAltName=DNS:gateway.anl.gov\n'
issue name people '/O=anl/CN=old/CN=daq@anl.gov' ''
issue nameless people /O=anl ''
issue reserved people /CN=local:0 ''
issue stranger strangers /CN=root@anl.gov ''
issue server_only people /CN=root@anl.gov 'extendedKeyUsage=serverAuth\n'

# ------------------------------------------------------------ the gateway

new_tcp_gateway A
oauth_port=$((port[A] + 12))
echo gateway:pass:word >"$tmp/credentials"
chmod 600 "$tmp/credentials"
# token NAME PRINCIPAL [OPTIONS]: a new token in $tmp/NAME.token, its line in $tmp/NAME.line
token()
{
    run token 0 "$builddir/scistreamctl" token "$2" "${@:3}"
    (umask 077 && cat "$tmp/token.out" >"$tmp/$1.token")
    tail -n 1 "$tmp/token.err" >"$tmp/$1.line"
}
# lines NAME...: the token file
lines() { local n; : >"$tmp/tokens"; chmod 600 "$tmp/tokens"; for n; do cat "$tmp/$n.line" >>"$tmp/tokens"; done; }
# bearer NAME TOKEN: of the introspection server
bearer() { (umask 077 && echo "$2" >"$tmp/$1.token"); }
token alice alice@anl.gov
token bob bob@ornl.gov
token carol carol@anl.gov
lines alice bob
cat >>"$tmp/A/conf" <<END
auth {
    client_ca = "$tmp/people.crt"
    token_file = "$tmp/tokens"
    introspection_url = "https://localhost:$oauth_port/introspect"
    introspection_credentials_file = "$tmp/credentials"
    introspection_ca = "$tmp/people.crt"
    introspection_timeout = 30s
    introspection_cache = 1s
    required_scope = stream
    scope_id = "the-scope"
}
policy "people" {
    principals = {"*@anl.gov", "gateway.anl.gov", "spiffe://site/*"}
    roles = {ADMIN}
}
END
start oauth $python "$helper" server $oauth_port "$tmp/oauth.crt" "$tmp/oauth.key" "$tmp/oauth"
wait_said oauth ready
start_gateway A

# remote CODE ARGUMENTS: scistreamctl from afar
remote() { run ctl "$1" "$builddir/scistreamctl" --gateway "localhost:${port[A]}" --pin "${pin[A]}" "${@:2}"; }
with() { remote "$2" --token-file "$tmp/$1.token" "${@:3}"; } # with NAME CODE COMMAND
shows() { remote "$2" --cert "$tmp/$1.crt" --key "$tmp/$1.key" "${@:3}"; }
asked() { grep -cx -- "$1" "$tmp/oauth/asked"; }
audit() { log_has A "audit: principal=\"$1\" how=$2 from=\"127\.0\.0\.1:[0-9]+\" what=$3 uid=\"$4\" allowed=$5 why=\"$6"; }
reload() { run local 0 "$builddir/scistreamctl" -S "$tmp/A/sock" reload; grep -q "$1" "$tmp/local.out" || fail "reload: $(cat "$tmp/local.out")"; }
missing='Authentication token is missing for scope the-scope' invalid='Authentication token is invalid for scope the-scope'

step "the file of tokens"
with alice 0 sessions
grep -qx 'no sessions' "$tmp/ctl.out" || fail "$(cat "$tmp/ctl.out")"
audit alice@anl.gov token Sessions '' yes '"'
with bob 67 sessions
says ctl 'no policy allows bob@ornl.gov the role ADMIN'
audit bob@ornl.gov token Sessions '' no 'no policy allows bob@ornl.gov the role ADMIN"'
for command in "release 00112233" drain reload upgrade watch devices; do
    with bob 67 $command
    with carol 67 $command
    says ctl "$invalid"
done
remote 67 sessions
says ctl "$missing"
audit '' none Sessions '' no "$missing\""
bearer none INVALID_TOKEN # as SciStream's client says it
with none 67 sessions
says ctl "$invalid"
chmod 644 "$tmp/alice.token"
with alice 78 sessions
says ctl 'alice.token: others may use it .*chmod 600'
chmod 600 "$tmp/alice.token"

step "what administrators do from afar"
with alice 64 release 00112233445566778899aabbccddeeff
says ctl 'no session with that uid'
audit alice@anl.gov token Release 00112233445566778899aabbccddeeff yes '"'
with alice 0 drain
with alice 0 drain --resume
audit alice@anl.gov token Drain '' yes '"'
with alice 0 devices
grep -q "as the gateway at localhost:${port[A]} sees them" "$tmp/ctl.out" || fail "$(cat "$tmp/ctl.out")"
start watch "$builddir/scistreamctl" --gateway "localhost:${port[A]}" --pin "${pin[A]}" --token-file "$tmp/alice.token" --json watch
log_has A 'audit: principal="alice@anl.gov" how=token .* what=Watch uid="" allowed=yes'
with alice 0 reload
audit alice@anl.gov token Reload '' yes '"'
wait_until 20 "grep -q reloaded '$tmp/watch.out'"
kill -INT "${pid[watch]}"
ends watch 0
with alice 0 info
grep -qE '^gateway    A, version [0-9.]+, protocol 1$' "$tmp/ctl.out" && grep -qx 'transports link' "$tmp/ctl.out" || fail "$(cat "$tmp/ctl.out")"

step "the file of tokens changes"
lines carol
with alice 0 reload
grep -q 'auth.token_file' "$tmp/ctl.out" || fail "$(cat "$tmp/ctl.out")"
with alice 67 sessions
with carol 0 sessions
chmod 640 "$tmp/tokens"
with carol 78 reload
says ctl 'auth: .*/tokens: others may use it \(mode 0640\): chmod 600'
run check 78 "$builddir/scistreamd" -c "$tmp/A/conf" --check-config
says check 'auth: .*/tokens: others may use it'
with carol 0 sessions
token brief brief@anl.gov --for 3s
lines alice brief
reload auth.token_file
with brief 0 sessions
wait_until 30 "! '$builddir/scistreamctl' --gateway localhost:${port[A]} --pin ${pin[A]} --token-file '$tmp/brief.token' sessions"
with brief 67 sessions
says ctl "$invalid"
echo 'alice sha256:00:00' >>"$tmp/tokens"
with alice 78 reload
says ctl '/tokens:3: the salt must be 32 hex digits'
lines alice bob
reload 'changed\|auth.token_file'

step "certificates: a URI, else an e-mail address, else a DNS name, else the common name"
shows uri 0 sessions
audit spiffe://site/daq certificate Sessions '' yes '"'
shows mail 0 sessions
audit root@anl.gov certificate Sessions '' yes '"'
shows dns 0 sessions
audit gateway.anl.gov certificate Sessions '' yes '"'
shows name 0 sessions
audit daq@anl.gov certificate Sessions '' yes '"'
remote 0 --cert "$tmp/name.crt" --key "$tmp/name.key" --token-file "$tmp/bob.token" sessions # it comes before the token
shows nameless 67 sessions
says ctl "$missing"
shows reserved 67 sessions
says ctl 'the name in your certificate cannot be taken'
run ctl 78 "$builddir/scistreamctl" --gateway "localhost:${port[A]}" --pin "${pin[A]}" --cert "$tmp/nowhere" sessions
says ctl '/nowhere: No such file'
# refused_by_tls NAME PATTERN
refused_by_tls()
{
    start ctl "$builddir/scistreamctl" --gateway "localhost:${port[A]}" --pin "${pin[A]}" --cert "$tmp/$1.crt" --key "$tmp/$1.key" --token-file "$tmp/alice.token" sessions
    finish ctl 30
    [ $status != 0 ] || fail "$1 was let in"
    log_has A "control endpoint: 127.0.0.1:[0-9]+: TLS: the client's certificate: $2"
}
refused_by_tls stranger 'unable to get local issuer certificate'
refused_by_tls server_only 'unsuitable certificate purpose|unsupported certificate purpose'
sed -i "s|client_ca = .*|client_ca = \"$tmp/strangers.crt\"|" "$tmp/A/conf"
reload auth.client_ca
shows stranger 0 sessions
refused_by_tls name 'unable to get local issuer certificate'
sed -i "s|client_ca = .*|client_ca = \"$tmp/people.crt\"|" "$tmp/A/conf"
reload auth.client_ca
shows name 0 sessions

step "certificates that were revoked"
crl people name
crl strangers
sed -i "s|client_ca = .*|&\n    client_crl = \"$tmp/strangers.crl\"|" "$tmp/A/conf"
reload auth.client_crl
refused_by_tls dns 'unable to get certificate CRL'
sed -i "s|client_crl = .*|client_crl = \"$tmp/people.crl\"|" "$tmp/A/conf"
reload auth.client_crl
shows mail 0 sessions
refused_by_tls name 'certificate revoked'
crl people # the file has another content, and the name it had
reload auth.client_crl
shows name 0 sessions
crl_time='-crl_lastupdate 20260101000000Z -crl_nextupdate 20260102000000Z' crl people
reload auth.client_crl
log_has A 'auth.client_crl .*people.crl: the time for its next list has passed: certificates of that CA are refused'
refused_by_tls mail 'CRL has expired'
echo >"$tmp/people.crl"
run ctl 78 "$builddir/scistreamctl" -S "$tmp/A/sock" reload
says ctl 'people.crl: '
sed -i '/client_crl = /d' "$tmp/A/conf"
reload auth.client_crl
shows name 0 sessions

step "a server of another key"
start ctl "$builddir/scistreamctl" --gateway "localhost:${port[A]}" --pin "sha256:$(printf %064d 0)" sessions
ends ctl 67 30 "the server's public key matches no given pin"

step "introspection: one question a token, and an answer that is remembered for a while"
bearer dave good:dave@anl.gov
with dave 0 sessions
audit dave@anl.gov introspection Sessions '' yes '"'
run many 0 $python "$helper" ask "localhost:${port[A]}" "$tmp/A/gateway.crt" 20 "Bearer good:erin@anl.gov"
[ "$(cat "$tmp/many.out")" = "20 OK" ] || fail "$(cat "$tmp/many.out")"
bearer frank good:frank@ornl.gov
with frank 67 sessions
says ctl 'no policy allows frank@ornl.gov the role ADMIN'
bearer gina noscope:gina@anl.gov
with gina 67 sessions
says ctl "$invalid"
bearer henry local:0
with henry 67 sessions
bearer ian good:local:0
with ian 67 sessions
says ctl "$invalid"
touch "$tmp/oauth/revoked"
wait_until 30 "! '$builddir/scistreamctl' --gateway localhost:${port[A]} --pin ${pin[A]} --token-file '$tmp/dave.token' sessions"
with dave 67 sessions
says ctl "$invalid"
rm "$tmp/oauth/revoked"

step "a thousand at once are one question"
start many $python "$helper" ask "localhost:${port[A]}" "$tmp/A/gateway.crt" 1000 gate:jane@anl.gov
wait_until 30 "grep -qx gate:jane@anl.gov '$tmp/oauth/asked'"
run local 0 "$builddir/scistreamctl" -S "$tmp/A/sock" sessions # nobody else waits for it
with alice 0 sessions
touch "$tmp/oauth/gate"
ends many 0 90
[ "$(cat "$tmp/many.out")" = "1000 OK" ] || fail "$(cat "$tmp/many.out"; grep -av audit: "$tmp/A.err" | tail -n 3)"
n=$(asked gate:jane@anl.gov)
[ "$n" -lt 5 ] || fail "$n questions" # a machine that is slow may need longer than the answer is remembered
rm "$tmp/oauth/gate"

step "who goes away in mid-question"
start vanish $python "$helper" vanish "localhost:${port[A]}" "$tmp/A/gateway.crt" gate:kate@anl.gov "$tmp/oauth/kate"
wait_until 30 "grep -qx gate:kate@anl.gov '$tmp/oauth/asked'"
before=$(fd_count "${pid[A]}")
echo now >"$tmp/oauth/kate"
ends vanish 137 30
wait_until 20 "[ \$(fd_count ${pid[A]}) -lt $before ]"
with alice 0 sessions

step "whatever the server does, nobody gets in by it"
unreachable='the token cannot be checked now, so it is not accepted'
# lets_nobody_in NAME LOG: with that token, and what the log says
lets_nobody_in() { bearer x "$1:x@anl.gov"; with x 69 sessions; says ctl "$unreachable"; log_has A "token introspection: .*$2"; }
lets_nobody_in garbage 'the answer is no JSON'
rss=$(rss_kib "${pid[A]}")
lets_nobody_in huge 'the answer of localhost is longer than 65536 bytes'
wait_until 30 "[ -s '$tmp/oauth/huge' ]"
[ "$(cat "$tmp/oauth/huge")" -lt 100000000 ] || fail "it was read to the end: $(cat "$tmp/oauth/huge")"
[ $(($(rss_kib "${pid[A]}") - rss)) -lt 30000 ] || sanitized || fail "memory: $rss, $(rss_kib "${pid[A]}")"
lets_nobody_in broken 'localhost answers with HTTP status 500'
lets_nobody_in redirect 'localhost answers with HTTP status 307'
lets_nobody_in cut 'localhost: '
sed -i 's/introspection_timeout = .*/introspection_timeout = 300ms/' "$tmp/A/conf"
reload auth.introspection_timeout
lets_nobody_in slow 'localhost does not answer within 300 ms'
sed -i 's/introspection_timeout = .*/introspection_timeout = 30s/' "$tmp/A/conf"
echo gateway:wrong >"$tmp/credentials"
reload auth.introspection_timeout
lets_nobody_in good 'localhost refuses the credentials of the gateway \(HTTP status 401\)'
echo gateway:pass:word >"$tmp/credentials"
sed -i "s|introspection_ca = .*|introspection_ca = \"$tmp/strangers.crt\"|" "$tmp/A/conf"
reload auth.introspection_ca
lets_nobody_in good 'localhost: .*certificate'
sed -i "s|introspection_ca = .*|introspection_ca = \"$tmp/people.crt\"|" "$tmp/A/conf"
reload auth.introspection_ca
with dave 0 sessions
kill -9 "${pid[oauth]}"
finish oauth
lets_nobody_in good 'localhost: .*(refused|connect)'
with alice 0 sessions # the file is asked before
! grep -aE "$(cat "$tmp/alice.token")|good:|gate:|pass:word" "$tmp/A.err" || fail "a token is in the log"

step "the policy changes, and the program"
sed -i 's/roles = {ADMIN}/roles = {PROD}/' "$tmp/A/conf"
reload policy.people
with alice 67 sessions
says ctl 'no policy allows alice@anl.gov the role ADMIN'
sed -i 's/roles = {PROD}/roles = {ADMIN}/' "$tmp/A/conf"
reload policy.people
with alice 0 upgrade --json
audit alice@anl.gov token Upgrade '' yes '"'
started+=("$(json "$tmp/ctl.out" 'd["pid"]')")
with alice 0 sessions

step "a gateway that asks nobody"
new_tcp_gateway B
start_gateway B
run ctl 67 "$builddir/scistreamctl" --gateway "localhost:${port[B]}" --pin "${pin[B]}" --token-file "$tmp/none.token" sessions
says ctl 'on the local control socket only'
log_has B 'audit: principal="anonymous" how=anonymous from="127.0.0.1:[0-9]+" what=Sessions uid="" allowed=no'
