"""Answers the queries of `weft authz` on the agent's socket."""

import asyncio

import msgspec

from agent.explain.cluster_reach import ClusterReach
from agent.explain.query import QueryError
from agent.explain.reach import ReachQuery
from agent.node.time_slice import TimeSlice
from agent.telemetry.http import BadRequestError, Query, Response


async def answer_reach(source: ClusterReach, query: Query) -> Response:
    """The answer: its rows are made in time slices, the document in a thread. Raises `BadRequestError`."""
    try:
        answer = msgspec.json.decode(query.get("query", ""), type=ReachQuery).answer(source)
    except msgspec.DecodeError as error:
        raise BadRequestError(f"query: {error}") from error
    except QueryError as error:
        raise BadRequestError(str(error)) from error
    time_slice = TimeSlice(asyncio.get_running_loop().time)
    time_slice.begin()
    rows = []
    for row in answer.rows:
        rows.append(row)
        await time_slice.yield_if_over()
    return await asyncio.to_thread(lambda: Response.json(answer.document(rows)))
