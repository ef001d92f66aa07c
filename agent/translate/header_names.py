"""Header names that no Route may change: those of message framing and of the connection.

A connection from Envoy to a server is shared by the clients of every namespace. A Route that changed its framing would
have the server see other requests on it than Envoy sent, and other clients get their answers. So these names are for
the two ends of each connection only (RFC 9110 §7.6.1, RFC 9113 §8.2.2), in requests and in responses.
"""

FRAMING = frozenset({"content-length", "transfer-encoding", "trailer", "te", "expect"})
CONNECTION = frozenset({"connection", "proxy-connection", "keep-alive", "upgrade", "http2-settings"})
HOST = "host"


def header_name_error(name: str) -> str:
    """Why a filter or a session may not use a header of this name, empty when it may."""
    lowered = name.lower()
    if lowered == HOST or lowered.startswith(":"):
        return "Host is not a header to modify; URLRewrite.hostname is for that"
    if lowered in FRAMING:
        return f"{name} is part of a message's framing, which no Route can change"
    if lowered in CONNECTION:
        return f"{name} is for one connection only (RFC 9110, 7.6.1), which no Route can change"
    return ""
