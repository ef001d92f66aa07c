"""What of a rule cannot be done, with the reason and the field that its author is told."""

import pytest

from agent.model.filters import (
    CORS,
    BackendObjectReference,
    ExternalAuth,
    Filter,
    HeaderFilter,
    HTTPAuth,
    PathModifier,
    RequestMirror,
    RequestRedirect,
    URLRewrite,
)
from agent.model.routes import (
    CookieConfig,
    FilteredBackendRef,
    HeaderConfig,
    HTTPPathMatch,
    HTTPRouteMatch,
    HTTPRouteRetry,
    HTTPRouteRule,
    SessionPersistence,
)
from agent.translate.routes.validate import check
from support.translate import http_route

INCOMPATIBLE, UNSUPPORTED = "IncompatibleFilters", "UnsupportedValue"


def error(rule: HTTPRouteRule) -> tuple[str, str]:
    """Reason and field of the first error of a rule, empty when there is none."""
    found = check(http_route(rule)).errors
    return (found[0][1].reason, found[0][1].field.removeprefix("spec.rules[0].")) if found else ("", "")


REDIRECT = Filter("RequestRedirect", request_redirect=RequestRedirect(hostname="b"))
REWRITE = Filter("URLRewrite", url_rewrite=URLRewrite("b"))
SCRIPTS = Filter("CORS", cors=CORS(("*",)))
COPY = Filter("RequestMirror", request_mirror=RequestMirror(BackendObjectReference("web", port=80)))
HEADERS = Filter("RequestHeaderModifier", request_header_modifier=HeaderFilter(remove=("a",)))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ((REWRITE, SCRIPTS, COPY, COPY, HEADERS), ("", "")),
        ((REDIRECT, HEADERS, COPY), ("", "")),
        ((REWRITE, REDIRECT), (INCOMPATIBLE, "filters")),
        ((SCRIPTS, REDIRECT), (INCOMPATIBLE, "filters")),
        ((SCRIPTS, SCRIPTS), (INCOMPATIBLE, "filters[1]")),
        ((REWRITE, HEADERS, REWRITE), (INCOMPATIBLE, "filters[2]")),
        ((Filter("CORS"),), (UNSUPPORTED, "filters[0]")),
        ((Filter("RequestMirror", cors=CORS()),), (UNSUPPORTED, "filters[0]")),
        ((Filter("Magic"),), (UNSUPPORTED, "filters[0].type")),
        ((Filter("ExtensionRef", extension_ref={}),), (UNSUPPORTED, "filters[0].extensionRef")),
    ],
)
def test_filters(filters: tuple[Filter, ...], expected: tuple[str, str]) -> None:
    assert error(HTTPRouteRule(filters=filters)) == expected


@pytest.mark.parametrize(
    ("of_rule", "own", "expected"),
    [
        ((REWRITE, COPY), (HEADERS, REWRITE, COPY), ("", "")),
        ((HEADERS,), (REDIRECT, COPY), ("", "")),
        ((), (HEADERS, SCRIPTS), (UNSUPPORTED, "backendRefs[0].filters[1].cors")),
        ((), (REDIRECT, REWRITE), (INCOMPATIBLE, "backendRefs[0].filters")),
        ((REWRITE,), (REDIRECT,), (INCOMPATIBLE, "backendRefs[0].filters")),
        ((SCRIPTS,), (REDIRECT,), (INCOMPATIBLE, "backendRefs[0].filters")),
    ],
)
def test_a_backend_s_filters_go_together_with_its_rule_s(
    of_rule: tuple[Filter, ...], own: tuple[Filter, ...], expected: tuple[str, str]
) -> None:
    backend = FilteredBackendRef("web", port=80, filters=own)
    assert error(HTTPRouteRule(filters=of_rule, backend_refs=(backend,))) == expected


def test_a_backend_replaces_prefixes_of_prefixes_only() -> None:
    own = Filter("URLRewrite", url_rewrite=URLRewrite(path=PathModifier("ReplacePrefixMatch", None, "/b")))
    backend = FilteredBackendRef("web", port=80, filters=(own,))
    exact = HTTPRouteMatch(HTTPPathMatch("Exact", "/a"))
    field = "backendRefs[0].filters[0].urlRewrite.path"
    assert error(HTTPRouteRule(matches=(exact,), backend_refs=(backend,))) == (INCOMPATIBLE, field)


