#!/bin/bash
# Rings in 2 MiB pages of the kernel's reserve, registered and streamed through by verbs; and what happens when the reserve is used up.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires "no RDMA devices: run it by tests/vm/run" test -n "${RDMA_HERE:-}"
requires_root "raise vm.nr_hugepages"
reserve=/proc/sys/vm/nr_hugepages
old=$(cat $reserve)
undo+=("echo $old >$reserve")
echo 64 >$reserve
[ "$(cat $reserve)" -ge 16 ] || skip "the kernel gives no 2 MiB pages"
rdma_transports='"verbs", "link"'
ucx_section=
global="rdma { listen = \"$RDMA_THERE\" }"
gateway_defaults='workers = 1'
free_pages() { awk '/^HugePages_Free/ { f = $2 } /^HugePages_Rsvd/ { r = $2 } END { print f - r }' /proc/meminfo; }
make_data 30000000 >"$tmp/in"
all=$(free_pages)

step "huge_pages = yes: a stream by verbs through a ring of 8 MiB"
new_gateway A
route='window = 8M' add_route A r
start_gateway A -o huge_pages=yes
start_recv recv A/r --require verbs --report json -o "$tmp/out"
start_send send A/r --require verbs --report json --rate 100Mbit "$tmp/in"
wait_until 30 '[ -s "$tmp/out.part" ]' || fail "no bytes come"
views=$(grep -c '^KernelPageSize: *2048 kB' "/proc/$(workers_of A)/smaps") # a ring is mapped twice
[ "$views" = 2 ] || fail "$views mappings in pages of 2 MiB: $(cat "/proc/$(workers_of A)/maps")"
[ "$(free_pages)" -le $((all - 4)) ] || fail "no page was taken: $(free_pages) of $all are free"
ends send 0 60
ends recv 0 30
same "$tmp/in" "$tmp/out"
wait_for 10 idle A
wait_until 10 '[ "$(free_pages)" = "$all" ]' || fail "pages are not given back: $(free_pages) of $all"

step "no page is left: refused with yes, small pages with auto"
echo 0 >$reserve
start_recv recv A/r --require verbs --report none -o "$tmp/out"
start_send send A/r --require verbs --report none "$tmp/in"
finish send 60
[ $status != 0 ] || fail "a stream without a ring"
finish recv 60
cat "$tmp/send.err" "$tmp/recv.err"
stop_gateway A
start_gateway A -o huge_pages=auto
stream "$tmp/in" A/r A/r --require verbs
stop_gateway A
