"""Clients and ports of policies, as people read them."""

from collections.abc import Sequence


def client_text(client: str) -> str:
    """A client of a policy: `NAMESPACE/ACCOUNT`, `NAMESPACE/*` or `*`."""
    if client == "*":
        return "every client"
    namespace, _, account = client.partition("/")
    return f"every pod of namespace {namespace}" if account == "*" else client


def ports_text(ports: Sequence[int] | None, but: Sequence[int] | None) -> str:
    """These ports, or all but some."""
    if ports is not None:
        return ", ".join(map(str, ports))
    return f"every port but {', '.join(map(str, but))}" if but else "every port"
