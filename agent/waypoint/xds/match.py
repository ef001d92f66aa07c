"""Matches of HTTPRoutes and GRPCRoutes as Envoy's."""

from typing import Any

from agent.ir.resources import Json
from agent.model.routes import (
    GRPCMethodMatch,
    GRPCRouteMatch,
    HeaderMatch,
    HTTPPathMatch,
    HTTPRouteMatch,
    QueryParamMatch,
)
from agent.translate.grpc_method import path_expression


def route_match(match: HTTPRouteMatch | GRPCRouteMatch) -> dict[str, Any]:
    """A RouteMatch; all of its conditions must hold."""
    if isinstance(match, GRPCRouteMatch):
        return {**_method(match.method), **_listed("headers", [_header(item) for item in match.headers])}
    headers = [_header(item) for item in match.headers]
    if match.method is not None:
        headers.append({"name": ":method", "string_match": {"exact": match.method}})
    return {
        **_path(match.path),
        **_listed("headers", headers),
        **_listed("query_parameters", [_query(item) for item in match.query_params]),
    }


def _listed(name: str, items: list[Json]) -> Json:
    return {name: items} if items else {}


def _path(path: HTTPPathMatch) -> Json:
    """Prefixes match whole segments: `/v2` matches `/v2` and `/v2/x`, not `/v2x` (HTTPPathMatch)."""
    if path.type == "Exact":
        return {"path": path.value}
    if path.type == "RegularExpression":
        return {"safe_regex": {"regex": path.value}}
    prefix = path.value.rstrip("/")
    return {"path_separated_prefix": prefix} if prefix else {"prefix": "/"}


def _method(method: GRPCMethodMatch | None) -> Json:
    """gRPC's path is `/service/method` (gRPC over HTTP/2)."""
    if method is None:
        return {"prefix": "/"}
    if method.type == "Exact" and method.service and method.method:
        return {"path": f"/{method.service}/{method.method}"}
    if method.type == "Exact" and method.service:
        return {"prefix": f"/{method.service}/"}
    return {"safe_regex": {"regex": path_expression(method)}}


def _header(item: HeaderMatch) -> Json:
    return {"name": item.name, "string_match": _string(item.type, item.value)}


def _query(item: QueryParamMatch) -> Json:
    return {"name": item.name, "string_match": _string(item.type, item.value)}


def _string(kind: str, value: str) -> Json:
    return {"safe_regex": {"regex": value}} if kind == "RegularExpression" else {"exact": value}
