"""The little of a Kubernetes API that kube-proxy asks for, read-only, from a lab's objects: `PORT LAB`."""

import json
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agent.lab.families import IPV4
from agent.lab.paths import NODE_NAME, LabPaths
from agent.lab.store import Store
from bench import many

NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": NODE_NAME, "uid": NODE_NAME},
    "spec": {"podCIDR": str(IPV4.pods)},
    "status": {"addresses": [{"type": "InternalIP", "address": IPV4.node}]},
}


def lists(lab: str) -> dict[str, dict[str, Any]]:
    """By the last part of the path, the response to a list."""
    paths = LabPaths(lab)
    objects = [*Store(paths).load().values(), *many.read(paths.manifests / many.NAMESPACE)]

    def listed(version: str, kind: str, *items: Any) -> dict[str, Any]:
        found = [*items, *(item for item in objects if item["kind"] == kind)]
        return {"apiVersion": version, "kind": f"{kind}List", "metadata": {"resourceVersion": "1"}, "items": found}

    return {
        "nodes": listed("v1", "Node", NODE),
        "services": listed("v1", "Service"),
        "endpointslices": listed("discovery.k8s.io/v1", "EndpointSlice"),
        "servicecidrs": listed("networking.k8s.io/v1", "ServiceCIDR"),
        NODE_NAME: NODE,
    }


class Handler(BaseHTTPRequestHandler):
    """Lists; a watch is without events and does not end."""

    protocol_version = "HTTP/1.1"
    answers: dict[str, dict[str, Any]]

    def do_GET(self) -> None:
        """Answer a list, a watch, or a get of the node."""
        url = urlsplit(self.path)
        answer = self.answers.get(url.path.rpartition("/")[2])
        if answer is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        if parse_qs(url.query).get("watch", ["false"]) != ["false"]:
            self.send_header("Connection", "close")
            self.end_headers()
            threading.Event().wait()
        body = json.dumps(answer).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """No log."""


if __name__ == "__main__":
    Handler.answers = lists(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
