#!/bin/sh
# Our resolver against a name server of the test's own, on port 53 of a namespace where resolv.conf and hosts say so.
python=/usr/bin/python3
[ -x $python ] || { echo "skipped: no $python"; exit 77; }
for tool in unshare ip mount; do
    command -v $tool >/dev/null || { echo "skipped: no program $tool"; exit 77; }
done
if [ "$1" != inside ]; then
    unshare -rmn true 2>/dev/null || { echo "skipped: namespaces are not allowed here"; exit 77; }
    exec timeout 120 unshare -rmn sh "$0" inside
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
echo "nameserver 127.0.0.1" >"$dir/resolv.conf"
echo "127.0.0.1 localhost" >"$dir/hosts"
ip link set lo up && mount --bind "$dir/resolv.conf" /etc/resolv.conf && mount --bind "$dir/hosts" /etc/hosts ||
    { echo "skipped: /etc/resolv.conf cannot be replaced here"; exit 77; }
PYTHONDONTWRITEBYTECODE=1 $python "$(dirname "$0")/resolve.py"
