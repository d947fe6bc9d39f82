#!/bin/bash
# The service manager's notification protocol, sd_notify(3): READY=1 when the gateway serves, not before; RELOADING=1 with the time, and READY=1
# again, around a reload, whether it is taken or not; STOPPING=1 when it begins to stop.
. "${srcdir:-$(dirname "$0")/../..}/tests/lib/functions.sh"
requires_python socket
new_gateway A
add_route A detector

cat >"$tmp/manager.py" <<'END'
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace("@", "\0", 1))
print("bound", flush=True)
while True:
    print(s.recv(4096).decode(), flush=True)
END

for socket in "$tmp/notify" "@scistream-test-$$"; do
    step "socket $socket"
    start manager $python "$tmp/manager.py" "$socket"
    wait_until 10 "grep -q bound '$tmp/manager.out'"
    NOTIFY_SOCKET=$socket start A "$builddir/scistreamd" -c "$tmp/A/conf"
    wait_until 10 "grep -qx READY=1 '$tmp/manager.out'"
    ctl A info >/dev/null || fail "ready, but it does not serve"
    ! grep -q STOPPING "$tmp/manager.out" || fail "it stops"
    before=$(cut -d ' ' -f 1 /proc/uptime | tr -d .)0000 # microseconds
    kill -HUP "${pid[A]}"
    wait_until 5 "[ \$(grep -cx READY=1 '$tmp/manager.out') = 2 ]"
    told=$(sed -n 's/^MONOTONIC_USEC=//p' "$tmp/manager.out")
    [ "$told" -ge "$before" ] && [ "$told" -le $((before + 60000000)) ] || fail "reloading at $told, it was asked at $before"
    echo nonsense >>"$tmp/A/conf"
    kill -HUP "${pid[A]}"
    wait_until 5 "[ \$(grep -cx READY=1 '$tmp/manager.out') = 3 ]"
    sed -i '$d' "$tmp/A/conf"
    kill "${pid[A]}"
    ends A 0
    wait_until 5 "grep -qx STOPPING=1 '$tmp/manager.out'"
    [ "$(sed '/^MONOTONIC_USEC=[0-9]*$/d' "$tmp/manager.out" | tr '\n' ' ')" = "bound READY=1 RELOADING=1 READY=1 RELOADING=1 READY=1 STOPPING=1 " ] || fail "messages: $(cat "$tmp/manager.out")"
    kill -9 "${pid[manager]}"
    finish manager
done

step "a gateway that cannot start does not say that it is ready; a manager that is gone does not matter"
start manager $python "$tmp/manager.py" "$tmp/notify2"
wait_until 10 "grep -q bound '$tmp/manager.out'"
NOTIFY_SOCKET=$tmp/notify2 run A 78 "$builddir/scistreamd" -c "$tmp/A/conf" -o ucx.devices=no-such-device
! grep -q READY "$tmp/manager.out" || fail "ready?"
NOTIFY_SOCKET=$tmp/nowhere start_gateway A
stop_gateway A
