"""A watcher that does not read: watch_slow.py SOCKET SECONDS. It lets nothing come for that long, then reads, and is told how much was left out.
Frames are made by hand: libraries read ahead."""
import socket
import struct
import sys
import time

DATA, HEADERS, SETTINGS, PING, WINDOW = 0, 1, 4, 6, 8


def frame(kind, flags=0, stream=0, body=b""):
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def literal(index, value):
    head = bytes([index]) if index < 15 else bytes([15, index - 15])
    return head + bytes([len(value)]) + value


s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
headers = b"\x83\x86" + literal(4, b"/scistream.gateway.v1.Gateway/Watch") + literal(1, b"x") + literal(31, b"application/grpc")
s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)) + frame(HEADERS, 4, 1, headers) +
          frame(DATA, 1, 1, b"\0" + struct.pack(">I", 2) + b"\x10\x14"))  # interval_ms = 20
rest, body, events = b"", b"", 0
opened = time.monotonic() + float(sys.argv[2])
end = opened + 20


def receive():
    """Reads what is there and answers PINGs; False: the server closed."""
    global rest, body
    s.settimeout(0.1)
    try:
        data = s.recv(65536)
    except socket.timeout:
        return True
    rest += data
    while len(rest) >= 9 and len(rest) >= 9 + int.from_bytes(rest[:3], "big"):
        n, kind, flags = int.from_bytes(rest[:3], "big"), rest[3], rest[4]
        if kind == DATA:
            body += rest[9:9 + n]
        elif kind == PING and not flags & 1:
            s.sendall(frame(PING, 1, 0, rest[9:9 + n]))
        rest = rest[9 + n:]
    return bool(data)


def varint(b, at):
    value, shift = 0, 0
    while True:
        value |= (b[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if b[at - 1] < 128:
            return value, at


def dropped(message):
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        if key & 7 == 2:
            n, at = varint(message, at)
            at += n
            continue
        value, at = varint(message, at)
        if key == 3 << 3:
            return value
    return 0


while time.monotonic() < opened:
    if not receive():
        sys.exit("the gateway closed the connection")
if body:
    sys.exit("bytes came that there was no room for")
for stream in 0, 1:
    s.sendall(frame(WINDOW, 0, stream, struct.pack(">I", 1 << 24)))
while time.monotonic() < end:
    if not receive():
        sys.exit("the gateway closed the connection")
    while len(body) >= 5 and len(body) >= 5 + int.from_bytes(body[1:5], "big"):
        n = 5 + int.from_bytes(body[1:5], "big")
        missed, body, events = dropped(body[5:n]), body[n:], events + 1
        if missed:
            print("%d events, then %d were left out" % (events - 1, missed))
            sys.exit(0)
sys.exit("%d events came, and none was left out" % events)
