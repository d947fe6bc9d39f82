"""What the tests of sessions share, for programs that call gateways by gRPC."""
import re
import socket

from tcp_ends import check


def ports_of(folder):
    """Of the gateway whose configuration lies there: its control endpoint, and its data_ports."""
    conf = open(folder + "/conf").read()
    first, last = re.search(r'data_ports = "(\d+)-(\d+)"', conf).groups()
    return int(re.search(r'^listen = ".*:(\d+)"', conf, re.M).group(1)), range(int(first), int(last) + 1)


def refused(what, call, code, text=""):
    error = call.exception()
    check(f"{what}: not refused", error is not None)
    check(f"{what}: refused otherwise", error.code() == code and text in error.details(), error.code(), error.details())


def port_of(listener):
    return int(listener.rpartition(":")[2])


def listening(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0
