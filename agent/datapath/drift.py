"""The difference between the tables in the kernel and what was written to them."""

from dataclasses import dataclass

from agent.datapath.diff import Diff
from agent.datapath.frontends import Installed
from agent.ir.tables import FrontendKey, PodRow


@dataclass(frozen=True, slots=True)
class Drift:
    """The difference between the tables in the kernel and what was last written to them."""

    pods: Diff[int, PodRow]
    frontends: Diff[FrontendKey, Installed]
    clients: Diff[bytes, bool]
    configuration: bool

    def __len__(self) -> int:
        return len(self.pods) + len(self.frontends) + len(self.clients) + self.configuration
