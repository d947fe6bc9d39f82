#!/bin/bash
# The demonstration of ./bootstrap demo: two gateways on this machine, a file streamed through both, compared, and everything cleaned up.
#   demo.sh BUILD: the folder with the programs
set -u
export LC_ALL=C
build=$(cd "$1" && pwd) || exit 1
megabytes=${DEMO_MEGABYTES:-400}

if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold="" plain=""; fi
say() { printf '%s\n' "$@"; }
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
die() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }

tmp=$(mktemp -d "${TMPDIR:-/tmp}/scistream-demo-XXXXXX") || exit 1
pids=()
[ "$(df -Pm "$tmp" | awk 'NR == 2 { print $4 }')" -gt $((2 * megabytes + 50)) ] || megabytes=50
clean_up()
{
    local status=$?
    trap - EXIT
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null
    [ $status = 0 ] || { for f in "$tmp"/*.log; do [ -s "$f" ] && say "--- ${f##*/}" "$(tail -n 20 "$f")"; done >&2; }
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ ${#pids[@]} != 0 ] && kill -0 "${pids[@]}" 2>/dev/null || break
        sleep 0.2
    done
    [ ${#pids[@]} = 0 ] || kill -9 "${pids[@]}" 2>/dev/null
    rm -rf "$tmp"
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ------------------------------------------------------------ two gateways

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_ports() # sets $base: 8 ports in a row that nobody listens on, below those the system hands out
{
    local p
    for _ in {1..100}; do
        base=$((14000 + 8 * (RANDOM % 2000)))
        for ((p = base; p < base + 8; p++)); do taken $p && continue 2; done
        return
    done
    die "no free ports"
}

# configure NAME PORT ROUTE: its configuration; --init has made the rest
configure()
{
    cat >"$tmp/$1/conf" <<END
name = "$1"
listen = "127.0.0.1:$2"
link_ports = "$(($2 + 1))-$(($2 + 3))"
workers = 2
metrics = ""
control_socket = "$tmp/$1/sock"
certificate = "$tmp/$1/gateway.crt"
key = "$tmp/$1/gateway.key"
ucx { devices = {"lo"} }
route "demo" { accept = {"ucx", "link"}  secret_file = "$tmp/$1/secret"  $3 }
END
}

pin() { grep -o -m 1 'sha256:[0-9a-f]*' "$tmp/init-$1.log" | head -n 1; }

# start NAME: in the background until it is ready. Status 1: a port was taken meanwhile.
start()
{
    "$build/scistreamd" -c "$tmp/$1/conf" "${as[@]}" >"$tmp/$1.log" 2>&1 &
    pids+=($!)
    for _ in {1..150}; do
        grep -q ' is ready: ' "$tmp/$1.log" && return
        kill -0 $! 2>/dev/null || { grep -q 'in use' "$tmp/$1.log" && return 1; die "gateway $1 does not start: $(cat "$tmp/$1.log")"; }
        sleep 0.1
    done
    die "gateway $1 is not ready after 15 s"
}

as=()
[ "$(id -u)" != 0 ] || as=(-o user=nobody) # it reads its files and opens its ports as root, and is root no longer
title "1. Two gateways on this machine, with keys, certificates and secrets of their own"
for g in A B; do
    "$build/scistreamd" --init "$tmp/$g" --name localhost >"$tmp/init-$g.log" 2>&1 || die "scistreamd --init: $(cat "$tmp/init-$g.log")"
done
for try in 1 2 3 4 5; do
    free_ports
    configure B $base 'deliver = {"ucx", "link"}'
    configure A $((base + 4)) "connect = \"gateway://127.0.0.1:$base/demo\"  connect_secret_file = \"$tmp/B/secret\"  connect_pin = {\"$(pin B)\"}"
    start B && start A && break
    [ $try != 5 ] || die "ports are taken again and again"
    kill "${pids[@]}" 2>/dev/null
    wait
    pids=()
done
grep -h ' is ready: ' "$tmp/B.log" "$tmp/A.log"
[ ${#as[@]} = 0 ] || say "(started as root, they run as user $(ps -o user= -p "${pids[0]}"))"

# ------------------------------------------------------------ a stream

title "2. A file of $megabytes MB, made for this"
head -c "${megabytes}M" /dev/urandom >"$tmp/data" || die "cannot write $tmp/data"
ls -lh "$tmp/data"

title "3. scistream-send ==ucx==> gateway A ==TLS link==> gateway B ==ucx==> scistream-recv"
say "\$ scistream-recv --secret-file B/secret --pin $(pin B | cut -c 1-19)... gateway://127.0.0.1:$base/demo -o received &" \
    "\$ scistream-send --secret-file A/secret --pin $(pin A | cut -c 1-19)... gateway://127.0.0.1:$((base + 4))/demo data"
"$build/scistream-recv" --secret-file "$tmp/B/secret" --pin "$(pin B)" "gateway://127.0.0.1:$base/demo" -o "$tmp/received" 2>"$tmp/recv.log" &
receiver=$!
pids+=($receiver)
(
    sleep 0.7
    "$build/scistreamctl" --socket "$tmp/A/sock" sessions >"$tmp/sessions" 2>/dev/null
) &
looking=$!
"$build/scistream-send" --progress --secret-file "$tmp/A/secret" --pin "$(pin A)" "gateway://127.0.0.1:$((base + 4))/demo" "$tmp/data" || die "scistream-send exited with $?"
wait $receiver || die "scistream-recv exited with $?"
cat "$tmp/recv.log"
wait $looking

if grep -q '^session' "$tmp/sessions"; then
    title "4. What gateway A said of it meanwhile: scistreamctl sessions"
    cat "$tmp/sessions"
else
    title "4. It was over before gateway A could be asked: scistreamctl sessions"
    "$build/scistreamctl" --socket "$tmp/A/sock" sessions
fi

title "5. What came out is what went in"
cmp "$tmp/data" "$tmp/received" || die "the files differ"
say "cmp: $(stat -c %s "$tmp/received") bytes, no difference"

title "6. The gateways end when they are told to"
kill "${pids[0]}" "${pids[1]}"
wait "${pids[0]}" || die "gateway B exited with $?"
wait "${pids[1]}" || die "gateway A exited with $?"
say "both exited with 0"
pids=()

title "That was it"
say "A file went from scistream-send by ucx into gateway A, over a TLS 1.3 link to gateway B, by ucx to scistream-recv." \
    "The digest was computed at both ends, the file took its name only then, and only then did scistream-send exit with 0." \
    "Next:" \
    "    make -C build install        install it (see README.md for a stream between two machines)" \
    "    ./bootstrap check            run all tests" \
    "    build/scistreamd --help      and the manuals: man man/scistream.7"
