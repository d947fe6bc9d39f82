# Sourced by the tests of verbs after tests/lib/functions.sh: a gateway with one worker, G, and a stream through it that must go on whatever
# happens beside it. Needs RDMA devices on two addresses, $RDMA_HERE and $RDMA_THERE: the guest of tests/vm/run.
requires "no RDMA devices: run it by tests/vm/run" test -n "${RDMA_HERE:-}"
gateway_defaults='workers = 1' rdma_transports='"verbs"' ucx_section=
[ -e /sys/class/infiniband/siw0 ] && kind=siw || kind=rxe

resources() { rdma resource show 2>/dev/null | sed 's/^[0-9]*: //; s/ctx.*//' | sort; } # a device that comes back has another number

# What the gateway said since the last mark.
marked=0
mark() { marked=$(wc -l <"$tmp/G.err"); }
since() { tail -n +$((marked + 1)) "$tmp/G.err"; }
logged() { since | grep -qE -- "$1"; }

# What did not go as it should is noted, and the next has its turn.
wrong=()
note() { step "WRONG: $1: $2"; wrong+=("$1"); }
# ended SECONDS NAME: as finish, but one that does not end is noted, with where it is, and killed
ended()
{
    within $1 gone $2 || { note "$2" "not ended after $1 s: $(cat "/proc/${pid[$2]}/wchan" "/proc/${pid[$2]}"/task/*/stack; ctl G sessions)"; kill -9 "${pid[$2]}"; }
    finish $2
}
all_right() { [ ${#wrong[@]} = 0 ] || fail "not as it should be: $(printf '%s; ' "${wrong[@]}")"; }

# start_victim ROUTE TRANSPORT SENDER: a stream of blocks until $tmp/stop is there
start_victim()
{
    local to
    make_data 100000 >"$tmp/block"
    to G/$1
    to+=(--channel 0 --require $2 --report none)
    start victim "$builddir/scistream-recv" "${to[@]}" -o "$tmp/victim.dat"
    input=<(endless) start source "$3" "${to[@]}"
    wait_until 30 '[ $(victim_bytes) -gt 0 ]'
}
endless() { while [ -e "$tmp/block" ] && [ ! -e "$tmp/stop" ]; do cat "$tmp/block"; sleep 0.2; done | tee "$tmp/sent"; }
victim_bytes() { stat -c %s "$tmp/victim.dat.part" 2>/dev/null || echo 0; }
goes_on() { local had; had=$(victim_bytes); within 30 eval "[ \$(victim_bytes) -gt $had ]" || fail "the stream beside stands still"; }
victim_ends()
{
    : >"$tmp/stop"
    ends source 0 60
    ends victim 0
    same "$tmp/sent" "$tmp/victim.dat"
}
alone() { [ "$(ctl G sessions --json | $python -c 'import json, sys; print(sum(len(s["channels"]) for s in json.load(sys.stdin)["sessions"]))')" = 1 ]; }

# stream_beside [OPTIONS OF BOTH]: a small stream over channel 1 of route stream arrives
stream_beside()
{
    local to
    to G/stream
    to+=(--channel 1 --require verbs --report none "$@")
    rm -f "$tmp/beside.dat"
    start beside_recv "$builddir/scistream-recv" "${to[@]}" -o "$tmp/beside.dat"
    start beside_send "$builddir/scistream-send" "${to[@]}" "$tmp/block"
    ends beside_send 0 60
    ends beside_recv 0
    same "$tmp/block" "$tmp/beside.dat"
}

# The interfaces below the two devices.
here=$(ip -o addr show | awk -v a="$RDMA_HERE" 'index($4, a "/") == 1 { print $2 }')
there=$(ip -o addr show | awk -v a="$RDMA_THERE" 'index($4, a "/") == 1 { print $2 }')

# The guest's routes across the wire go with the link.
wire_up()
{
    ip link set $here up
    ip link set $there up
    ip route replace "$RDMA_HERE" dev $there src "$RDMA_THERE" table "1${RDMA_HERE//./}"
    ip route replace "$RDMA_THERE" dev $here src "$RDMA_HERE" table "1${RDMA_THERE//./}"
    ip neigh replace "$RDMA_HERE" lladdr "$(cat /sys/class/net/$here/address)" dev $there nud permanent
    ip neigh replace "$RDMA_THERE" lladdr "$(cat /sys/class/net/$there/address)" dev $here nud permanent
}
