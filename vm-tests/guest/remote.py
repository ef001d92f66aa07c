"""In a guest that is one of several nodes: runs what tests on the host ask for over the control bridge.

A connection is one request, a line of JSON: `{"command": [...], "input": "..."}`, answered by a line with `code`,
`stdout` and `stderr`; or `{"end": true}`, after which the guest writes its results and turns itself off.
"""

import json
import socketserver
import subprocess
import threading

from private_network import CONTROL_PORT, control_address


class _Request(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        request = json.loads(self.rfile.readline())
        if request.get("end"):
            threading.Thread(target=self.server.shutdown).start()
            return
        done = subprocess.run(request["command"], input=request["input"], capture_output=True, text=True, check=False)
        answer = {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def serve(node: int) -> int:
    """Take the node's address on the control bridge and serve until the end is asked for; 0."""
    for command in (
        "modprobe virtio_net",
        "ip link set eth0 up",
        "ip link set eth1 up",
        f"ip address add {control_address(node)}/24 dev eth1",
    ):
        subprocess.run(command.split(), check=True)
    with _Server((control_address(node), CONTROL_PORT), _Request) as server:
        print(f"node {node} serves", flush=True)
        server.serve_forever()
    return 0