def test_a_rule_that_redirects_has_no_backends() -> None:
    backend = FilteredBackendRef("web", port=80)
    assert error(HTTPRouteRule(filters=(REDIRECT,), backend_refs=(backend,))) == (INCOMPATIBLE, "backendRefs")


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (HTTPRouteRetry(), ("", "")),
        (HTTPRouteRetry((500,), 3, "1m30s"), ("", "")),
        (HTTPRouteRetry(attempts=2**32 - 1), ("", "")),
        (HTTPRouteRetry(attempts=2**32), (UNSUPPORTED, "retry.attempts")),
        (HTTPRouteRetry(backoff="1.5s"), (UNSUPPORTED, "retry.backoff")),
    ],
)
def test_retries(retry: HTTPRouteRetry, expected: tuple[str, str]) -> None:
    assert error(HTTPRouteRule(retry=retry)) == expected


HOUR = SessionPersistence(absolute_timeout="1h")
OLD_COOKIE = "sessionPersistence.cookieConfig"


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        (SessionPersistence(), ("", "")),
        (HOUR, ("", "")),
        (SessionPersistence(type="Header"), ("", "")),
        (SessionPersistence(type="Header", absolute_timeout="1h"), (UNSUPPORTED, "sessionPersistence.absoluteTimeout")),
        (SessionPersistence(absolute_timeout="0s"), (UNSUPPORTED, "sessionPersistence.absoluteTimeout")),
        (SessionPersistence(absolute_timeout="soon"), (UNSUPPORTED, "sessionPersistence.absoluteTimeout")),
        (SessionPersistence(idle_timeout="1h"), (UNSUPPORTED, "sessionPersistence.idleTimeout")),
        (SessionPersistence("a b"), (UNSUPPORTED, "sessionPersistence.sessionName")),
        (SessionPersistence(""), (UNSUPPORTED, "sessionPersistence.sessionName")),
        (SessionPersistence(cookie=CookieConfig(name="a b")), (UNSUPPORTED, "sessionPersistence.cookie.name")),
        (SessionPersistence(cookie=CookieConfig(path="")), (UNSUPPORTED, "sessionPersistence.cookie.path")),
        (SessionPersistence(cookie=CookieConfig(path="a")), (UNSUPPORTED, "sessionPersistence.cookie.path")),
        (SessionPersistence(cookie=CookieConfig(path="/a; Domain=b")), (UNSUPPORTED, "sessionPersistence.cookie.path")),
        (SessionPersistence(cookie=CookieConfig(path="/a\r\nb: c")), (UNSUPPORTED, "sessionPersistence.cookie.path")),
        (SessionPersistence(cookie=CookieConfig(name="seat", path="/a/b?c")), ("", "")),
        (SessionPersistence("seat", cookie=CookieConfig()), (UNSUPPORTED, "sessionPersistence.sessionName")),
        (SessionPersistence(cookie_config=CookieConfig(), cookie=CookieConfig()), (UNSUPPORTED, OLD_COOKIE)),
        (SessionPersistence(type="Header", header=HeaderConfig("a:")), (UNSUPPORTED, "sessionPersistence.header.name")),
        (SessionPersistence(type="Header", header=HeaderConfig("x-seat")), ("", "")),
        (SessionPersistence(type="Header", header=HeaderConfig("TE")), (UNSUPPORTED, "sessionPersistence.header.name")),
    ],
)
def test_sessions(session: SessionPersistence, expected: tuple[str, str]) -> None:
    assert error(HTTPRouteRule(session_persistence=session)) == expected


@pytest.mark.parametrize(("count", "expected"), [(1, ("", "")), (2, (UNSUPPORTED, "sessionPersistence"))])
def test_sessions_and_filters_of_one_backend_among_several(count: int, expected: tuple[str, str]) -> None:
    backends = (FilteredBackendRef("web", port=80, filters=(HEADERS,)), FilteredBackendRef("web", port=80))
    assert error(HTTPRouteRule(backend_refs=backends[:count], session_persistence=HOUR)) == expected


def test_a_rule_whose_authorization_cannot_be_done_is_closed_unless_its_matches_cannot() -> None:
    auth = ExternalAuth("HTTP", BackendObjectReference("auth", port=80), http=HTTPAuth(".."))
    wrong = Filter("ExternalAuth", external_auth=auth)
    nowhere = HTTPRouteMatch(HTTPPathMatch("RegularExpression", "("))
    rules = (HTTPRouteRule(filters=(wrong,)), HTTPRouteRule(), HTTPRouteRule(matches=(nowhere,), filters=(wrong,)))
    checked = check(http_route(*rules))
    assert (checked.valid, checked.closed, [index for index, _ in checked.errors]) == ((1,), (0,), [0, 2])
