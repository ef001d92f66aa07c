"""What audits of Envoys find is counted and told."""

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.ir.resources import ResourceName, ResourceType
from agent.waypoint.audit import Audit
from agent.waypoint.config_dump import Drift

BLUE, GREEN = Envoy(1, "blue", Addresses("10.1.1.1")), Envoy(2, "green", Addresses("10.1.1.2"))
LACKS = Drift(lacks=frozenset({ResourceName(ResourceType.ROUTE, "r"), ResourceName(ResourceType.ROUTE, "s")}))


class Ads:
    """Finds what it is told to."""

    def __init__(self) -> None:
        self.drift = {BLUE: LACKS, GREEN: Drift()}

    async def audit(self) -> dict[Envoy, Drift]:
        return self.drift


async def test_the_last_look_is_told_and_all_of_them_are_counted(tmp_path):
    ads = Ads()
    audit = Audit(ads, tmp_path, seconds=60)
    await audit.audit()
    assert audit.found == [
        "blue: RouteConfiguration r: not served as acknowledged",
        "blue: RouteConfiguration s: not served as acknowledged",
    ]
    await audit.audit()
    ads.drift = {BLUE: Drift(), GREEN: Drift()}
    await audit.audit()
    assert (audit.found, audit.total) == ([], 4)
