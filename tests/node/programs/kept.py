"""Keeps a TCP and an HTTP connection to one Service, and uses each once for every line on standard input: NAME PORT.

PORT is that of TCP. Each line is answered by one of JSON: the pods that answered, or the error of what ended.
"""

import http.client
import json
import socket
import sys

PATIENCE = 10.0


def main():
    name, port = sys.argv[1], int(sys.argv[2])
    tcp = socket.create_connection((name, port), PATIENCE)
    lines = tcp.makefile()
    web = http.client.HTTPConnection(name, timeout=PATIENCE)
    web.connect()
    # http.client would make another connection when this one has ended.
    web.auto_open = 0
    for _ in sys.stdin:
        try:
            tcp.sendall(b"x\n")
            web.request("GET", "/")
            answers = [json.loads(lines.readline())["pod"], json.loads(web.getresponse().read())["pod"]]
            print(json.dumps(answers), flush=True)
        except (OSError, ValueError, http.client.HTTPException) as error:
            print(json.dumps(repr(error)), flush=True)


main()
