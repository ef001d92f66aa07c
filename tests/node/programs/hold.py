"""Opens connections and holds them until standard input ends: ADDRESS PORT COUNT [BYTES TO SEND].

Prints one line of JSON: how many were established, and how many not, by error. With `again` on standard input it prints
how many of the established ones the other side has closed since.
"""

import collections
import contextlib
import errno
import json
import selectors
import socket
import sys
import time

AT_ONCE = 200
PATIENCE = 10.0
ESTABLISHED = 1  # of TCP_INFO


def dial(address, port):
    made = socket.socket()
    made.setblocking(False)
    error = made.connect_ex((address, port))
    return made, 0 if error == errno.EINPROGRESS else error


def settle(pending, held, errors):
    """Wait for connections on their way."""
    with selectors.DefaultSelector() as selector:
        for made in pending:
            selector.register(made, selectors.EVENT_WRITE)
        deadline = time.monotonic() + PATIENCE
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(0.5):
                selector.unregister(key.fileobj)
                error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                keep(key.fileobj, error, held, errors)
        for key in list(selector.get_map().values()):
            keep(key.fileobj, errno.ETIMEDOUT, held, errors)


def keep(made, error, held, errors):
    if error:
        errors[errno.errorcode[error]] += 1
        made.close()
    else:
        held.append(made)


def ended(made):
    """Whether the other side has closed or reset it, perhaps after an answer."""
    return made.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED


def main():
    address, port, count, text = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), "".join(sys.argv[4:])
    held, errors = [], collections.Counter()
    for start in range(0, count, AT_ONCE):
        pending = []
        for _ in range(min(AT_ONCE, count - start)):
            made, error = dial(address, port)
            if error:
                keep(made, error, held, errors)
            else:
                pending.append(made)
        settle(pending, held, errors)
    for made in held:
        with contextlib.suppress(OSError):
            made.sendall(text.encode())
    print(json.dumps({"held": len(held), **errors}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"ended": sum(map(ended, held))}), flush=True)


main()
