"""Every field that a release's definitions give to Routes is one that weft's model has."""

from typing import Any

import pytest
from apiserver_gateway import read_definitions

from agent.offline.fields import CHECKED, OF_GATEWAYS, Definitions, unread


def filled(schema: dict[str, Any]) -> Any:
    """A value with every field of a structural schema."""
    if "properties" in schema:
        return {name: filled(part) for name, part in schema["properties"].items()}
    return [filled(schema["items"])] if "items" in schema else None


@pytest.mark.parametrize("channel", ["standard", "experimental"])
@pytest.mark.parametrize("version", ["1.6", "1.7"])
def test_every_field_of_a_route_is_known(reason: None, version: str, channel: str) -> None:
    documents = [item for item in read_definitions(channel, version) if item["spec"]["names"]["kind"] in CHECKED]
    assert {item["spec"]["names"]["kind"] for item in documents} == set(CHECKED)
    schemas = Definitions.of(documents).schemas
    for (api_version, kind), (schema, release) in schemas.items():
        route = filled(schema) | {"apiVersion": api_version, "kind": kind}
        assert route["spec"], release
        assert list(unread(route, Definitions())) == []
        # And the walk over a schema finds all of its own fields.
        assert list(unread(route, Definitions({(api_version, kind): (schema, release)}))) == []


def test_the_exception_is_a_field_of_the_definitions(reason: None) -> None:
    (route,) = (item for item in read_definitions("experimental") if item["spec"]["names"]["kind"] == "HTTPRoute")
    fields = {
        f"spec.{name}"
        for name in route["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    }
    assert fields >= OF_GATEWAYS
