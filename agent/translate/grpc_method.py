"""The regular expression for the path of a gRPC call, `/service/method` (gRPC over HTTP/2)."""

from agent.model.routes import GRPCMethodMatch

ANY_SEGMENT = "[^/]+"


def path_expression(method: GRPCMethodMatch) -> str:
    """The RE2 expression for a match of type RegularExpression, or for an exact one that names only a method."""
    if method.type == "RegularExpression":
        return f"/(?:{method.service or ANY_SEGMENT})/(?:{method.method or ANY_SEGMENT})"
    return f"/{ANY_SEGMENT}/{_escaped(method.method or '')}"


def _escaped(text: str) -> str:
    """A name for RE2; method names consist of letters, digits, `_` and `.`."""
    return text.replace(".", r"\.")
