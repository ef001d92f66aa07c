"""Keeps what runs for long at a Service: an answer that does not come, a WebSocket, a gRPC call, and a line on a port
with TLS.

The argument is a JSON object: the name of each stream, its kind, host, port and path. Prints `begun` when all run. When
standard input has ended it waits until those of the names in the second argument have ended, and prints for each
stream whether it still runs.
"""

import contextlib
import http.client
import json
import socket
import ssl
import sys
import threading
import time

import grpc

PATIENCE = 20.0


def client_hello():
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="web.shop")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()


def answer(host, port, path):
    """The server answers long after the test."""
    client = socket.create_connection((host, port))
    client.sendall(f"GET {path}?wait=600 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return lambda: client.recv(1)


def websocket(host, port, path):
    """The server sends back what it gets."""
    connection = http.client.HTTPConnection(host, port)
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    connection.request("GET", path, headers=headers)
    client, head = connection.sock, b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        assert byte, head
        head += byte
    assert head.startswith(b"HTTP/1.1 101"), head
    client.sendall(b"first")
    assert client.recv(5) == b"first"
    return lambda: client.recv(1)


def call(host, port, path):
    """As an answer that does not come."""
    channel = grpc.insecure_channel(f"{host}:{port}")
    grpc.channel_ready_future(channel).result(PATIENCE)
    running = channel.unary_unary(path, lambda m: m, lambda m: m).future(b"", metadata=[("x-echo-wait", "600")])
    return running.exception


def tls(host, port, path):
    """The server answers each line, and a ClientHello has several: their answers may come at any time."""
    client = socket.create_connection((host, port))
    client.sendall(client_hello() + b"\n")
    assert client.recv(4096), "closed"
    return lambda: read_all(client)


def read_all(client):
    while client.recv(4096):
        pass


def wait(until_end, ended):
    with contextlib.suppress(OSError):
        until_end()
    ended.set()


def main():
    kinds = {"answer": answer, "websocket": websocket, "call": call, "tls": tls}
    streams = {
        name: (kinds[kind](*where), threading.Event()) for name, (kind, *where) in json.loads(sys.argv[1]).items()
    }
    for until_end, ended in streams.values():
        threading.Thread(target=wait, args=(until_end, ended), daemon=True).start()
    print("begun", flush=True)
    sys.stdin.read()
    deadline = time.monotonic() + PATIENCE
    for name in json.loads(sys.argv[2]):
        streams[name][1].wait(deadline - time.monotonic())
    print(json.dumps({name: "ended" if ended.is_set() else "runs" for name, (_, ended) in streams.items()}), flush=True)


main()
