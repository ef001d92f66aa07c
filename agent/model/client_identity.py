"""Whether a Service's servers get the identities of their clients."""

from agent.model.meta import ObjectMeta

CLIENT_IDENTITY, XFCC = "weft.dev/client-identity", "xfcc"
"""The annotation of a Service, and its only value: the header `x-forwarded-client-cert`."""


def wants_xfcc(metadata: ObjectMeta) -> bool:
    """Whether the annotation asks for the header x-forwarded-client-cert."""
    return metadata.annotations.get(CLIENT_IDENTITY) == XFCC
