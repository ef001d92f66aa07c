"""Labs for hostile tenants."""

from support.node.labs import ip_family, make_lab, no_stale_labs

__all__ = ["ip_family", "make_lab", "no_stale_labs"]
