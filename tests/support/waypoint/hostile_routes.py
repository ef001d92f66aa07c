"""Random rules of Routes, with values in every field that Envoy might refuse, as far as a schema lets them through."""

from typing import Any

from hypothesis import strategies as st

from agent.model.filters import (
    CORS,
    BackendObjectReference,
    Filter,
    Fraction,
    Header,
    HeaderFilter,
    PathModifier,
    RequestMirror,
    RequestRedirect,
    URLRewrite,
)
from agent.model.routes import (
    CookieConfig,
    FilteredBackendRef,
    GRPCMethodMatch,
    GRPCRouteMatch,
    GRPCRouteRule,
    HeaderConfig,
    HeaderMatch,
    HTTPPathMatch,
    HTTPRouteMatch,
    HTTPRouteRetry,
    HTTPRouteRule,
    HTTPRouteTimeouts,
    QueryParamMatch,
    SessionPersistence,
)

REGEX = "RegularExpression"
MAX_LENGTH = 1024
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
BACKENDS = ("web", "other", "missing")
GOOD = (
    "a",
    "é",
    "€",
    ".",
    "|",
    "(?:a|b)",
    "(?i)",
    "(?P<n>a)",
    "[a-z]",
    "[^/]",
    "[é-ü]",
    ".*",
    r"\d+",
    "{1,9}",
    "/",
    "%",
    "-",
)
BAD = (
    *(
        "^",
        "$",
        "(",
        ")",
        "?",
        "*?",
        "{0,255}",
        "{999}",
        "{1001}",
        r"\W",
        r"\b",
        r"\Q",
        r"\E",
        r"\C",
        r"\pL",
        r"\x{100}",
    ),
    *(r"\xff", "\\", "\n", "\x00", "(?=", r"\1", "[[:alpha:]]", "[[:no:]]"),
)


def _joined(*atoms: str) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(atoms), max_size=12).map("".join)


# Most are good, so that whole rules are: a bad one hides what else would be refused.
EXPRESSIONS = (
    _joined(*GOOD).map("a{}".format)
    | _joined(*GOOD).map("a{}".format)
    | _joined(*GOOD, *BAD)
    | st.sampled_from(
        [
            "/(users|orders)/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/(details|history)(/.*)?",
            *(
                "a" * MAX_LENGTH,
                "é" * MAX_LENGTH,
                "[a-z]{1000}" * 2,
                "(?:a?){500}",
                "(?:ab|cd){300}",
                r"\Qa",
                "(?P<n>a)",
            ),
        ]
    )
)
# As hostile as fields without a pattern may be: spaces, controls, what Envoy and RE2 read as commands.
TEXTS = (
    st.text(st.sampled_from("aZ/%${}*;,:@'"), max_size=9)
    | st.text(st.sampled_from("aZ/ %\\${}()*?#;,:@\"'\t\n\x00\x01\x7fé€\U0001f600"), max_size=9)
    | st.sampled_from(["%REQ(host)%", "%%", "\\0", "\\1", "\U0001f600" * 1024, "a" * 4096, "%" * 1024])
)
PATHS = st.lists(st.sampled_from(["a", "B.c", "*", "(", "%20", "%5C", "$", "+", ":"]), max_size=5).map(
    lambda parts: "/" + "/".join(parts)
) | st.sampled_from(["/" + "(" * 1023, "/" + "ab/" * 341, "/a/"])
NAMES = st.text(st.sampled_from("aX-_.!#$%&'*+^`|~9"), min_size=1, max_size=6) | st.sampled_from(
    [
        *(
            "Content-Length",
            "TE",
            "host",
            "Set-Cookie",
            "location",
            "date",
            "x-envoy-retry-on",
            "a" * 256,
            "via",
            "cookie",
        )
    ]
)
HOSTS = st.none() | st.sampled_from(["a.example", "a" * 63, "A b", "%REQ(x)%", "a:80", "", "1.2.3.4"])
DURATIONS = st.sampled_from(["0s", "1ms", "1h30m", "99999h", "99999h99999h99999h99999h", "1.5s", "x"])


def _values() -> st.SearchStrategy[tuple[str, str]]:
    """A type of match and a value."""
    return st.tuples(st.just(REGEX), EXPRESSIONS) | st.tuples(st.just("Exact"), TEXTS)


def _named(build: type) -> st.SearchStrategy[tuple[Any, ...]]:
    one = st.builds(lambda name, value: build(name, value[1], value[0]), NAMES, _values())
    return st.lists(one, max_size=2, unique_by=lambda item: item.name.lower()).map(tuple)


