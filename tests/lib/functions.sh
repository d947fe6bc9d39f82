# Sourced by the functional tests: real programs, real processes, real sockets, one temporary folder a test.
# A test runs in the build folder and ends with 0, with 77 and the reason for skipping, or with anything else and its logs.
# To run one by hand, in the build folder: ../tests/func/NAME.sh
#
# Processes are known by a name: NAME.out and NAME.err in $tmp are what they said. Nothing survives the test.
set -u
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
ulimit -c 0

builddir=$PWD
srcdir=${srcdir:-$(dirname "${BASH_SOURCE[0]}")/../..}
srcdir=$(cd "$srcdir" && pwd)
python=/usr/bin/python3 # the distribution's, which has its modules
tmp=$(mktemp -d "${TMPDIR:-/tmp}/sst-XXXXXX")
declare -A pid=() port=() pin=() secret=()
started=() # every pid that was ever started
undo=()    # commands for the end, last first
unset SCISTREAM_GATEWAY SCISTREAM_SECRET_FILE SCISTREAM_TICKET_FILE NOTIFY_SOCKET
export HOME=$tmp XDG_CONFIG_HOME=$tmp/config XDG_RUNTIME_DIR=$tmp/run

# ------------------------------------------------------------ outcome

fail() { echo "FAILED: $* (line$(printf ' %s' "${BASH_LINENO[@]}"))" >&2; exit 1; }
skip() { echo "skipped: $*" >&2; exit 77; }
step() { printf '%(%T)T  %s\n' -1 "$*"; }

# requires REASON COMMAND...
requires() { local reason=$1; shift; "$@" >/dev/null 2>&1 || skip "$reason"; }
requires_root() { [ "$(id -u)" = 0 ] || skip "only root can ${1:-do this}"; }
requires_program() { for p; do command -v "$p" >/dev/null || skip "there is no program $p"; done; }
requires_python() { for m; do requires "$python has no module $m" $python -c "import $m"; done; }
requires_ucx() { requires "built without ucx" grep -q '^#define WITH_UCX 1' "$builddir/config.h"; }
requires_rdma() { [ $rdma = verbs ] || requires_ucx; }

# A test that is to show something of verbs has to use it.
took_verbs=no
note_verbs() { [ $took_verbs = yes ] || [ "${SST_RDMA:-}" != verbs ] || ! grep -aqsE ' by verbs on |"transport":"verbs"' "$@" || took_verbs=yes; }
verbs_was_taken()
{
    note_verbs "$tmp"/*.err "$tmp"/*.out
    [ "${SST_RDMA:-}" != verbs ] || [ $took_verbs = yes ] || { echo "FAILED: no stream has taken verbs" >&2; return 1; }
}

sanitized() { grep -q '^#define WITH_SANITIZER 1' "$builddir/config.h"; }
slow=${SST_SLOW:-1} # what a time limit is multiplied by; an emulated machine says how slow it is
! sanitized || slow=$((slow * 4))

show_logs()
{
    grep -aE -A 12 'Assertion|ERROR: |runtime error' "$tmp"/*.err | cut -c 1-400
    for f in "$tmp"/[!i]*.err "$tmp"/[!i]*.out; do
        grep -qI . "$f" 2>/dev/null && { echo "--- ${f##*/}"; tail -n 20 "$f" | cut -c 1-400; }
    done
}

kill_tree() { local kids; kids=$(pgrep -P "$1"); kill -9 "$1" $kids; wait "$1"; } 2>/dev/null

