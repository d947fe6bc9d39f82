"""Print a ticket, as scistream-protocol(7) describes it and by nothing of the program's: make_ticket.py [OPTION=VALUE...].

uid, role (1 to 4), channels, addresses (HOST:PORT,...), name, pins (HEX,...), secret (HEX), issued, expires (seconds since 1970, or +N, -N
from now), ports (N,...), class, rate, version, and extra (NUMBER:HEX,...), fields of any number. An empty value leaves a field out.
"""
import base64
import struct
import subprocess
import sys
import time


def field(number, value):
    return (number, struct.pack(">BH", number, len(value)) + value)


def seconds(text):
    return int(time.time()) + int(text) if text[0] in "+-" else int(text)


def split(text):
    return [part for part in text.split(",") if part]


def fields(o):
    made = []
    numbers = {"role": (2, ">B"), "channels": (3, ">I"), "class": (128, ">B"), "rate": (129, ">Q")}
    for name, number in (("uid", 1), ("name", 5)):
        made += [field(number, o[name].encode())] if o[name] else []
    for name, (number, form) in numbers.items():
        made += [field(number, struct.pack(form, int(o[name])))] if o[name] else []
    for address in split(o["addresses"]):
        host, port = address.rsplit(":", 1)
        made.append(field(4, struct.pack(">H", int(port)) + host.strip("[]").encode()))
    made += [field(6, bytes.fromhex(pin)) for pin in split(o["pins"])]
    made += [field(7, bytes.fromhex(o["secret"]))] if o["secret"] else []
    made += [field(number, struct.pack(">Q", seconds(o[name]))) for name, number in (("issued", 8), ("expires", 9)) if o[name]]
    made += [field(10, b"".join(struct.pack(">H", int(p)) for p in split(o["ports"])))] if o["ports"] else []
    for extra in split(o["extra"]):
        number, value = extra.split(":")
        made.append(field(int(number), bytes.fromhex(value)))
    return b"".join(value for number, value in sorted(made, key=lambda f: f[0]))


def main():
    o = dict(uid="0123456789abcdef0123456789abcdef", role="1", channels="1", addresses="localhost:5000", name="", pins="",
             secret=bytes(range(1, 33)).hex(), issued="-60", expires="+86400", ports="", version="1", extra="")
    o["class"] = o["rate"] = ""
    for argument in sys.argv[1:]:
        name, value = argument.split("=", 1)
        if name not in o:
            sys.exit("make_ticket.py: what is %s?" % name)
        o[name] = value
    body = fields(o)
    checksum = bytes.fromhex(subprocess.run(["xxh128sum"], input=body, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                            check=True).stdout.split()[0].decode())[:8]
    print("sst%s.%s" % (o["version"], base64.urlsafe_b64encode(body + checksum).decode().rstrip("=")))


if __name__ == "__main__":
    main()
