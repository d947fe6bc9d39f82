#!/bin/bash
# What is wrong with the configuration or the machine is said at the start, with what to do about it, in one line and with exit code 78;
# nothing is left running.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_program openssl
new_gateway A
add_route A detector
cp "$tmp/A/conf" "$tmp/good"

# refused PATTERN [OPTIONS]: scistreamd with the configuration as it is now
refused()
{
    run A 78 "$builddir/scistreamd" -c "$tmp/A/conf" "${@:2}"
    says A "$1"
    [ "$(grep -c 'error:' "$tmp/A.err")" = 1 ] || fail "not one line: $(cat "$tmp/A.err")"
    [ ! -e "$tmp/A/sock" ] || fail "the control socket is left"
}
# edit SED: from the good configuration
edit() { sed "$1" "$tmp/good" >"$tmp/A/conf"; }

step "files"
refused 'cannot open .*/nowhere|/nowhere: No such file' -c "$tmp/nowhere"
chmod 640 "${secret[A]}"
refused "route detector: .*/A/secret: others may use it \(mode 0640\): chmod 600 .*/A/secret"
chmod 600 "${secret[A]}"
echo short >"$tmp/short"
chmod 600 "$tmp/short"
refused 'route detector: .*/short: holds 5 bytes, a secret has' -o route.detector.secret_file="$tmp/short"
refused 'route detector: .*/missing: No such file' -o route.detector.secret_file="$tmp/missing"
refused 'missing' -o certificate="$tmp/missing"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$tmp/other.key" 2>/dev/null
chmod 600 "$tmp/other.key"
refused 'other.key does not belong to .*gateway.crt|key values mismatch' -o key="$tmp/other.key"
chmod 644 "$tmp/A/gateway.key"
refused 'gateway.key: others may (read|use) it.*chmod 600'
chmod 600 "$tmp/A/gateway.key"
refused 'certificate and key are not set: .*--init' -o certificate= -o key=

step "values: file, line, option, value, what it must be"
edit 's/^workers = .*/workers = 1000/'
refused "/A/conf:[0-9]+: .*workers.*1000.*0.*256"
edit 's/^workers = .*/wokrers = 2/'
refused "/A/conf:[0-9]+: .*wokrers"
edit 's/channels = 16/channels = many/'
refused "/A/conf:[0-9]+: .*channels.*many"
edit 's/^ucx.*/ucx { devices = {"lo"/'
refused "/A/conf:[0-9]+: "
edit ''
refused 'peer_timeout.*5 bananas' -o peer_timeout='5 bananas'
refused 'no such option|unknown' -o bananas=1
refused 'link_ports.*1 port.*for workers = 2|link_ports .*one each is needed' -o link_ports=5010
edit 's/deliver = .*//'
refused 'route "detector": add connect = .* or deliver'
edit 's/accept = .*"link"}  secret/accept = {"ucx", "pigeon"}  secret/'
refused 'pigeon: no such transport, there are ucx, link'
edit 's/^ucx.*//'
requires_ucx
refused 'has ucx, but no device is given to it: add devices'
edit ''

step "ports"
start holder $python -c '
import socket, sys, time
s = [socket.create_server(("127.0.0.1", int(p)), reuse_port=False) for p in sys.argv[1:]]
print("ready", flush=True)
time.sleep(60)' $((port[A] + 12)) $((port[A] + 13))
wait_until 10 "grep -q ready '$tmp/holder.out'"
refused "listen: cannot listen on 127.0.0.1:$((port[A] + 12)): Address already in use; another program has the port \(ss -ltnp\)" -o listen=127.0.0.1:$((port[A] + 12))
refused "link_ports .*: 2 workers need a port each, 1 were free" -o link_ports=$((port[A] + 13))-$((port[A] + 14))
refused 'cannot listen on 192.0.2.1:[0-9]+: Cannot assign requested address' -o listen=192.0.2.1:${port[A]}
start_gateway A
run second 78 "$builddir/scistreamd" -c "$tmp/good" -o listen=127.0.0.1:$((port[A] + 10)) -o link_ports=$((port[A] + 11))-$((port[A] + 15))
says second 'another scistreamd uses it: give each its own control_socket'
ctl A info >"$tmp/info.out" || fail "the first one's socket was taken from it"
stop_gateway A

step "devices"
refused "ucx.*no-such-device.*ucx_info -d" -o ucx.devices=no-such-device
refused 'ucx.transports|transports bananas' -o ucx.transports=bananas

step "locked memory, for InfiniBand ports and an ordinary user"
as=()
[ "$(id -u)" != 0 ] || as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
if [ "$(id -u)" != 0 ] || command -v setpriv >/dev/null; then
    [ "$(id -u)" != 0 ] || chown -R nobody "$tmp"
    start A bash -c 'ulimit -l 64; exec "$@"' - "${as[@]}" "$builddir/scistreamd" -c "$tmp/A/conf" -o ucx.devices=mlx5_0:1
    ends A 78 10 'route detector: 16 rings of 4M need 67108864 bytes of locked memory, RLIMIT_MEMLOCK is 64K: raise LimitMEMLOCK .*or lower window'
    [ "$(id -u)" != 0 ] || chown -R root "$tmp"
fi

step "memory"
edit ''
start_gateway A -o memory_limit=1M -o route.detector.window=2M
echo data >"$tmp/in"
start_recv recv A/detector
start_send send A/detector "$tmp/in"
ends send 75 10 'a ring of 2 MiB does not fit: 0 B of memory_limit 1 MiB are in use; wait, raise memory_limit or lower window'
ends recv 75 10 'memory_limit'
