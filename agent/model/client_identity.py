"""Whether a Service's servers get the identities of their clients."""

from agent.model.meta import ObjectMeta

CLIENT_IDENTITY, XFCC, PROXY_PROTOCOL = "weft.dev/client-identity", "xfcc", "proxy-protocol"
"""The annotation of a Service, and its values: the header `x-forwarded-client-cert` of requests, and the header of the
PROXY protocol of connections that are forwarded as bytes. Both in one annotation are separated by a comma.
"""
# An annotation may have 256 KiB; what follows so many values is one that there is not.
_MAX_COMMAS = 7


def wants_xfcc(metadata: ObjectMeta) -> bool:
    """Whether the annotation asks for the header x-forwarded-client-cert."""
    return XFCC in _values(metadata)


def wants_proxy_protocol(metadata: ObjectMeta) -> bool:
    """Whether the annotation asks for the PROXY protocol."""
    return PROXY_PROTOCOL in _values(metadata)


def unknown_identity_values(metadata: ObjectMeta) -> list[str]:
    """The values of the annotation that have no effect."""
    return [item for item in _values(metadata) if item not in (XFCC, PROXY_PROTOCOL)]


def _values(metadata: ObjectMeta) -> list[str]:
    text = metadata.annotations.get(CLIENT_IDENTITY)
    return [] if text is None else [item.strip() for item in text.split(",", _MAX_COMMAS)]
