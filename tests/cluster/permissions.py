"""What weft's accounts may do on the cluster that runs, and what its audit log says that they did."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import cluster

_PREFIX = "system:serviceaccount:weft-system:"


@dataclass(frozen=True, order=True, slots=True)
class Permission:
    """One verb on one resource, for one account."""

    account: str
    verb: str
    resource: str  # GROUP/RESOURCE, or GROUP/RESOURCE/SUBRESOURCE

    def __str__(self) -> str:
        return f"{self.account}: {self.verb} {self.resource}"


def granted() -> set[Permission]:
    """By weft's Roles and ClusterRoles, each bound to the account of its name; of what the API server serves."""
    served = set(cluster.kubectl("api-resources", "--output=name").split())
    roles = json.loads(cluster.kubectl("get", "clusterroles,roles", "--namespace=weft-system", "--output=json"))
    return {
        Permission(role["metadata"]["name"], verb, f"{group}/{resource}")
        for role in roles["items"]
        if role["metadata"]["name"].startswith("weft-")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if ".".join(filter(None, (resource.partition("/")[0], group))) in served
    }


def requested(since: datetime | None = None) -> Iterator[tuple[Permission, int]]:
    """What was asked for, in its order, with the status of the answer."""
    for line in cluster.PROVIDER.AUDIT_LOG.read_text().splitlines():
        event = json.loads(line)
        user, target = event["user"]["username"], event.get("objectRef", {})
        when = datetime.fromisoformat(event["requestReceivedTimestamp"])
        if user.startswith(_PREFIX) and "resource" in target and not (since and when < since):
            resource = "/".join(
                [target.get("apiGroup", ""), target["resource"], *filter(None, [target.get("subresource")])]
            )
            yield Permission(user.removeprefix(_PREFIX), event["verb"], resource), event["responseStatus"]["code"]
