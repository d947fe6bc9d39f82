#!/bin/sh
# gRPC's own client against our server, and our client against gRPC's own server. The distribution's Python has python3-grpcio;
# another one on PATH may not.
python=/usr/bin/python3
$python -c 'import grpc' 2>/dev/null || { echo "skipped: $python has no module grpc (Debian: python3-grpcio)"; exit 77; }
command -v openssl >/dev/null || { echo "skipped: no openssl program for the certificate"; exit 77; }
export PYTHONDONTWRITEBYTECODE=1
timeout 300 $python "$(dirname "$0")/grpc_interop.py" "$@" && timeout 300 $python "$(dirname "$0")/grpc_foreign.py" "$@"
