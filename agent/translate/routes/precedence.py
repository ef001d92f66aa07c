"""Which of several matches wins (HTTPRouteRule.matches, GRPCRouteRule.matches): the smaller key."""

from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch

# The API orders Exact before PathPrefix and leaves regular expressions open; they come between the two, longest first.
_PATH_RANK = {"Exact": 0, "RegularExpression": 1, "PathPrefix": 2}

Specificity = tuple[int, ...]


def http_specificity(match: HTTPRouteMatch) -> Specificity:
    """Exact path, longest path, a method, most headers, most query parameters."""
    return (
        _PATH_RANK[match.path.type],
        -len(match.path.value.rstrip("/") if match.path.type == "PathPrefix" else match.path.value),
        match.method is None,
        -len(match.headers),
        -len(match.query_params),
    )


def grpc_specificity(match: GRPCRouteMatch) -> Specificity:
    """Longest service, longest method, most headers; exact names before regular expressions of the same length."""
    method = match.method
    return (
        -len(method.service or "") if method else 0,
        -len(method.method or "") if method else 0,
        -len(match.headers),
        method is not None and method.type != "Exact",
    )
