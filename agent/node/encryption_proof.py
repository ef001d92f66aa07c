"""Counts plain frames between pods on the node's uplinks, for `weft status --prove-encryption`."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

from pyroute2 import NetlinkError

from agent.encryption.proof import Flows, Names, pod_ranges
from agent.encryption.values import PORTS, Member
from agent.ir.plan import PodPlan
from agent.kernel.frames import Tap, tapped
from agent.kernel.netns.client import NetnsClient
from agent.kernel.netns.protocol import MOST_LINKS, MOST_NODES, MOST_OWN, MOST_RANGES, close
from agent.kernel.packet_filter import Ends, FrameClass
from agent.kernel.uplinks import find_uplinks
from agent.node.encryption_controller import EncryptionController, State
from agent.telemetry.http import BadRequestError, Query, Response

MOST_SECONDS = 600
# A look at the headers that wait, so many at each link: the rest is counted, but not looked at.
LOOK_SECONDS, HEADERS = 0.1, 128


class Scope(NamedTuple):
    """Where to listen, and for what. `left_out`: addresses of nodes beyond those that a filter can have."""

    links: tuple[str, ...]
    ends: Ends
    left_out: int


class EncryptionProof:
    """One at a time, as each may need CPU time for all packets of the node. `pods` are the node's, by cgroup id."""

    def __init__(
        self,
        controller: EncryptionController,
        helper: NetnsClient,
        pods: Callable[[], Mapping[int, PodPlan]],
    ) -> None:
        self._controller = controller
        self._helper = helper
        self._pods = pods
        self._runs = False

    async def answer(self, query: Query) -> Response:
        """The answer to `GET /encryption-proof?seconds=N`, after as long. Raises `BadRequestError`."""
        text = query.get("seconds", "")
        seconds = int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0
        if not 1 <= seconds <= MOST_SECONDS:
            raise BadRequestError(f"seconds: not a number from 1 to {MOST_SECONDS}")
        if self._runs:
            raise BadRequestError("frames are being counted already; try again when that has ended")
        self._runs = True
        try:
            return Response.json(await self._prove(seconds, self._controller.state))
        except (OSError, NetlinkError, ValueError) as error:
            raise BadRequestError(f"frames cannot be counted: {error}") from error
        finally:
            self._runs = False

    async def _prove(self, seconds: int, state: State) -> dict[str, Any]:
        members = [*([state.own] if state.own else []), *state.others]
        scope = await asyncio.to_thread(find_scope, self._helper, state, members)
        flows = Flows()
        with ExitStack() as stack:
            opening = tapped(self._helper, scope.links, scope.ends)
            taps = await asyncio.to_thread(stack.enter_context, opening)
            await _listen(taps, flows, seconds)
            counts = {tap.link: tap.counts() for tap in taps}
        pods = {
            address: f"{it.pod.namespace}/{it.pod.name}" for it in self._pods().values() for address in it.addresses
        }
        return {
            "seconds": seconds,
            "podCIDRs": scope.ends.pods,
            "links": [{"link": tap.link, "error": tap.error} | _named(counts[tap.link]) for tap in taps],
            **{wanted.value: sum(found[wanted] for found in counts.values()) for wanted in FrameClass},
            "flows": flows.document(Names(pods, members)),
            "framesOfOtherFlows": flows.others,
            "nodeAddressesLeftOut": scope.left_out,
        }


def _named(counts: Mapping[FrameClass, int]) -> dict[str, int]:
    return {wanted.value: count for wanted, count in counts.items()}


async def _listen(taps: list[Tap], flows: Flows, seconds: int) -> None:
    """Look at what waits until the time is over; then once more."""
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    while True:
        is_last = clock() >= end
        for tap in taps:
            for sent, header in tap.headers(HEADERS):
                flows.note(tap.link, sent, header)
            tap.counts()
        if is_last:
            return
        await asyncio.sleep(LOOK_SECONDS)


def find_scope(helper: NetnsClient, state: State, members: list[Member]) -> Scope:
    """Where to listen on this node. In a thread. Raises `OSError`, `NetlinkError`, `ValueError`."""
    pods = pod_ranges(state.encryption, members)
    if not pods:
        raise ValueError("no addresses of pods are known, by MeshParameters or Nodes")
    endpoints = tuple(state.own.endpoints) if state.own else ()
    descriptors = helper.node_sockets()
    try:
        found = find_uplinks(descriptors[0], endpoints, pods)
    finally:
        close([*descriptors])
    nodes = sorted({address for other in state.others for address in other.endpoints} - {*found.own})
    for what, has, most in (
        ("links to other nodes", found.links, MOST_LINKS),
        ("ranges of pods", pods, MOST_RANGES),
        ("addresses of this node", found.own, MOST_OWN),
    ):
        if not 1 <= len(has) <= most:
            raise ValueError(f"{len(has)} {what}; supported are 1 to {most}")
    return Scope(found.links, Ends(pods, found.own, tuple(nodes[:MOST_NODES]), PORTS), max(0, len(nodes) - MOST_NODES))
