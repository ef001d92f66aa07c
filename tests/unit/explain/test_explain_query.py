"""What `weft explain` takes for a request, and what for a connection."""

import pytest

from agent.explain.connection import parse
from agent.explain.query import QueryError


@pytest.mark.parametrize(
    ("destination", "options", "scheme", "url"),
    [
        ("cart:80", {}, "tcp", "tcp://cart:80/"),
        ("cart:53", {"udp": True}, "udp", "udp://cart:53/"),
        ("[fd00::1]:80", {}, "tcp", "tcp://[fd00::1]:80/"),
        ("cart:80", {"path": "/a?b=c"}, "http", "http://cart:80/a?b=c"),
        ("cart:80", {"method": "POST"}, "http", "http://cart:80/"),
        ("cart:80", {"headers": ["a: b"]}, "http", "http://cart:80/"),
        ("http://cart.shop/a?b", {}, "http", "http://cart.shop:80/a?b"),
        ("https://cart", {"method": "put"}, "https", "https://cart:443/"),
    ],
)
def test_a_request_is_what_says_more_than_a_port(
    destination: str, options: dict[str, object], scheme: str, url: str
) -> None:
    found = parse("app/web", destination, **options)  # type: ignore[arg-type]
    assert (found.scheme, found.url, found.is_request) == (scheme, url, scheme.startswith("http"))
    assert (found.pod.namespace, found.pod.name) == ("app", "web")


@pytest.mark.parametrize(
    ("destination", "options", "message"),
    [
        ("cart", {}, "'cart' is not HOST:PORT"),
        ("cart:0", {}, "'cart:0' is not HOST:PORT"),
        ("cart:80", {"path": "v1"}, "--path: 'v1' does not begin with /"),
        ("http://cart/", {"path": "/v1"}, "'http://cart/' is a URL: --path and --udp cannot be given with it"),
        ("http://cart/", {"udp": True}, "'http://cart/' is a URL: --path and --udp cannot be given with it"),
        ("cart:53", {"udp": True, "path": "/"}, "--udp: the waypoint does not serve HTTP over UDP"),
        ("ftp://cart/", {}, "is not http, https, tcp, udp"),
        ("http://cart/", {"headers": ["x"]}, "--header: 'x' is not NAME:VALUE"),
        ("http://[::1/", {}, "Invalid IPv6 URL"),
    ],
)
def test_what_makes_no_sense_is_told_so(destination: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(QueryError) as error:
        parse("app/web", destination, **options)  # type: ignore[arg-type]
    assert message in str(error.value)
