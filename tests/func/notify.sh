#!/bin/bash
# The service manager's notification protocol, sd_notify(3): READY=1 when the gateway serves, not before; STOPPING=1 when it begins to stop.
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
    kill "${pid[A]}"
    ends A 0
    wait_until 5 "grep -qx STOPPING=1 '$tmp/manager.out'"
    [ "$(tr '\n' ' ' <"$tmp/manager.out")" = "bound READY=1 STOPPING=1 " ] || fail "messages: $(cat "$tmp/manager.out")"
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
