"""The oracle against the plain meaning of the tables, on tables made at random."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from agent.ir.tables import (
    ANY_NAMESPACE,
    Action,
    Config,
    FrontendAction,
    FrontendKey,
    Mode,
    PodRow,
    Protocol,
    Reason,
    Slot,
    address_bytes,
)
from agent.kernel import abi
from agent.kernel.oracle.decide import decide

WHOLE = 1 << 32
KEY = FrontendKey(ANY_NAMESPACE, address_bytes("10.96.0.1"), 80, Protocol.TCP)


def tables(slots: list[Slot], base: int, pod: PodRow) -> dict[str, dict[bytes, bytes]]:
    """One pod, one frontend, one slot array."""
    action = abi.pack_action(FrontendAction(Action.FORWARD, base, len(slots)))
    return {
        "weft_config": {abi.U32.pack(1): abi.encode_config(Config(first_level=1, last_level=2), 9)},
        "weft_pods": {abi.U64.pack(42): abi.encode_pod(42, pod)},
        "weft_frontends": {abi.encode_frontend_key(KEY): abi.encode_frontend(KEY, 5)},
        "weft_actions": {abi.U32.pack(10): abi.U64.pack(action)},
        "weft_services": {},
        "weft_slots": {abi.U32.pack(n): abi.encode_slot(n, slot) for n, slot in enumerate(slots, base)},
    }


@st.composite
def slot_arrays(draw: st.DrawFn) -> list[Slot]:
    """Alias tables, not necessarily well balanced ones."""
    count = draw(st.integers(1, 12))
    return [
        Slot(
            address_bytes(f"10.0.1.{draw(st.integers(1, 5))}"),
            draw(st.integers(1, 65535)),
            draw(st.booleans()),
            draw(st.integers(0, count - 1)),
            draw(st.integers(0, WHOLE)),
        )
        for _ in range(count)
    ]


def plain_shares(slots: list[Slot]) -> dict[tuple[bytes, int] | None, Fraction]:
    """The share of each target (None: rejected) as the alias method means it."""
    shares: dict[tuple[bytes, int] | None, Fraction] = {}
    for slot in slots:
        for column, part in ((slot, slot.threshold), (slots[slot.alias], WHOLE - slot.threshold)):
            target = None if column.reject else (column.address, column.port)
            shares[target] = shares.get(target, Fraction(0)) + Fraction(part, WHOLE * len(slots))
    return shares


@given(slot_arrays(), st.integers(0, 1000))
def test_shares_are_those_of_the_alias_table(slots: list[Slot], base: int) -> None:
    verdict = decide(tables(slots, base, PodRow(7, Mode.L4)), [1, 2, 42], KEY.address, KEY.port, KEY.protocol)
    found = {outcome.target: share for outcome, share in verdict.shares.items()}
    assert sum(found.values()) == 1
    plain = plain_shares(slots)
    rounding = Fraction(2 * len(slots), WHOLE)
    assert all(abs(found.get(target, Fraction(0)) - share) <= rounding for target, share in plain.items())
    assert verdict.candidates == {target for target, share in found.items() if target}
    assert verdict.candidates <= {target for target in plain if target}


@given(slot_arrays())
def test_a_foreign_row_is_no_row(slots: list[Slot]) -> None:
    """An element recycled for another key carries another fingerprint, and another cgroup id."""
    recycled = tables(slots, 0, PodRow(7, Mode.L4))
    other = FrontendKey(ANY_NAMESPACE, address_bytes("10.96.0.2"), 80, Protocol.TCP)
    recycled["weft_frontends"][abi.encode_frontend_key(KEY)] = abi.encode_frontend(other, 5)
    assert decide(recycled, [1, 42], KEY.address, 80, Protocol.TCP).reason == Reason.NO_FRONTEND
    recycled["weft_pods"][abi.U64.pack(42)] = abi.encode_pod(43, PodRow(7, Mode.L4))
    assert decide(recycled, [1, 42], KEY.address, 80, Protocol.TCP).reason == Reason.UNKNOWN_POD


def test_levels_outside_the_configured_ones_are_not_looked_at() -> None:
    found = tables([], 0, PodRow(7, Mode.NONE))
    assert decide(found, [42, 1, 2, 42], KEY.address, 80, Protocol.TCP).reason == Reason.UNKNOWN_POD
    assert decide(found, [1, 2, 42], KEY.address, 80, Protocol.TCP).reason == Reason.NOT_ENROLLED


def test_other_protocols_pass() -> None:
    assert decide(tables([], 0, PodRow(7, Mode.L4)), [1, 42], KEY.address, 80, 132).reason == Reason.PASSED
