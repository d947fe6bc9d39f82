"""The program grpc_echo as a context: its ports, its counters, and that it ends well."""
import os
import subprocess
import sys
import tempfile


def make_certificate(cert, key):
    """For localhost and 127.0.0.1, signed by itself."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)


class Server:
    def __init__(self, *args, tls=False):
        self.dir = tempfile.TemporaryDirectory(prefix="grpc-")
        self.cert, key = self.dir.name + "/cert.pem", self.dir.name + "/key.pem"
        self.args = [os.environ.get("GRPC_ECHO", "./grpc_echo"), "-u", self.dir.name + "/sock", *args]
        if tls:
            make_certificate(self.cert, key)
            self.args += ["-c", self.cert, "-k", key]

    def __enter__(self):
        wrapper = os.environ.get("GRPC_ECHO_WRAPPER", "").split()
        self.log = open(self.dir.name + "/log", "w+")
        self.p = subprocess.Popen(wrapper + self.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.at = {}
        for line in self.p.stdout:
            name, _, value = line.strip().partition(" ")
            if name == "ready":
                return self
            self.at[name] = value
        raise RuntimeError("grpc_echo did not start: " + self.stderr())

    def stderr(self):
        self.log.seek(0)
        return self.log.read()

    def counters(self):
        self.p.stdin.write("?\n")
        self.p.stdin.flush()
        words = self.p.stdout.readline().split()
        return dict(zip(words[::2], map(int, words[1::2])))

    def __exit__(self, *exc):
        self.p.terminate()
        status = self.p.wait(30)
        self.p.stdin.close()
        self.p.stdout.close()
        err = self.stderr()
        if status != 0 or exc[0] is not None:
            sys.stderr.write(err)
        assert status == 0, f"grpc_echo ended with {status}"
        self.log.close()
        self.dir.cleanup()
