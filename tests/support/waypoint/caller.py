"""gRPC calls through the waypoint."""

import sys

from agent.ir.http import Rule
from support.waypoint.ads import WAYPOINT
from support.waypoint.fixtures import WaypointNode

CALLER = """
import json, sys, grpc
target, metadata, *methods = sys.argv[1:]
with grpc.insecure_channel(target) as channel:
    for method in methods:
        try:
            reply = channel.unary_unary(method)(b"", timeout=10, metadata=json.loads(metadata))
            print(json.loads(reply)["pod"])
        except grpc.RpcError as error:
            print(error.code().name)
"""


def call(node: WaypointNode, rules: list[Rule], *methods: str, metadata: str = "[]") -> list[str]:
    """The answer to each call: a server's name or a gRPC status."""
    port = node.serve(*rules, grpc=True)
    return node.run(sys.executable, "-c", CALLER, f"{WAYPOINT}:{port}", metadata, *methods).split()
