# Sourced by the tests of unchanged applications: those that connect to 127.0.0.1:$door reach 127.0.0.1:$behind, both set by the test, and what arrives is
# what was sent. iperf3 (also -R, --bidir, -P 8), curl (downloads, uploads, keep-alive) and ZeroMQ PUB/SUB and REQ/REP.
requires_program iperf3 curl
requires_python zmq
apps=$srcdir/tests/func/tcp_apps.py
listens() { port_busy "$1"; }

# iperf TITLE OPTIONS: status 1 when a stream of it had no bytes
iperf()
{
    local title=$1 told
    shift
    start iperf-server iperf3 -s -1 -p $behind
    wait_for 10 listens $behind
    run iperf 0 timeout $((20 * slow)) iperf3 -c 127.0.0.1 -p $door -J "$@"
    ends iperf-server 0
    told=$(json "$tmp/iperf.out" '"%s %.1f Gbit/s" % (min(s["bytes"] > 0 for i in d["end"]["streams"] for s in i.values() if isinstance(s, dict)),
        sum(v["bits_per_second"] for k, v in d["end"].items() if k.startswith("sum_received")) / 1e9)')
    step "    iperf3 $title: ${told#* }"
    [[ $told == True* ]]
}

# fetch NAME CURL_ARGUMENTS...
fetch() { run "$1" 0 timeout $((30 * slow)) curl -sS --fail --noproxy '*' "${@:2}"; }

web()
{
    start web $python "$apps" http $behind
    wait_for 10 listens $behind
    fetch get "http://127.0.0.1:$door/104857600"
    same "$tmp/big" "$tmp/get.out"
    fetch put -T "$tmp/big" "http://127.0.0.1:$door/"
    [ "$(cat "$tmp/put.out")" = "$sha" ] || fail "the upload arrived as $(cat "$tmp/put.out") instead of $sha"
    fetch keep -o "$tmp/1" -o "$tmp/2" -o "$tmp/3" -w '%{num_connects} ' "http://127.0.0.1:$door/70000/a" "http://127.0.0.1:$door/0" \
        "http://127.0.0.1:$door/1000000/b"
    [ "$(cat "$tmp/keep.out")" = '1 0 0 ' ] || fail "connections made for three requests: $(cat "$tmp/keep.out")"
    same "$tmp/three" <(cat "$tmp/1" "$tmp/2" "$tmp/3")
    fetch many -Z --parallel-max 16 -o "$tmp/many#1" "http://127.0.0.1:$door/3000000/[1-32]"
    for i in 1 17 32; do same "$tmp/many$i" <($python "$apps" bytes 3000000 $i); done
    kill "${pid[web]}"
    finish web
    step "    curl: 100 MB each way, three requests by one connection, 32 at once"
}

zeromq()
{
    mkfifo "$tmp/until.$1"
    input=$tmp/until.$1 start publish $python "$apps" publish $behind
    exec {hold}>"$tmp/until.$1"
    run subscribe 0 timeout $((30 * slow)) $python "$apps" subscribe $door 3000
    exec {hold}>&-
    ends publish 0
    start replier $python "$apps" reply $behind
    run requester 0 timeout $((30 * slow)) $python "$apps" request $door 300
    ends replier 0
    step "    ZeroMQ: $(cat "$tmp/subscribe.out"), $(cat "$tmp/requester.out")"
}

all()
{
    iperf "" -n 300M || fail "no bytes"
    iperf -R -n 300M -R || fail "no bytes"
    # its server knows the two connections by the order in which they come, which a relay with more than one thread does not keep always;
    # when they come the other way round, both ends only send
    iperf --bidir -t 1 --bidir || iperf --bidir -t 1 --bidir || iperf --bidir -t 1 --bidir || iperf --bidir -t 1 --bidir || fail "no bytes"
    iperf '-P 8' -n 300M -P 8 || fail "no bytes"
    web
    zeromq "$1"
}

$python "$apps" bytes 104857600 >"$tmp/big"
sha=$(sha256sum <"$tmp/big") sha=${sha%% *}
{ $python "$apps" bytes 70000 a; $python "$apps" bytes 1000000 b; } >"$tmp/three"
