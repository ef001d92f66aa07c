"""Which kinds an API server serves, by its discovery endpoints."""

from collections.abc import Sequence

from agent.kube.client import ApiServer
from agent.kube.collection import Collection
from agent.kube.definitions import best_versions, group_versions, resources
from agent.kube.errors import ApiError


async def served(api: ApiServer, collections: Sequence[Collection]) -> dict[Collection, str]:
    """The best served version of each collection, without those that are not served. Raises `ApiError`,
    `msgspec.DecodeError`.
    """
    versions = await _versions(api, collections)
    return best_versions(collections, {version: resources(await api.get(f"/apis/{version}")) for version in versions})


async def _versions(api: ApiServer, collections: Sequence[Collection]) -> list[str]:
    """The apiVersions of the groups that some servers do not have completely."""
    found: list[str] = []
    for group in sorted({item.group for item in collections if item.defined or item.optional}):
        try:
            found += group_versions(await api.get(f"/apis/{group}"))
        except ApiError as error:
            if error.status != 404:
                raise
    return found
