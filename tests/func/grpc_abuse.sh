#!/bin/sh
# Floods, garbage and silence against our gRPC server; a good client must be served throughout.
python=/usr/bin/python3
[ -x $python ] || { echo "skipped: no $python"; exit 77; }
command -v openssl >/dev/null || { echo "skipped: no openssl program for the certificate"; exit 77; }
PYTHONDONTWRITEBYTECODE=1 exec timeout 300 $python "$(dirname "$0")/grpc_abuse.py" "$@"
