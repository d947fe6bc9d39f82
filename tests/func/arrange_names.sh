#!/bin/bash
# Arrange while names are looked up, with a name server of the test's own: who may not is not looked up for; who names hundreds that nobody answers for keeps
# neither descriptors nor other callers; an upgrade that begins meanwhile, and a caller who goes away, leave nothing behind. Nor does a session that is
# released while another program starts.
if [ "${1:-}" != inside ]; then
    unshare -rmn true 2>/dev/null || { echo "skipped: namespaces are not allowed here"; exit 77; }
    exec unshare -rmn bash "$0" inside
fi
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program protoc ip mount
requires_python grpc google.protobuf
unset http_proxy https_proxy
echo "nameserver 127.0.0.1" >"$tmp/resolv.conf"
echo "127.0.0.1 localhost" >"$tmp/hosts"
ip link set lo up && mount --bind "$tmp/resolv.conf" /etc/resolv.conf && mount --bind "$tmp/hosts" /etc/hosts || skip "/etc/resolv.conf cannot be replaced here"
mkdir "$tmp/messages" "$tmp/bin"
protoc -I "$srcdir/ctrl" --python_out="$tmp/messages" scistream.proto gateway.proto || fail "protoc"
ask() { PATIENCE=$((10 * slow)) run ask 0 timeout $((120 * slow)) $python "$srcdir/tests/func/arrange_names.py" "$1" "$tmp/messages" "${@:2}"; }

run token 0 "$builddir/scistreamctl" token anna@example.org
ANNA=$(cat "$tmp/token.out")
export ANNA
tail -n 1 "$tmp/token.err" >"$tmp/tokens"
run token 0 "$builddir/scistreamctl" token bert@example.org
BERT=$(cat "$tmp/token.out")
export BERT
tail -n 1 "$tmp/token.err" >>"$tmp/tokens"
chmod 600 "$tmp/tokens"
new_tcp_gateway L
cat >>"$tmp/L/conf" <<END
scistream { enable = yes  auth = policy  data_ports = "$((port[L] + 10))-$((port[L] + 15))" }
auth { token_file = "$tmp/tokens" }
policy "anna" { principals = {"anna@*"}  roles = {"PROD"}  targets = {"127.0.0.1:9"} }
policy "bert" { principals = {"bert@*"}  roles = {"CONS", "RECV"}  targets = {"127.0.0.1:1-65535"} }
END
install_good() { cp "$builddir/scistreamd" "$tmp/bin/new" && mv "$tmp/bin/new" "$tmp/bin/scistreamd"; }
install_good
cp "$builddir/scistream-worker" "$tmp/bin/"
builddir=$tmp/bin start_gateway L
start names $python "$srcdir/tests/func/arrange_names.py" serve "$tmp"
wait_until 10 "grep -q serves '$tmp/names.out'"

for case in denied patient vanishes; do
    step $case
    ask $case "$tmp/L" "$tmp" "${pid[L]}"
done

step "an upgrade begins while names are looked up"
printf '#!/bin/sh\nexec sleep 1000\n' >"$tmp/bin/new" && chmod 755 "$tmp/bin/new" && mv "$tmp/bin/new" "$tmp/bin/scistreamd"
rm "$tmp/asked"
start caller $python "$srcdir/tests/func/arrange_names.py" frozen "$tmp/messages" "$tmp/L" "$tmp" "${pid[L]}"
wait_until 20 "[ -e '$tmp/asked' ]"
kill -USR2 "${pid[L]}"
log_has L 'upgrade: .* is started'
touch "$tmp/open"
ends caller 0
pkill -9 -P "${pid[L]}" -x sleep
log_has L 'not upgraded.* was killed by signal 9'
install_good
ask served "$tmp/L" "$tmp" "${pid[L]}"

step "a session that is released while another program starts is not there afterwards"
printf '#!/bin/sh\nwhile [ ! -e "%s/go" ]; do sleep 0.05; done\nexec "%s/scistreamd" "$@"\n' "$tmp" "$builddir" >"$tmp/bin/new"
chmod 755 "$tmp/bin/new" && mv "$tmp/bin/new" "$tmp/bin/scistreamd"
start upgrade $python "$srcdir/tests/func/arrange_names.py" released "$tmp/messages" "$tmp/L" "$tmp" "${pid[L]}"
ends upgrade 0 20
wait_until 20 "! kill -0 ${pid[L]}"
