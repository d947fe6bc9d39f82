"""What strangers do to open ports.
   abuse.py garbage HOST:PORT|unix:PATH...   bytes that mean nothing, in many shapes; ends when the peer closed every one, or after 10 s each
   abuse.py silent N HOST:PORT...            N connections to each that say nothing, held until standard input ends
   abuse.py magic HOST:PORT                  a malformed packet behind the magic number of UCX's tcp transport
"""
import os
import random
import resource
import socket
import ssl
import struct
import sys
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAGIC = 0xCAFEBABE12345678


def connect(at):
    if at.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        s.connect(at[5:])
    else:
        host, port = at.rsplit(":", 1)
        s = socket.create_connection((host, int(port)), 10)
    s.settimeout(10)
    return s


def shapes():
    r = random.Random(4711)
    yield b""
    yield b"\0"
    yield b"\x16"
    yield b"\x16\x03\x01\xff\xff" + r.randbytes(70000)             # a TLS record longer than any
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + r.randbytes(300)  # half a ClientHello, then garbage
    yield b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield PREFACE
    yield PREFACE + r.randbytes(1000)
    yield PREFACE + struct.pack(">I", 0xffffff << 8 | 4) + b"\0" * 5  # a frame longer than any
    for n in 1, 7, 31, 32, 33, 100, 5000, 300000:
        yield r.randbytes(n)
    for first in range(0, 12):                                     # each type of the flow protocol, with absurd numbers
        yield bytes([first]) + b"\xff" * 31
        yield bytes([first]) * 64


def drop(s):
    """Until the peer closes: True."""
    try:
        s.shutdown(socket.SHUT_WR)
        while s.recv(65536):
            pass
        return True
    except socket.timeout:
        return False
    except OSError:
        return True
    finally:
        s.close()


def garbage(*where):
    for at in where:
        for i, data in enumerate(shapes()):
            s = connect(at)
            try:
                s.sendall(data)
            except OSError:
                pass
            if not drop(s):
                sys.exit(f"{at} keeps a connection that sent {data[:16]!r}… ({len(data)} bytes)")
        if not at.startswith("unix:"):
            tls_garbage(at)


def tls_garbage(at):
    """The same inside of TLS, where the control endpoint speaks it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    for data in shapes():
        raw = connect(at)
        try:
            s = context.wrap_socket(raw)
        except OSError:
            raw.close()
            return
        try:
            s.sendall(data)
            s.close()
        except OSError:
            pass


def silent(n, *where):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = []
    for at in where:
        held += [connect(at) for _ in range(int(n))]
    print(len(held), flush=True)
    sys.stdin.read()


def magic(at):
    s = connect(at)
    s.sendall(struct.pack("<Q", MAGIC) + b"\xff" * 64)
    drop(s)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
