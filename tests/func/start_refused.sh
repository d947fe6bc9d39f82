#!/bin/bash
# What is wrong with the configuration or the machine is said at the start, with what to do about it, in one line and with exit code 78;
# nothing is left running. What is only unusual is no obstacle.
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
refused 'workres: no such option \(did you mean workers\?\)' -o workres=1
edit 's/^log_target.*/&\npeer_timeout = 5 parsecs/'
refused "/A/conf:[0-9]+: 'parsecs' after the value of peer_timeout: a value with spaces needs quotes"
edit 's/^name/nmae/'
refused "/A/conf:1: no such option 'nmae' \(did you mean name\?\)"
edit ''
refused 'control_socket = gw.sock: must be an absolute path' -o control_socket=gw.sock
refused 'ucx.devices = All: name the devices: all would also open ports on networks you did not mean' -o 'ucx.devices=lo,All'
refused 'memory_limit 1K is smaller than one ring of route detector \(4M\): raise it or lower window' -o memory_limit=1K
refused '/nonexist: No such file or directory' -o key=/nonexist
refused 'link_ports.*1 port.*for workers = 2|link_ports .*one each is needed' -o link_ports=5010
edit 's/deliver = .*//'
refused 'route "detector": add connect = .* or deliver'
edit 's/accept = .*"link"}  secret/accept = {"ucx", "pigeon"}  secret/'
refused 'pigeon: no such transport, there are verbs, ucx, link'
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
    start A bash -c 'ulimit -l 64; exec "$@"' - "${as[@]}" "$builddir/scistreamd" -c "$tmp/A/conf" -o rdma.listen=192.0.2.1 -o route.detector.accept=verbs
    ends A 78 10 'route detector: 16 rings of 4M need 67108864 bytes of locked memory, RLIMIT_MEMLOCK is 64K: raise LimitMEMLOCK .*or lower window'
    start A bash -c 'ulimit -l 64; exec "$@"' - "${as[@]}" "$builddir/scistreamd" -c "$tmp/A/conf" -o rdma.listen=192.0.2.1 -o route.detector.accept=verbs \
        -o route.detector.deliver=verbs
    ends A 78 10 'route detector: 16 rings of 4M, counted at both ends, need 134217728 bytes of locked memory, RLIMIT_MEMLOCK is 64K: '
    start A bash -c 'ulimit -l 64; exec "$@"' - "${as[@]}" "$builddir/scistreamd" -c "$tmp/A/conf" -o ucx.devices=mlx5_0:1 \
        -o route.detector.deliver= -o route.detector.connect=tcp://192.0.2.1:7
    ends A 78 10 'route detector: 32 rings of 4M need 134217728 bytes of locked memory' # one each way
    [ "$(id -u)" != 0 ] || chown -R root "$tmp"
fi

step "memory"
edit ''
start_gateway A -o memory_limit=3M -o route.detector.window=2M
echo data >"$tmp/in"
input=<(cat "$tmp/in"; sleep 60) start_send first A/detector
start_recv first_recv A/detector
wait_for 10 flowing A 5
start_recv recv A/detector
start_send send A/detector "$tmp/in"
ends send 75 10 'a ring of 2 MiB does not fit: 2 MiB of memory_limit 3 MiB are in use; wait, raise memory_limit or lower window'
ends recv 75 10 'memory_limit'
kill "${pid[first]}"
finish first
finish first_recv
stop_gateway A

step "without standard input, output and error: nothing else gets their numbers"
start A bash -c 'exec "$@" <&- >&- 2>&-' - "$builddir/scistreamd" -c "$tmp/A/conf"
wait_for 20 ctl A info
for p in ${pid[A]} $(workers_of A); do
    for fd in 0 1 2; do
        [ "$(readlink /proc/$p/fd/$fd)" = /dev/null ] || fail "descriptor $fd of $p is $(readlink /proc/$p/fd/$fd)"
    done
done
