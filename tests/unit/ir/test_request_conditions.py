"""What a policy's rule asks of a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.ir.request import Request
from agent.ir.request_conditions import AMBIGUOUS, AMBIGUOUS_PATH, ANY_REQUEST, PathCondition, RequestConditions
from agent.translate.regex import full_match

PREFIX = PathCondition("/a", exact=False)


def wanted(path: str, *paths: PathCondition) -> bool:
    return RequestConditions(paths=paths).hold(Request("GET", "h", path))


@pytest.mark.parametrize(
    ("path", "held"),
    [("/a", True), ("/a/", True), ("/a/b", True), ("/a?/b", True), ("/ab", False), ("/", False), ("/b/a", False)],
)
def test_a_prefix_matches_whole_segments(path: str, held: bool) -> None:
    assert wanted(path, PREFIX) is held


def test_an_exact_path_is_that_path() -> None:
    paths = ("/a/", "/a/?q", "/a", "/a/b", "/A/")
    assert [path for path in paths if wanted(path, PathCondition("/a/"))] == ["/a/", "/a/?q"]
    assert wanted("/x", PathCondition("", exact=False), PathCondition("/a"))


@pytest.mark.parametrize(
    "path",
    [
        *("/a//b", "/a/..", "/a/../b", "/a/./b", "/a/.;x/b", "/a/..;/b", "/a\\b", "/a/%2e%2E", "/a%2fb"),
        *("/a%5Cb", "/a%252e", "/a%00", "/a%3b", "/a%c0%af", "//a"),
    ],
)
def test_an_ambiguous_path_matches_no_condition_on_paths(path: str) -> None:
    assert not wanted(path, PathCondition("", exact=False), PathCondition(path), PREFIX)
    assert wanted(path), "where no path is wanted for it makes no difference"
    (missed,) = RequestConditions(paths=(PREFIX,)).missed(Request("GET", "h", path))
    assert missed == "the server may read the path as another one"


@pytest.mark.parametrize("path", ["/a/b.c", "/a/...", "/a/.x", "/a/x.", "/a/x;b", "/a/..x", "/a/%20", "/a/b/"])
def test_other_paths_are_as_they_are(path: str) -> None:
    assert wanted(path, PREFIX)


@given(st.text(alphabet="/.;%2eEfF5cC0a3bB\\1\n", max_size=12))
def test_envoy_and_python_read_the_expression_alike(path: str) -> None:
    assert (AMBIGUOUS.fullmatch(path) is not None) is full_match(AMBIGUOUS_PATH, path)


def test_methods_and_headers() -> None:
    conditions = RequestConditions(("GET", "HEAD"), (), (("x-a", "1"), ("x-b", "2")))
    both = (("X-A", "1"), ("x-b", "2"))
    assert conditions.hold(Request("HEAD", "h", "/", both))
    assert list(conditions.missed(Request("PUT", "h", "/", both[:1]))) == [
        "the method is not GET or HEAD",
        "the header x-b is not '2'",
    ]
    assert conditions.hold(Request("GET", "h", "/", (*both, ("x-a", "1"))))
    assert not conditions.hold(Request("GET", "h", "/", (*both, ("x-a", "2"))))
    assert ANY_REQUEST.hold(Request("PUT", "h", "//"))
