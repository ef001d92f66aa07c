"""Verdicts: the possible outcomes of a decision, and the rows that it read (bpf/verdict.h)."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from agent.ir.tables import FrontendAction, FrontendKey, PodRow, Reason, ServiceRow, SocketAddress


@dataclass(frozen=True, slots=True)
class Outcome:
    """One possible outcome: the reason, and the new destination if the connection is rewritten.

    `refused` is the destination that policies do not let the client reach, `policy` the index of one of them.
    """

    reason: Reason
    target: SocketAddress | None = None
    refused: SocketAddress | None = None
    policy: int = 0


@dataclass(frozen=True, slots=True)
class RowsRead:
    """The rows that a decision read; None for tables that it did not reach."""

    client: PodRow | None = None
    frontend: FrontendKey | None = None
    index: int | None = None
    action: FrontendAction | None = None
    service: ServiceRow | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """All possible outcomes, each with its exact probability; they add up to 1."""

    shares: Mapping[Outcome, Fraction]
    rows: RowsRead = RowsRead()

    @property
    def reason(self) -> Reason:
        """The only reason, or that of the most probable outcome."""
        return max(self.shares, key=lambda outcome: self.shares[outcome]).reason

    @property
    def candidates(self) -> frozenset[SocketAddress]:
        """Every address and port to which the connection may be rewritten."""
        return frozenset(outcome.target for outcome in self.shares if outcome.target)


def always(reason: Reason, target: SocketAddress | None = None) -> Verdict:
    """The verdict with one outcome."""
    return Verdict({Outcome(reason, target): Fraction(1)})
