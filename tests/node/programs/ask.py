"""Asks a Service by HTTP, each time on a new connection, until standard input ends: ADDRESS PORT PER_SECOND.

Prints `asking`, and at the end one line of JSON: how often it asked, and what failed.
"""

import http.client
import json
import select
import sys
import time

PATIENCE = 5.0


def ask(address, port):
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read()
        return "" if answer.status == 200 else f"status {answer.status}: {body[:100]!r}"
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()


def main():
    address, port, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    count, failed = 0, []
    print("asking", flush=True)
    began = time.monotonic()
    while not select.select([sys.stdin], [], [], max(0.0, began + count / rate - time.monotonic()))[0]:
        count += 1
        if error := ask(address, port):
            failed.append(error)
    print(json.dumps({"requests": count, "failed": failed}))


main()
