"""Which TLSRoute takes a connection, by the server name that its client says first."""

from agent.ir.http import TLSRouteSet, TLSRule


def rule_for(route_set: TLSRouteSet, server_name: str) -> TLSRule | None:
    """The rule with that very name, else with the longest `*.` that fits, else the one for any server; None closes.

    A client that dials an address says no name: it is empty.
    """
    wanted = server_name.lower()
    labels = wanted.split(".")
    suffixes = ["*." + ".".join(labels[position:]) for position in range(1, len(labels))]
    for name in (wanted, *suffixes):
        found = next((rule for rule in route_set.rules if name and name in rule.server_names), None)
        if found is not None:
            return found
    return next((rule for rule in route_set.rules if not rule.server_names), None)
