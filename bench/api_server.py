"""The little of a Kubernetes API that kube-proxy asks for, read-only, from a lab's objects: `PORT LAB`."""

import json
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agent.lab.families import IPV4
from agent.lab.paths import NODE_NAME, LabPaths
from agent.lab.store import Store
from bench import many

NODE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": NODE_NAME, "uid": NODE_NAME},
    "spec": {"podCIDR": str(IPV4.pods)},
    "status": {"addresses": [{"type": "InternalIP", "address": IPV4.node}]},
}


# By the last part of the path.
KINDS = {
    "nodes": ("v1", "Node"),
    "services": ("v1", "Service"),
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"),
    "servicecidrs": ("networking.k8s.io/v1", "ServiceCIDR"),
}


def read_objects(lab: str) -> list[Any]:
    """What is in the lab's store, the Services of `many`, and the node."""
    paths = LabPaths(lab)
    found = [NODE, *Store(paths).load().values(), *many.read(paths.manifests / many.NAMESPACE)]
    for item in found:
        if item["kind"] == "Service":
            # A default that an API server fills in.
            item["spec"]["ports"] = [{"protocol": "TCP", **port} for port in item["spec"].get("ports", ())]
    return found


def initial_events(objects: list[Any], version: str, kind: str) -> Iterator[bytes]:
    """A watch with `sendInitialEvents`: every object, and the bookmark that says so (KEP-3157)."""
    for item in objects:
        if item["kind"] == kind:
            metadata = {**item["metadata"], "resourceVersion": "1"}
            yield json.dumps({"type": "ADDED", "object": {**item, "metadata": metadata}}).encode() + b"\n"
    end = {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}
    bookmark = {"apiVersion": version, "kind": kind, "metadata": end}
    yield json.dumps({"type": "BOOKMARK", "object": bookmark}).encode() + b"\n"


class Handler(BaseHTTPRequestHandler):
    """Watches, which do not end, and the node."""

    objects: list[Any]

    def do_GET(self) -> None:
        """Answer a watch, or a get of the node."""
        url = urlsplit(self.path)
        name = url.path.rpartition("/")[2]
        if name == NODE_NAME:
            self._begin()
            self.wfile.write(json.dumps(NODE).encode())
        elif name in KINDS and "sendInitialEvents" in parse_qs(url.query):
            self._begin()
            self.wfile.writelines(initial_events(self.objects, *KINDS[name]))
            threading.Event().wait()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _begin(self) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """No log."""


if __name__ == "__main__":
    Handler.objects = read_objects(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
