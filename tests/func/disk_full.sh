#!/bin/bash
# The receiver's disk is full, or its quota of file size: it says so, the sender is told so, and no file gets its name.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_rdma
start_gateway_pair detector
make_data 6000000 >"$tmp/in"
host=$(hostname)

step "the largest file that may be written (ulimit -f)"
to B/detector
start recv bash -c 'ulimit -f 2000; trap "" XFSZ; exec "$@"' - "$builddir/scistream-recv" "${to[@]}" --window 1M -o "$tmp/out"
start_send send A/detector "$tmp/in"
ends recv 74 10 'cannot write .*/out.part: File too large'
ends send 76 10 "aborted by the other side: scistream-recv on $host: cannot write .*/out.part: File too large"
[ ! -e "$tmp/out" ] || fail "a broken stream has the name of a whole one"

requires_root "mount a small disk"
mkdir "$tmp/disk"
requires "tmpfs cannot be mounted" mount -t tmpfs -o size=3M none "$tmp/disk"
undo+=("umount '$tmp/disk'")
for transport in $rdma link; do
    step "a disk of 3 MB, by $transport"
    start_recv recv B/detector --transport $transport -o "$tmp/disk/out"
    start_send send A/detector --transport $transport "$tmp/in"
    ends recv 74 10 'cannot write .*/out.part: No space left on device'
    says recv 'what arrived is kept in .*/out.part'
    ends send 76 10 "aborted by the other side: scistream-recv on $host: cannot write .*/out.part: No space left on device"
    [ ! -e "$tmp/disk/out" ] || fail "a broken stream has the name of a whole one"
    rm "$tmp/disk/out.part"
    head -c 2000000 "$tmp/in" >"$tmp/less"
    start_recv recv B/detector -o "$tmp/disk/out"
    send 0 A/detector "$tmp/less"
    ends recv 0
    same "$tmp/less" "$tmp/disk/out"
    rm "$tmp/disk/out"
done
