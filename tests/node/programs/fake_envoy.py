"""Presents itself to the agent as an Envoy that was started just now, and acknowledges whatever it gets.

Arguments: the agent's socket, an address, and namespaces with listeners of their own. It has no listener anywhere.
Prints the names of the listeners that it has acknowledged, as JSON, whenever they change.
"""

import asyncio
import json
import sys
import time

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format
from grpc import aio

from agent.ir.resources import ResourceType
from agent.waypoint.server import METHOD, SERVICE
from agent.waypoint.xds import identities
from agent.waypoint.xds.client_allow_list import client_allow_list_name

# Whose names are those of the resources that lead to them.
FOLLOWING = {ResourceType.CLUSTER: ResourceType.ENDPOINT, ResourceType.LISTENER: ResourceType.ROUTE}


def request(kind, **fields):
    return discovery_pb2.DeltaDiscoveryRequest(type_url=kind, **fields)


async def main(socket, address, *consumers):
    node = {"id": "fake", "metadata": {"address": address, "started": str(time.monotonic_ns()), "room": "1000"}}
    first = request(ResourceType.CLUSTER)
    json_format.ParseDict(node, first.node)
    async with aio.insecure_channel(f"unix:{socket}") as channel:
        stream = channel.stream_stream(
            f"/{SERVICE}/{METHOD}",
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
        )()
        filters = [identities.NAME, *(client_allow_list_name(consumer) for consumer in ("", *consumers))]
        for each in (
            first,
            request(ResourceType.LISTENER),
            request(ResourceType.EXTENSION, resource_names_subscribe=filters),
        ):
            await stream.write(each)
        async for response in stream:
            kind = ResourceType(response.type_url)
            names = [resource.name for resource in response.resources]
            if kind in FOLLOWING and names:
                await stream.write(request(FOLLOWING[kind], resource_names_subscribe=names))
            await stream.write(request(kind, response_nonce=response.nonce))
            if kind is ResourceType.LISTENER:
                print(json.dumps(names), flush=True)


asyncio.run(main(*sys.argv[1:]))
