"""The Envoys of a node: mostly one, two while one replaces the other."""

from dataclasses import dataclass

from agent.ir.addresses import Addresses

# How long connections of a removed listener may go on.
DRAIN_SECONDS = 300
# How many instructions the RE2 program of a regular expression may have. Envoy's default is 100, which a UUID's
# expression exceeds. A match by gRPC method, of at most 1024 characters, becomes an expression too and has to fit.
MAX_PROGRAM_SIZE = 2048


@dataclass(frozen=True, slots=True, order=True)
class Envoy:
    """One process, by the node that it sends to the agent; of two the one that started later is the newer.

    - `started`: CLOCK_MONOTONIC in ns.
    - `addresses`: those of its listeners; none when its node has none.
    - `max_listeners`: how many listeners it has descriptors for; 0 when its node has no such number.
    - `max_connections`: how many connections of clients it accepts; 0 when its node has no such number.
    """

    started: int
    id: str
    addresses: Addresses
    max_listeners: int = 0
    max_connections: int = 0
