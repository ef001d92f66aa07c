"""A Service and the ServiceImport of its name are told apart wherever they are counted."""

import pytest

from agent.model.meta import Key
from agent.telemetry.istio import pair_labels
from agent.telemetry.name_index import service_id
from support.fakes.telemetry import FACE

SERVICE, IMPORT = (Key(kind, "app", "web") for kind in ("Service", "ServiceImport"))


@pytest.mark.parametrize(("key", "domain"), [(SERVICE, "cluster.local"), (IMPORT, "clusterset.local")])
def test_the_destination_is_its_name_in_dns(key: Key, domain: str) -> None:
    labels = pair_labels((FACE, key))
    assert labels["destination_service"] == f"web.app.svc.{domain}"
    assert labels["destination_service_name"] == "web"


def test_their_numbers_in_the_kernel_differ() -> None:
    assert service_id(SERVICE) != service_id(IMPORT)
