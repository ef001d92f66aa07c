"""The annotation `weft.dev/client-identity` of a Service: its servers get the SPIFFE ID of the client of a request."""

from collections.abc import Iterator

from agent.model.client_identity import CLIENT_IDENTITY, XFCC, wants_xfcc
from agent.model.multicluster import AnyService
from agent.store.store import TrackedView
from agent.translate.parameters import mesh_parameters


def xfcc_trust_domain(view: TrackedView, service: AnyService) -> str:
    """The trust domain of the SPIFFE IDs that servers of a Service get; empty: they get none."""
    return mesh_parameters(view).spec.trust_domain if wants_xfcc(service.metadata) else ""


def identity_warnings(service: AnyService) -> Iterator[str]:
    """A value of the annotation that has no effect."""
    text = service.metadata.annotations.get(CLIENT_IDENTITY)
    if text not in (None, XFCC):
        yield f"{service.key}: metadata.annotations[{CLIENT_IDENTITY}]: {text[:40]!r} is not {XFCC}; ignored"
