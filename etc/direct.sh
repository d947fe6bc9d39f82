#!/bin/bash
# Direct mode, without a gateway: two machines, one file.
#   on the receiving machine   direct.sh receive 10.0.0.5:6000 run.h5     its own address; prints what the sender needs
#   on the sending machine     direct.sh send direct://10.0.0.5:6000 sha256:... run.h5
# The first start of a receiver makes the secret, ~/.config/scistream/secret: copy it to the same place, mode 600, on the other machine.
# For RDMA name the receiver's device: DEVICE=ib0 direct.sh receive ... (REQUIRE=verbs: fail instead of taking TCP).
set -eu
usage() { sed -n '2,4s/^# *//p' "$0" >&2; exit 64; }
[ $# -ge 3 ] || usage
options=()
[ -z "${DEVICE:-}" ] || options+=(--device "$DEVICE")
[ -z "${REQUIRE:-}" ] || options+=(--require "$REQUIRE")
case $1 in
receive) exec scistream-recv "${options[@]}" --listen "$2" -o "$3" ;;
send) [ $# = 4 ] || usage; exec scistream-send "${options[@]}" --pin "$3" "$2" "$4" ;;
*) usage ;;
esac
