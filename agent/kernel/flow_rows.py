"""Encodes and decodes rows of `weft_flows` and events of `weft_events`; their layouts are in `abi.py`."""

from agent.ir.flow_tables import FLOW_NUMBERS, FLOW_STEPS, Event, FlowKey, FlowSums
from agent.ir.tables import Reason
from agent.kernel.abi import EVENT, FLOW, FLOW_KEY

_POLICY_BYTES = 3


def encode_flow_key(key: FlowKey) -> bytes:
    """A key of `weft_flows`."""
    policy = key.policy.to_bytes(_POLICY_BYTES, "little")
    return FLOW_KEY.pack(key.workload_id, key.service_id, key.reason, key.error, key.protocol, policy)


def decode_flow_key(row: bytes) -> FlowKey:
    """The inverse of `encode_flow_key`."""
    workload_id, service_id, reason, error, protocol, policy = FLOW_KEY.unpack(row)
    return FlowKey(workload_id, service_id, reason, error, protocol, int.from_bytes(policy, "little"))


def decode_flow(parts: bytes) -> FlowSums:
    """One row of `weft_flows`, summed over its CPUs. The parts of most CPUs are all zero."""
    split = (parts[at : at + FLOW.size] for at in range(0, len(parts), FLOW.size))
    used = [FLOW.unpack(part) for part in split if any(part)] or [FLOW.unpack(bytes(FLOW.size))]
    sums = [sum(column) for column in zip(*used, strict=True)]
    numbers = dict(zip(FLOW_NUMBERS, sums, strict=False))
    steps = tuple(sums[len(FLOW_NUMBERS) :])
    return FlowSums(**numbers, connect_steps=steps[:FLOW_STEPS], rtt_steps=steps[FLOW_STEPS:])


def decode_event(row: bytes) -> Event:
    """One event of `weft_events`."""
    time, cgroup_id, service_id, original, backend, *rest = EVENT.unpack(row)
    original_port, backend_port, reason, error, protocol, policy = rest
    addresses = original, original_port, backend, backend_port
    why = Reason(reason), error, protocol, int.from_bytes(policy, "little")
    return Event(time, cgroup_id, service_id, *addresses, *why)
