"""Servers of one namespace: each address and port given answers, over TCP and UDP, with its own name."""

import json
import selectors
import socket
import sys

selector = selectors.DefaultSelector()


def accept(sock, name):
    """Say who is here; the client closes."""
    connection, _ = sock.accept()
    with connection:
        connection.sendall(name + b"\n")
        connection.shutdown(socket.SHUT_WR)


def answer(sock, name):
    """The same for a datagram."""
    _, client = sock.recvfrom(200)
    sock.sendto(name, client)


def serve(address, port, kind, handler):
    """Bind one socket."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(512)
    name = json.dumps([address, port]).encode()
    selector.register(sock, selectors.EVENT_READ, lambda: handler(sock, name))


for text_address, number in json.loads(sys.argv[1]):
    serve(text_address, number, socket.SOCK_STREAM, accept)
    serve(text_address, number, socket.SOCK_DGRAM, answer)
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        try:
            key.data()
        except OSError:  # the client was quicker
            continue
