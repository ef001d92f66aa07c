"""ReferenceGrant of the Gateway API (`gateway.networking.k8s.io/v1`)."""

import msgspec

from agent.model.meta import Object, Value


class ReferenceGrantFrom(Value, frozen=True):
    """The objects that may refer."""

    group: str
    kind: str
    namespace: str


class ReferenceGrantTo(Value, frozen=True):
    """The objects that they may refer to."""

    group: str
    kind: str
    name: str | None = None


class ReferenceGrantSpec(Value, frozen=True):
    """A ReferenceGrant's spec."""

    from_: tuple[ReferenceGrantFrom, ...] = msgspec.field(default=(), name="from")
    to: tuple[ReferenceGrantTo, ...] = ()


class ReferenceGrant(Object, frozen=True):
    """Permission for references across namespaces; mesh backendRefs need none (GEP-1294)."""

    spec: ReferenceGrantSpec = ReferenceGrantSpec()
