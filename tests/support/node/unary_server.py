"""A gRPC server with one unary method, for programs that tests start in a node's namespace."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from support.waypoint.fixtures import WaypointNode, wait_for
from support.waypoint.listeners import SERVERS


@contextmanager
def started(node: WaypointNode, program: str, port: int, output: Path) -> Iterator[None]:
    """A program in the namespace, when it listens; its arguments are an address, a port and `output`, a new file."""
    output.touch()
    name = Path(program).stem
    process = node.spawn(sys.executable, program, SERVERS, str(port), str(output), pod=name)
    wait_for(f"the {name} listens", lambda: node.answers(SERVERS, port))
    try:
        yield
    finally:
        process.kill()
        process.wait()


Answer = Callable[[Any, grpc.ServicerContext], Message]


def serve(address: str, service: str, method: str, request: type[Message], answer: Answer) -> None:
    """Serve one method at `address`, an address with a port, until the process ends."""
    handler = grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request.FromString, response_serializer=lambda message: message.SerializeToString()
    )
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()
