"""A server of Envoy's ext_authz protocol (gRPC) that records its requests."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.ir.http import BackendPort
from support.node.unary_server import serve, started
from support.waypoint.fixtures import WaypointNode

PORT = 9191
ALLOWED = "Bearer good"


class AuthorizerHandle:
    """The server in the node's namespace."""

    def __init__(self, requests: Path) -> None:
        self.backend = BackendPort("app", "authorizer", 80, "h2c")
        self._requests = requests

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The checked requests, oldest first: method, path, headers, body."""
        return [json.loads(line) for line in self._requests.read_text().splitlines()]


@contextmanager
def authorizer(node: WaypointNode) -> Iterator[AuthorizerHandle]:
    """Allows requests with `authorization: Bearer good`, and adds headers to them."""
    requests = node.folder / "authorizations"
    with started(node, __file__, PORT, requests):
        handle = AuthorizerHandle(requests)
        node.servers[handle.backend.service] = [PORT]
        yield handle


def main(address: str, port: str, requests: str) -> None:
    """Serve `Authorization/Check`."""
    import grpc  # noqa: PLC0415
    from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption  # noqa: PLC0415
    from envoy.service.auth.v3 import external_auth_pb2 as auth  # noqa: PLC0415
    from envoy.type.v3.http_status_pb2 import HttpStatus  # noqa: PLC0415
    from google.rpc import code_pb2, status_pb2  # noqa: PLC0415

    out = Path(requests).open("a", buffering=1)  # noqa: SIM115

    def options(**headers: str) -> list[HeaderValueOption]:
        return [HeaderValueOption(header=HeaderValue(key=k.replace("_", "-"), value=v)) for k, v in headers.items()]

    def check(request: auth.CheckRequest, _: grpc.ServicerContext) -> auth.CheckResponse:
        http = request.attributes.request.http
        found = {"method": http.method, "path": http.path, "headers": dict(http.headers), "body": http.body}
        out.write(json.dumps(found) + "\n")
        if http.headers.get("authorization") == ALLOWED:
            changes = options(x_user="bob", content_length="99")
            return auth.CheckResponse(
                status=status_pb2.Status(code=code_pb2.OK), ok_response=auth.OkHttpResponse(headers=changes)
            )
        denied = auth.DeniedHttpResponse(status=HttpStatus(code=401), headers=options(x_why="no"), body="denied")
        return auth.CheckResponse(status=status_pb2.Status(code=code_pb2.PERMISSION_DENIED), denied_response=denied)

    serve(f"{address}:{port}", "envoy.service.auth.v3.Authorization", "Check", auth.CheckRequest, check)


if __name__ == "__main__":
    main(*sys.argv[1:])
