"""MeshParameters that cannot be decoded: what of them can, and the strictest value of each other field."""

from typing import Any, TypeVar

import msgspec

from agent.model.change import Problem
from agent.model.meta import Key
from agent.model.parameters import (
    KIND,
    MeshAuthorization,
    MeshCertificates,
    MeshEncryption,
    MeshParametersSpec,
    UndecodableMeshParameters,
)

T = TypeVar("T")
STRICTEST = MeshParametersSpec("", MeshAuthorization("Deny"), MeshEncryption("Strict"))
"""No client is of a trust domain without a name. The addresses of pods are then those of the known nodes. No authority
is made.
"""


def undecodable_parameters(document: Any, problem: Problem) -> tuple[UndecodableMeshParameters, ...]:
    """The fact about parsed MeshParameters with this problem; none without a name."""
    metadata = _object(_object(document).get("metadata"))
    name, generation = metadata.get("name"), metadata.get("generation")
    if not isinstance(name, str):
        return ()
    spec = _object(document).get("spec")
    known = generation if isinstance(generation, int) else 0
    return (UndecodableMeshParameters(Key(KIND, "", name), known, _strictest(spec), problem.field, problem.message),)


def _strictest(spec: Any) -> MeshParametersSpec:
    """A field that is absent has its default, one that cannot be decoded its strictest value."""
    if not isinstance(spec, dict):
        return STRICTEST
    plain = MeshParametersSpec()
    return MeshParametersSpec(
        _field(spec, "trustDomain", str, plain.trust_domain, STRICTEST.trust_domain),
        _field(spec, "authorization", MeshAuthorization, plain.authorization, STRICTEST.authorization),
        _field(spec, "encryption", MeshEncryption, plain.encryption, STRICTEST.encryption),
        _field(spec, "certificates", MeshCertificates, plain.certificates, STRICTEST.certificates),
    )


def _field(spec: dict[Any, Any], name: str, kind: type[T], absent: T, strictest: T) -> T:
    try:
        return msgspec.convert(spec[name], kind) if name in spec else absent
    except (msgspec.ValidationError, RecursionError, OverflowError):
        return strictest


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
