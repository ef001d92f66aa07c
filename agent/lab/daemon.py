"""The lab's one background process: controllers, kubelet, service proxy and DNS, in the node's namespace."""

import argparse
import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from watchfiles import awatch

from agent.lab import network, proxy
from agent.lab.controllers import Seen, step
from agent.lab.dns import DNSServer, names
from agent.lab.families import ranges_of
from agent.lab.kubelet import Kubelet
from agent.lab.paths import LabPaths
from agent.lab.store import Objects, Store

LOG = logging.getLogger(__name__)
_KUBE_DNS = """
{{apiVersion: v1, kind: Service, metadata: {{name: kube-dns, namespace: kube-system}}, spec: {{
  clusterIP: "{ranges.dns}",
  ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]}}}}
---
{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: kube-dns, namespace: kube-system,
  labels: {{kubernetes.io/service-name: kube-dns}}}}, addressType: {ranges.name},
  endpoints: [{{addresses: ["{ranges.node}"], conditions: {{ready: true}}}}],
  ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]}}
"""


class Daemon:
    """Brings the node in step with the store, whenever the store or a pod changes."""

    def __init__(self, paths: LabPaths) -> None:
        self._paths = paths
        self._store = Store(paths)
        self._dirty = asyncio.Event()
        self._kubelet = Kubelet(paths, self._dirty.set)
        self._dns = DNSServer()
        self._rules = ""
        self._families = ranges_of(paths)

    async def run(self) -> None:
        """Run until killed."""
        await asyncio.to_thread(network.furnish_node, self._families)
        first = self._families[0]
        await self._dns.start(first.node)
        self._store.apply(_KUBE_DNS.format(ranges=first))
        watch = asyncio.create_task(self._watch())
        while not watch.done():
            self._dirty.clear()
            try:
                await self._reconcile()
            except Exception:
                # A manifest that breaks a controller must not stop the pods of others.
                LOG.exception("could not reconcile; trying again")
            # Not for ever: a change that came before the watch was set up would wait as long.
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._dirty.wait()
        watch.result()

    async def _watch(self) -> None:
        async for _ in awatch(self._paths.manifests, debounce=100, step=10, recursive=False):
            self._dirty.set()

    async def _reconcile(self) -> None:
        # In a thread: the store may be locked for longer than a probe may take.
        objects = await asyncio.to_thread(self._control, self._kubelet.seen)
        self._dns.known = names(objects)
        rules = proxy.ruleset(objects, self._families)
        if rules != self._rules:
            await asyncio.to_thread(proxy.load, rules)
            self._rules = rules
        await self._kubelet.sync(objects)

    def _control(self, seen: Mapping[str, Seen]) -> Objects:
        with self._store.locked():
            before = self._store.load()
            after = step(before, seen, self._families)
            self._store.save(before, after)
        return after


def main() -> None:
    """Run the daemon of the lab that is named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    asyncio.run(Daemon(LabPaths(parser.parse_args().name)).run())


if __name__ == "__main__":
    main()
