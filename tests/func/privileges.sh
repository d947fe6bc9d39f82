#!/bin/bash
# Started as root, scistreamd reads its files, opens its ports, and becomes `user`; its workers are never root. Workers inherit nothing but
# their socket. Everything works as an ordinary user, too.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
requires_root "start as root"
requires_program setpriv
requires "there is no user nobody" id nobody
export ASAN_OPTIONS=detect_leaks=0 # a process that gave up root cannot be traced

identity() { awk '/^(Uid|Gid|Groups)/ { $1 = ""; print }' "/proc/$1/status" | tr -s ' \n' ' '; }
nobody=$(id -u nobody)
group=$(id -g nobody)

step "root becomes nobody; secret, key and socket folder are root's"
chmod 711 "$tmp"
start_gateway_pair detector
for g in A B; do
    stop_gateway $g
    sed -i 's/^user = .*/user = "nobody"/' "$tmp/$g/conf"
    start_gateway $g
    for p in ${pid[$g]} $(workers_of $g); do
        [ "$(identity $p)" = " $nobody $nobody $nobody $nobody $group $group $group $group $(id -G nobody) " ] || fail "$g: process $p is $(identity $p)"
        [ "$(awk '/^CapEff/ { print $2 }' /proc/$p/status)" = 0000000000000000 ] || fail "$g: process $p has capabilities"
    done
done
make_data 3000000 >"$tmp/in"
stream "$tmp/in" A/detector B/detector
idle A || wait_for 5 idle A # root may ask, too
first=$(workers_of A | head -n 1)
kill -9 $first
wait_until 10 "[ \$(workers_of A | wc -l) = 2 ] && [ \$(workers_of A | head -n 1) != $first ]"
stream "$tmp/in" A/detector B/detector

step "what a worker holds: nothing of the configuration, of keys or of clients"
for w in $(workers_of A); do
    for f in /proc/$w/fd/*; do
        case $(readlink "$f") in
            "$tmp"/A/* | *.key | *secret*) fail "worker $w holds $(readlink "$f")" ;;
        esac
    done
    grep -aq "$(cat "${secret[A]}")" <(tr '\0' '\n' <"/proc/$w/environ"; tr '\0' ' ' <"/proc/$w/cmdline") && fail "the secret is in a worker's environment"
done
step "a reload as nobody: what only root may read is refused, what nobody may read is taken, and read by root at the next start, too"
start ctl "$builddir/scistreamctl" -S "$tmp/A/sock" reload
ends ctl 78 10 "$tmp/A/conf: configuration: user nobody, whom the gateway became after its start, may not read $tmp/A/conf: chown nobody $tmp/A/conf, or restart"
chmod 711 "$tmp/A" "$tmp/B"
start ctl "$builddir/scistreamctl" -S "$tmp/A/sock" reload
ends ctl 78 10 "key: user nobody, whom the gateway became after its start, may not read $tmp/A/gateway.key"
chown nobody "$tmp/A/gateway.key"
start ctl "$builddir/scistreamctl" -S "$tmp/A/sock" reload
ends ctl 78 10 "route detector: user nobody, whom the gateway became after its start, may not read $tmp/A/secret"
stream "$tmp/in" A/detector B/detector
chown nobody "$tmp/A/secret" "$tmp/B/secret"
start ctl "$builddir/scistreamctl" -S "$tmp/A/sock" reload
ends ctl 0
stop_gateway A
start_gateway A
stop_gateway A
stop_gateway B
chown root "$tmp/A/gateway.key" "$tmp/A/secret" "$tmp/B/secret"
chmod 700 "$tmp/A" "$tmp/B"

step "the programs lie where that user cannot go"
mkdir -m 700 "$tmp/closed"
cp "$builddir/scistreamd" "$builddir/scistream-worker" "$tmp/closed"
start A "$tmp/closed/scistreamd" -c "$tmp/A/conf"
wait_said A 'is ready'
first=$(workers_of A | head -n 1)
[ "$(readlink "/proc/$first/exe")" = "$tmp/closed/scistream-worker" ] || fail "that is $(readlink "/proc/$first/exe")"
kill -9 $first
wait_until 10 "[ \$(workers_of A | wc -l) = 2 ] && [ \$(workers_of A | head -n 1) != $first ]"
stop_gateway A

step "a user who does not exist"
run A 78 "$builddir/scistreamd" -c "$tmp/A/conf" -o user=no-such-user
says A "user 'no-such-user' does not exist: create it"

step "all of it as nobody, from --init on"
[ $rdma = verbs ] && device=rdma.listen=$rdma_at || device=ucx.devices=lo
home=$tmp/home
mkdir -p "$home/bin"
cp "$builddir"/scistream{d,ctl,-send,-recv,-worker} "$home/bin" # the build folder may be closed to it
chown -R nobody "$home"
as=(env HOME="$home" XDG_CONFIG_HOME="$home/.config" XDG_RUNTIME_DIR="$home/run" setpriv --reuid=nobody --regid="$group" --clear-groups)
mkdir "$home/run" && chown nobody "$home/run"
take_ports
run init 0 "${as[@]}" "$home/bin/scistreamd" --init "$home/gw" --name localhost
start gw "${as[@]}" "$home/bin/scistreamd" -c "$home/gw/scistreamd.conf" -o listen=127.0.0.1:$base -o link_ports=$((base + 1))-$((base + 9)) -o $device \
    -o route.stream.accept=$rdma,link -o route.stream.deliver=$rdma,link
wait_said gw 'is ready'
at="--secret-file $home/gw/secret --pin $(grep -o -m 1 'sha256:[0-9a-f]*' "$tmp/init.out" | head -n 1) gateway://localhost:$base/stream"
cp "$tmp/in" "$home/in"
chmod 644 "$home/in"
start recv "${as[@]}" "$home/bin/scistream-recv" $at -o "$home/out"
run send 0 "${as[@]}" "$home/bin/scistream-send" $at --require $rdma "$home/in"
ends recv 0
same "$tmp/in" "$home/out"
start info "${as[@]}" "$home/bin/scistreamctl" info
ends info 0
grep -q '^transports .*link' "$tmp/info.out" && grep -q "^transports .*$rdma" "$tmp/info.out" || fail "$(cat "$tmp/info.out")"
kill "${pid[gw]}"
ends gw 0
