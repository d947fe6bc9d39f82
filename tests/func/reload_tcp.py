"""reload_tcp.py serve PORT TAG: answers each line with TAG and the line. reload_tcp.py hold PORT: one connection through which each line of
standard input goes, its answer on standard output; "reset" or "end" when it is over. reload_tcp.py ask PORT LINE: the same with one line."""
import socket
import socketserver
import sys


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            for line in self.rfile:
                self.wfile.write(sys.argv[3].encode() + b" " + line)
        except ConnectionError:
            pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


def serve():
    with Server(("127.0.0.1", int(sys.argv[2])), Answer) as server:
        print("listening", flush=True)
        server.serve_forever()


def talk(lines):
    try:
        s = socket.create_connection(("127.0.0.1", int(sys.argv[2])), 10)
        answers = s.makefile("r")
        for line in lines:
            s.sendall(line.encode())
            answer = answers.readline()
            print(answer or "end\n", end="", flush=True)
            if not answer:
                return
    except ConnectionRefusedError:
        print("refused", flush=True)
    except (ConnectionResetError, BrokenPipeError):
        print("reset", flush=True)


if sys.argv[1] == "serve":
    serve()
else:
    talk([sys.argv[3] + "\n"] if sys.argv[1] == "ask" else sys.stdin)
