"""Every field that definitions give to Routes, imports and policies is one that weft's model has."""

from typing import Any

import pytest

from agent.explain.fields import CHECKED, NOT_NEEDED, Definitions, ignored_fields
from agent.model.parameters import MESH
from support.apiserver.gateway import read_definitions, read_imports, read_shipped


def filled(schema: dict[str, Any]) -> Any:
    """A value with every field of a structural schema."""
    if "properties" in schema:
        return {name: filled(part) for name, part in schema["properties"].items()}
    return [filled(schema["items"])] if "items" in schema else None


@pytest.mark.parametrize("channel", ["standard", "experimental"])
@pytest.mark.parametrize("version", ["1.6", "1.7"])
def test_every_field_is_known(reason: None, version: str, channel: str) -> None:
    known = (item for item in read_definitions(channel, version) if item["spec"]["names"]["kind"] in CHECKED)
    documents = [*known, read_imports(), read_shipped("authorizationpolicies"), read_shipped("meshparameters")]
    missing = set() if channel == "experimental" else {MESH}
    assert {item["spec"]["names"]["kind"] for item in documents} == set(CHECKED) - missing
    schemas = Definitions.of(documents).schemas
    for (api_version, kind), (schema, release) in schemas.items():
        route = filled(schema) | {"apiVersion": api_version, "kind": kind}
        assert route["spec"], release
        assert list(ignored_fields(route, Definitions())) == []
        # And the walk over a schema finds all of its own fields.
        assert list(ignored_fields(route, Definitions({(api_version, kind): (schema, release)}))) == []


def test_the_exceptions_are_fields_of_the_definitions(reason: None) -> None:
    documents = [*read_definitions("experimental"), read_imports()]
    schemas = Definitions.of(documents).schemas.values()
    fields = {f"spec.{name}" for schema, _ in schemas for name in schema["properties"]["spec"]["properties"]}
    assert fields >= NOT_NEEDED
