"""scistreamctl watch on a terminal of its own: watch_tty.py COMMAND... Says what is wrong and exits with 1."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

ENTER, LEAVE, HOME, REST = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[H", b"\x1b[J"
seen = b""


def resize(fd, lines, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def read_until(fd, what, condition):
    global seen
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            sys.exit("%s: not in time: %r" % (what, seen[-2000:]))
        if select.select([fd], [], [], 0.2)[0]:
            try:
                seen += os.read(fd, 65536)
            except OSError:
                return False
    return True


def frames():
    whole = [f for f in seen.split(HOME)[1:] if REST in f]
    return [re.sub(rb"\x1b\[[?0-9]*[A-Za-z]", b"", f).replace(b"\r", b"").split(b"\n")[:-1] for f in whole]


def check(lines, columns):
    for line in frames()[-1]:
        if len(line) > columns:
            sys.exit("wider than %d: %r" % (columns, line))
    if len(frames()[-1]) >= lines:
        sys.exit("higher than %d: %r" % (lines, frames()[-1]))


def has(pattern):
    return any(re.search(pattern, line) for line in (frames() or [[]])[-1])


pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    time.sleep(0.5)  # until the terminal has its size
    os.execv(sys.argv[1], sys.argv[1:])
resize(fd, 24, 140)
read_until(fd, "a row", lambda: has(rb"^[0-9a-f]{8}/0 +detector +127\.0\.0\.1:[0-9]+ .*flowing .*bit/s +.*iB +[0-9]+ % +"))
if not seen.startswith(ENTER):
    sys.exit("another screen is not entered: %r" % seen[:100])
if not has(rb"^1 channel, ") or not has(rb"^CHANNEL +ROUTE +FROM +TO +BY +STATE +RATE +TOTAL +RING +WAITS FOR$"):
    sys.exit("no head: %r" % frames()[-1])
check(24, 140)
resize(fd, 6, 30)
n = len(frames())
os.kill(pid, signal.SIGWINCH)
read_until(fd, "redrawn when resized", lambda: len(frames()) > n)
check(6, 30)
os.write(fd, b"\x03")
read_until(fd, "the end", lambda: False)
if not seen.rstrip().endswith(LEAVE):
    sys.exit("the screen is not left: %r" % seen[-100:])
status = os.waitpid(pid, 0)[1]
if status:
    sys.exit("it ends with status %d" % status)
