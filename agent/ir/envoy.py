"""The Envoys of a node: mostly one, two while one replaces the other."""

from dataclasses import dataclass

from agent.ir.addresses import Addresses

# How long connections of a listener that is gone may go on.
DRAIN_SECONDS = 300
# How many instructions the RE2 program of a regular expression may have. Envoy's default is 100, which a UUID's
# expression exceeds. A match by gRPC method, of at most 1024 characters, becomes an expression too and has to fit.
MAX_PROGRAM_SIZE = 2048


@dataclass(frozen=True, slots=True, order=True)
class Envoy:
    """One process, as it presents itself to the agent; of two the one that started later is the newer.

    `started` is CLOCK_MONOTONIC in ns, `addresses` where its listeners are, none when it does not say, `room` how many
    listeners it has descriptors for, 0 when it does not say.
    """

    started: int
    id: str
    addresses: Addresses
    room: int = 0
