"""Whether a Service's servers are told who their clients are."""

from agent.model.meta import ObjectMeta

CLIENT_IDENTITY, XFCC = "weft.dev/client-identity", "xfcc"
"""The annotation of a Service, and its only value: the header `x-forwarded-client-cert`."""


def tells_identity(metadata: ObjectMeta) -> bool:
    """Whether servers are told, by the annotation."""
    return metadata.annotations.get(CLIENT_IDENTITY) == XFCC
