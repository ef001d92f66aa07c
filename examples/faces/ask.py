"""Runs in a pod: connect to a TCP echo server N times, and print the number of answers by pod as JSON."""

import collections
import json
import socket
import sys
import time

host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
answers: collections.Counter[str] = collections.Counter()
for _ in range(count):
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(b"hello\n")
            pod = json.loads(connection.makefile().readline())["pod"]
            answers["-".join(pod.split("-")[:2])] += 1
    except OSError as error:
        answers[type(error).__name__] += 1
    # At most 300 connections a second: a client has 28 000 ports, and each is in TIME_WAIT for a minute.
    time.sleep(1 / 300)
print(json.dumps(dict(sorted(answers.items()))))
