#!/bin/bash
# SIGSTOP of a gateway's control process: its neighbour notices within peer_timeout (2 s here) and tells the utility beyond; the utility
# at the stopped one notices by itself, in 10 s. Woken again, it finds its channel gone and serves on, by the same workers: that they said
# nothing was its own pause.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
make_data 3000000 >"$tmp/in"

# Both cases at once, each with a pair of its own: A of the first and B of the second is stopped.
declare -A stop=([1]=A [2]=B) near=([1]=send [2]=recv) far=([1]=recv [2]=send)
gateway_defaults='workers = 1
peer_timeout = 2s'
for i in 1 2; do
    new_gateway B$i
    new_gateway A$i
    add_route B$i detector
    add_route A$i detector B$i
    start_gateway B$i
    start_gateway A$i
    input=<(cat "$tmp/in"; sleep 60) start_send send$i A$i/detector
    start_recv recv$i B$i/detector -o "$tmp/out$i"
    wait_for 10 flowing B$i 3000000
done
workers=()
for i in 1 2; do workers[$i]=$(workers_of ${stop[$i]}$i); done
begin=$(now_ms)
for i in 1 2; do kill -STOP "${pid[${stop[$i]}$i]}"; done

# told NAME CODES LEAST MOST
told()
{
    finish "$1" 20
    local took=$(($(now_ms) - begin))
    [[ $status =~ ^($2)$ ]] || fail "$1 exits with $status: $(cat "$tmp/$1.err")"
    step "$1 after $took ms: $(grep -v 'waiting\|kept' "$tmp/$1.err" | head -n 1)"
    [ $took -ge $3 ] && [ $took -le $(($4 * slow)) ] || fail "between $3 and $4 ms were expected"
}
for i in 1 2; do told ${far[$i]}$i '69|76' 1000 4500; done
for i in 1 2; do told ${near[$i]}$i '69' 5000 13000; done

for i in 1 2; do
    kill -CONT "${pid[${stop[$i]}$i]}"
    for g in A$i B$i; do wait_for 10 idle $g; done
    start_recv recv B$i/detector --retry 10s -o "$tmp/out"
    start_send send A$i/detector --retry 10s "$tmp/in"
    ends send 0 20
    ends recv 0
    same "$tmp/in" "$tmp/out"
    rm -f "$tmp/out"*
    [ "$(workers_of ${stop[$i]}$i)" = "${workers[$i]}" ] || fail "its workers were killed: $(cat "$tmp/${stop[$i]}$i.err")"
done