HTTP_PATHS = st.builds(HTTPPathMatch, st.sampled_from(["Exact", "PathPrefix"]), PATHS) | st.builds(
    HTTPPathMatch, st.just(REGEX), EXPRESSIONS
)
HTTP_MATCHES = st.builds(
    HTTPRouteMatch,
    HTTP_PATHS,
    _named(HeaderMatch),
    _named(QueryParamMatch),
    st.none() | st.sampled_from(METHODS),
)
WORDS = st.sampled_from(["a.B", "C", "a" * 1024])
GRPC_METHODS = st.builds(
    GRPCMethodMatch,
    st.sampled_from(["Exact", REGEX]),
    st.none() | EXPRESSIONS | WORDS,
    st.none() | EXPRESSIONS | WORDS,
)
GRPC_MATCHES = st.builds(GRPCRouteMatch, st.none() | GRPC_METHODS, _named(HeaderMatch))
HEADERS = st.lists(st.builds(Header, NAMES, TEXTS), max_size=2).map(tuple)
CHANGES = st.builds(HeaderFilter, HEADERS, HEADERS, st.lists(NAMES, max_size=2).map(tuple))
MODIFIERS = st.none() | st.builds(
    lambda kind, text: PathModifier(
        kind, text if kind == "ReplaceFullPath" else None, text if kind == "ReplacePrefixMatch" else None
    ),
    st.sampled_from(["ReplaceFullPath", "ReplacePrefixMatch"]),
    TEXTS | PATHS,
)
MIRRORS = st.builds(
    RequestMirror,
    st.builds(lambda name: BackendObjectReference(name, port=80), st.sampled_from(BACKENDS)),
    st.none() | st.sampled_from([0, 1, 100]),
) | st.builds(
    RequestMirror, st.just(BackendObjectReference("web", port=80)), st.none(), st.just(Fraction(1, 2**31 - 1))
)
ORIGINS = st.sampled_from(["*", "http://a", "https://*.a.example:8443", "https://" + "a" * 245, "HTTP://A", "http://*"])
FILTERS = st.one_of(
    CHANGES.map(lambda item: Filter("RequestHeaderModifier", request_header_modifier=item)),
    CHANGES.map(lambda item: Filter("ResponseHeaderModifier", response_header_modifier=item)),
    st.builds(URLRewrite, HOSTS, MODIFIERS).map(lambda item: Filter("URLRewrite", url_rewrite=item)),
    st.builds(
        RequestRedirect,
        st.sampled_from([None, "http", "https", "ftp"]),
        HOSTS,
        MODIFIERS,
        st.sampled_from([None, 1, 65535]),
        st.sampled_from([301, 302, 303, 307, 308, 200]),
    ).map(lambda item: Filter("RequestRedirect", request_redirect=item)),
    MIRRORS.map(lambda item: Filter("RequestMirror", request_mirror=item)),
    st.builds(
        CORS,
        st.lists(ORIGINS, max_size=2, unique=True).map(tuple),
        st.sampled_from([None, True, False]),
        st.sampled_from([(), ("*",), ("GET", "PATCH")]),
        st.sampled_from([(), ("*",), ("content-length", "x-a")]),
        st.sampled_from([(), ("*",), ("transfer-encoding",)]),
        st.sampled_from([1, 2**31 - 1]),
    ).map(lambda item: Filter("CORS", cors=item)),
)
FILTER_LISTS = st.lists(FILTERS, max_size=2).map(tuple)
BACKEND_REFS = st.lists(
    st.builds(
        lambda name, weight, filters: FilteredBackendRef(name, port=80, weight=weight, filters=filters),
        st.sampled_from(BACKENDS),
        st.sampled_from([0, 1, 1_000_000]),
        st.just(()) | FILTER_LISTS,
    ),
    max_size=3,
).map(tuple)
COOKIES = st.builds(CookieConfig, st.just("Session"), st.none() | NAMES, st.none() | TEXTS.map("/{}".format))
# In the shape of v1.6, or in that of v1.7.
SESSIONS = (
    st.none()
    | st.builds(
        lambda name, timeout, kind: SessionPersistence(name, timeout, type=kind),
        st.none() | NAMES,
        st.none() | DURATIONS,
        st.sampled_from(["Cookie", "Header"]),
    )
    | st.builds(
        lambda timeout, cookie: SessionPersistence(absolute_timeout=timeout, cookie=cookie),
        st.none() | DURATIONS,
        COOKIES,
    )
    | st.builds(lambda name: SessionPersistence(type="Header", header=HeaderConfig(name)), NAMES)
)
RETRIES = st.none() | st.builds(
    HTTPRouteRetry,
    st.sampled_from([(), (400, 599)]),
    st.sampled_from([None, 0, 1, 2**32 - 1, 2**32]),
    st.none() | DURATIONS,
)
TIMEOUTS = st.builds(HTTPRouteTimeouts, st.none() | DURATIONS, st.none() | DURATIONS)
HTTP_RULES = st.builds(
    HTTPRouteRule,
    st.just(""),
    st.lists(HTTP_MATCHES, min_size=1, max_size=2).map(tuple),
    FILTER_LISTS,
    BACKEND_REFS,
    TIMEOUTS,
    RETRIES,
    SESSIONS,
)
GRPC_RULES = st.builds(
    GRPCRouteRule, st.just(""), st.lists(GRPC_MATCHES, max_size=2).map(tuple), FILTER_LISTS, BACKEND_REFS, SESSIONS
)