# Let everything end by itself, since leaks are found at the end; complaints of a sanitizer in what any process said are a failure.
sanitizers_agree()
{
    kill -TERM "${started[@]}" 2>/dev/null
    sleep 0.1
    kill -TERM "${started[@]}" 2>/dev/null
    within 2 eval '! kill -0 "${started[@]}"'
    ! grep -alE 'ERROR: (Address|Leak)Sanitizer|runtime error: ' "$tmp"/*.err
}

clean_up()
{
    local status=$? i
    trap - EXIT
    [ $status != 0 ] || ! sanitized || [ ${#started[@]} = 0 ] || sanitizers_agree || status=1
    for i in "${started[@]}"; do kill_tree "$i"; done
    [ $status != 0 ] || verbs_was_taken || status=1
    for ((i = ${#undo[@]} - 1; i >= 0; i--)); do eval "${undo[i]}"; done
    [ $status = 0 ] || [ $status = 77 ] || show_logs >&2
    rm -rf "$tmp"
    exit $status
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

# ------------------------------------------------------------ waiting

now_ms() { local t=${EPOCHREALTIME/./}; echo "${t%???}"; }
exec {never}<> <(:) # a pipe that stays empty: a pause without a process

# within SECONDS COMMAND...: poll until it succeeds; status 1 when it did not. A look that takes long is rare, or it would be what all others wait for.
within()
{
    local end=$((${EPOCHREALTIME/./} + $1 * slow * 1000000)) begun took pause
    shift
    while begun=${EPOCHREALTIME/./}; ! "$@" >/dev/null 2>&1; do
        took=$((${EPOCHREALTIME/./} - begun))
        [ ${EPOCHREALTIME/./} -lt $end ] || return 1
        [ $took -gt $((20000 * slow)) ] || took=$((20000 * slow))
        printf -v pause %d.%06d $((took / 1000000)) $((took % 1000000))
        read -rt $pause -u $never || :
    done
}
wait_for() { within "$@" || fail "not within $1 s: ${*:2}"; }
wait_until() { local s=$1; shift; wait_for "$s" eval "$*"; } # wait_until SECONDS 'shell condition'
said() { grep -qE -- "$2" "$tmp/$1.err"; }
wait_said() { within "${3:-10}" said "$1" "$2" || fail "$1 did not say '$2'"; }
alive() { kill -0 "${pid[$1]}" 2>/dev/null; }
gone() { ! alive "$1"; }

# ------------------------------------------------------------ processes

# start NAME COMMAND...: in the background; standard input from the file $input.
start()
{
    local name=$1
    shift
    note_verbs "$tmp/$name.err" "$tmp/$name.out"
    rm -f "$tmp/$name.out" "$tmp/$name.err" # nobody must read what the one before it said
    : >"$tmp/$name.out" 2>"$tmp/$name.err"
    "$@" <"${input:-/dev/null}" >"$tmp/$name.out" 2>"$tmp/$name.err" &
    pid[$name]=$!
    started+=($!)
}

# finish NAME [SECONDS]: wait for its end; its exit code is in $status.
finish()
{
    within "${2:-15}" gone "$1" || fail "$1 has not ended after ${2:-15} s"
    wait "${pid[$1]}" && status=0 || status=$?
}

# ends NAME CODE [SECONDS [PATTERN]]: it ends in time with this exit code (137: kill -9) and says so on stderr.
ends()
{
    finish "$1" "${3:-15}"
    [ $status = "$2" ] || fail "$1 exited with $status instead of $2: $(tail -n 3 "$tmp/$1.err")"
    [ -z "${4:-}" ] || said "$1" "$4" || fail "$1 did not say '$4' but: $(tail -n 3 "$tmp/$1.err")"
}

# run NAME CODE COMMAND...: in the foreground, with that exit code.
run()
{
    local name=$1 code=$2
    shift 2
    start "$name" "$@"
    ends "$name" "$code" 30
}
says() { said "$1" "$2" || fail "$1 did not say '$2' but: $(cat "$tmp/$1.err")"; }

# Without huge pages that the kernel makes of sparse memory when it likes to (khugepaged).
rss_kib() { awk '/^VmRSS/ { n += $2 } /^AnonHugePages/ { n -= $2 } END { print n }' "/proc/$1/status" "/proc/$1/smaps_rollup" 2>/dev/null; }
fd_count() { local f=("/proc/$1/fd/"*); echo ${#f[@]}; }

# ------------------------------------------------------------ ports, data, JSON

port_busy() { awk '$4 == "0A" { n = split($2, a, ":"); print a[n] }' /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -qxF "$(printf '%04X\n' "$@")"; }

# take_ports: sets $base, the first of 16 ports below the ephemeral range that nobody uses and no other test will take.
take_ports()
{
    local locks try fd
    locks=${TMPDIR:-/tmp}/scistream-test-ports.$(id -u)
    mkdir -p "$locks"
    for ((try = 0; try < 200; try++)); do
        base=$((12000 + 16 * (RANDOM % 1200)))
        exec {fd}>"$locks/$base"
        if flock -n $fd && ! port_busy $(seq $base $((base + 15))); then
            return 0 # the lock goes with the test and its processes
        fi
        exec {fd}>&-
    done
    fail "no free ports"
}

# make_data SIZE [SEED]: that many bytes on standard output, the same for the same seed.
make_data() { openssl enc -aes-128-ctr -nosalt -K "$(printf %032x "${2:-1}")" -iv 0 </dev/zero 2>/dev/null | head -c "$1"; }
digest_of() { xxh128sum "$@" 2>/dev/null | sed 's/ .*//'; }
# json FILE EXPRESSION: of the object d in it
json() { $python -ISc 'import json,sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }
same() { cmp "$1" "$2" >/dev/null || fail "${2##*/} differs from ${1##*/}: $(cmp "$1" "$2" 2>&1)"; }

# ------------------------------------------------------------ gateways

# What the side that faces the utilities speaks: ucx on the loopback device, or with SST_RDMA=verbs verbs, on a machine that has RDMA devices
# at two addresses, $RDMA_HERE and $RDMA_THERE. Then every utility that is not told otherwise requires it.
rdma=${SST_RDMA:-ucx}
if [ $rdma = verbs ]; then
    requires "no RDMA devices: run it by tests/vm/run" test -n "${RDMA_THERE:-}"
    rdma_at=$RDMA_THERE rdma_device='(rxe|siw)[01]:1' rdma_security='unencrypted, (RoCE v2, GID [0-9]+, MTU [0-9]+|iWARP).*'
    ucx_section='' verbs_section="rdma { listen = \"$RDMA_THERE\" }"
else
    rdma_at=127.0.0.1 rdma_device=lo rdma_security=unencrypted ucx_section='ucx { devices = {"lo"} }' verbs_section=''
fi
gateway_defaults='workers = 2'
rdma_transports="\"$rdma\", \"link\""

# new_gateway NAME: key, certificate, secret and a configuration without routes in $tmp/NAME. $global: further options of it.
new_gateway()
{
    local g=$1 dir=$tmp/$1
    "$builddir/scistreamd" --init "$dir" --name localhost >"$tmp/init-$g.out" 2>"$tmp/init-$g.err" || fail "--init: $(cat "$tmp/init-$g.err")"
    pin[$g]=$(grep -o -m 1 'sha256:[0-9a-f]*' "$tmp/init-$g.out" | head -n 1)
    secret[$g]=$dir/secret
    take_ports
    port[$g]=$base
    cat >"$dir/conf" <<END
name = "$g"
listen = "127.0.0.1:$base"
link_ports = "$((base + 1))-$((base + 8))"
metrics = "127.0.0.1:$((base + 9))"
control_socket = "$dir/sock"
certificate = "$dir/gateway.crt"
key = "$dir/gateway.key"
user = "root"
log_target = "stderr"
$gateway_defaults
${global:-}
$ucx_section
$verbs_section
END
}

# add_route NAME ROUTE [OTHER]: receivers attach to it, or it goes on to the same route of gateway OTHER. $route: further options of it.
add_route()
{
    local how="deliver = {$rdma_transports}"
    [ -z "${3:-}" ] || how="connect = \"gateway://127.0.0.1:${port[$3]}/$2\"  connect_secret_file = \"$tmp/$3/secret\"
    connect_pin = {\"${pin[$3]}\"}"
    cat >>"$tmp/$1/conf" <<END
route "$2" {
    accept = {$rdma_transports}  secret_file = "$tmp/$1/secret"  channels = 16
    $how
    ${route:-}
}
END
}

# start_gateway NAME [OPTIONS]; again after its end, too.
start_gateway()
{
    start "$1" "$builddir/scistreamd" -c "$tmp/$1/conf" "${@:2}"
    within 20 eval "said $1 ' is ready: ' || gone $1" && said "$1" ' is ready: ' || fail "gateway $1 does not start: $(cat "$tmp/$1.err")"
}

# start_gateway_pair ROUTE...: A takes streams and sends them on to B, where receivers attach.
start_gateway_pair()
{
    local r
    new_gateway B
    new_gateway A
    for r; do
        add_route B "$r"
        add_route A "$r" B
    done
    start_gateway B
    start_gateway A
}

stop_gateway() { kill "${pid[$1]}"; ends "$1" 0 20; }
workers_of() { pgrep -P "${pid[$1]}" -x scistream-work | sort -n; }
# scrape GATEWAY: its metrics, on standard output
scrape() { curl -sS --max-time $((10 * slow)) "http://127.0.0.1:$((port[$1] + 9))/metrics"; }
# metric FILE NAME [LABELS]: its value, in a page that was scraped; LABELS as they stand there: 'route="x",for="sink"'
metric() { awk -v name="$2${3:+{$3\}}" '$1 == name { print $2; found = 1 } END { exit !found }' "$1"; }
log_has() { wait_said "$1" "$2" 5; }

# ------------------------------------------------------------ applications' TCP connections

# new_tcp_gateway NAME: as new_gateway, without RDMA; the ports from ${port[NAME]} + 10 to + 15 are for the test.
new_tcp_gateway() { local ucx_section='' verbs_section=''; new_gateway "$1"; }

# add_tcp_route NAME ROUTE ACCEPT CONNECT: whoever comes by ACCEPT (tcp://ADDRESS:PORT or transports, several in one word) reaches CONNECT:
# tcp://ADDRESS:PORT, or the same route of the gateway of that name by a link, or receivers who attach (-). $route: further options of it.
add_tcp_route()
{
    local how="connect = \"$4\"" secret="secret_file = \"$tmp/$1/secret\""
    case $4 in
        -) how="deliver = {$rdma_transports}" ;;
        tcp://*) [[ $3 != tcp://* || $3 == *\ * ]] || secret='' ;;
        *)
            how="connect = \"gateway://127.0.0.1:${port[$4]}/$2\"  connect_secret_file = \"$tmp/$4/secret\"
    connect_pin = {\"${pin[$4]}\"}"
            ;;
    esac
    cat >>"$tmp/$1/conf" <<END
route "$2" {
    accept = {"${3// /\", \"}"}
    $how
    $secret
    channels = 64
    ${route:-}
}
END
}

# start_tcp_gateway NAME: connections to 127.0.0.1:$door go to 127.0.0.1:$behind by its route "app".
start_tcp_gateway()
{
    new_tcp_gateway "$1"
    door=$((port[$1] + 10)) behind=$((port[$1] + 11))
    add_tcp_route "$1" app tcp://127.0.0.1:$door tcp://127.0.0.1:$behind
    start_gateway "$1"
}

# start_tcp_pair: the same through two gateways: A, where applications connect, a link, B.
start_tcp_pair()
{
    new_tcp_gateway B
    new_tcp_gateway A
    door=$((port[A] + 10)) behind=$((port[A] + 11))
    add_tcp_route B app link tcp://127.0.0.1:$behind
    add_tcp_route A app tcp://127.0.0.1:$door B
    start_gateway B
    start_gateway A
}

# ------------------------------------------------------------ streams

# to GATEWAY/ROUTE [OPTIONS]: sets the array $to, what a utility that gets these options needs for it.
to()
{
    local g=${1%%/*}
    to=(--secret-file "${secret[$g]}" --pin "${pin[$g]}" "gateway://127.0.0.1:${port[$g]}/${1#*/}")
    [ $rdma != verbs ] || [[ " ${*:2} " == *\ --transport\ * || " ${*:2} " == *\ --require\ * ]] || to+=(--require verbs)
}
start_send() { local to; to "${@:2}"; start "$1" "$builddir/scistream-send" "${to[@]}" "${@:3}"; }
start_recv() { local to; to "${@:2}"; start "$1" "$builddir/scistream-recv" "${to[@]}" "${@:3}"; }
# send CODE GATEWAY/ROUTE [OPTIONS] [FILES] and recv: in the foreground, names "send" and "recv"
send() { local code=$1 to; shift; to "$@"; run send "$code" "$builddir/scistream-send" "${to[@]}" "${@:2}"; }
recv() { local code=$1 to; shift; to "$@"; run recv "$code" "$builddir/scistream-recv" "${to[@]}" "${@:2}"; }
ctl() { "$builddir/scistreamctl" --socket "$tmp/$1/sock" "${@:2}"; }

# stream FILE FROM TO [OPTIONS]: FILE goes in at gateway/route FROM and must come out at TO, confirmed. Reports in send.json, recv.json.
stream()
{
    local file=$1 from=$2 at=$3
    shift 3
    rm -f "$tmp/stream.dat"
    start_recv recv "$at" --report json "$@" -o "$tmp/stream.dat"
    start_send send "$from" --report json "$@" "$file"
    ends send 0 60
    ends recv 0 15
    same "$file" "$tmp/stream.dat"
    cp "$tmp/send.out" "$tmp/send.json"
    cp "$tmp/recv.out" "$tmp/recv.json"
}

# idle GATEWAY: no session is left
idle() { ctl "$1" sessions 2>/dev/null | grep -qx 'no sessions'; }
# flowing GATEWAY [BYTES]: a channel of it has moved that many
flowing()
{
    local told
    told=$(ctl "$1" sessions --json 2>/dev/null)
    while [[ $told =~ \"state\":\"flowing\",[^{}]*\"bytes_out\":([0-9]+)(.*) ]]; do
        [ "${BASH_REMATCH[1]}" -lt "${2:-1}" ] || return 0
        told=${BASH_REMATCH[2]}
    done
    return 1
}
