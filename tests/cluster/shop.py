"""The shop: Services in the mesh for which `load`'s clients make requests of every kind."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cluster
import install
import load
import weft_image

MANIFESTS = cluster.MANIFESTS / "shop.yaml"
SPACE = "shop"


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """In the shop's namespace."""
    return cluster.kubectl(f"--namespace={SPACE}", *arguments, stdin=stdin)


@contextmanager
def running(up: Sequence[str]) -> Iterator[None]:
    """A cluster that the command `up` makes, with weft and the shop."""
    subprocess.run(up, check=True)
    try:
        install.install()
        cluster.kubectl("apply", "-f", "-", stdin=_manifests())
        kubectl("rollout", "status", "--timeout=120s", "deployment/web")
        load.provide(SPACE)
        yield
    finally:
        cluster.down()


def _manifests() -> str:
    """The shop, served by the lab's server from weft's own image."""
    return (
        MANIFESTS.read_text().replace("IMAGE", f"{weft_image.NAME}:{weft_image.tag()}").replace("PYTHON", load.PYTHON)
    )


def nothing_is_lost(seen: load.Seen) -> None:
    """Every kind of exchange took place, through a waypoint, and none failed."""
    print(json.dumps({"counts": seen.counts, "lives": seen.lives}, sort_keys=True))
    assert seen.failures == []
    for kind in ("new", "new POST", "slow POST", "kept", "kept POST", "gRPC"):
        assert any(name.startswith(f"{kind} by") for name in seen.counts), kind
    for kind in ("WebSocket: ended by the client", "gRPC stream: answered", "slow POST: answered"):
        assert seen.lives[kind], kind
