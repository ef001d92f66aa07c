"""A server that is told by its client's first line how much to answer, and which end closes first."""

import json
import socketserver
import sys
from contextlib import suppress


class ExchangeHandler(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self):
        order = json.loads(self.rfile.readline())
        self.wfile.write(b"x" * order["answer"])
        if not order["closes"]:
            with suppress(ConnectionResetError):
                self.rfile.read()


class Server(socketserver.ThreadingTCPServer):
    """One thread a connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


with Server((sys.argv[1], int(sys.argv[2])), ExchangeHandler) as server:
    print("ready", flush=True)
    server.serve_forever()
