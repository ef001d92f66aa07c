"""What `weft explain --live` has sent: exactly the request that was asked about, and its mark."""

import pytest

from agent.cli.live import Attempt, command, new_request_id
from agent.explain.connection import parse


def words(destination: str, *headers: str, method: str = "GET", path: str = "") -> list[str]:
    query = parse("app/client", destination, method=method, path=path, headers=headers)
    return command(Attempt(query, headers, "weft-explain-1"))


def test_a_request_with_its_mark_and_without_what_curl_would_add() -> None:
    found = words("http://cart/a/../b?c=%20", "Who: me", method="put")
    assert found[found.index("-X") :] == [
        *("-X", "PUT", "-H", "Who: me", "-H", "Accept:", "-H", "User-Agent:"),
        *("-H", "x-request-id: weft-explain-1", "http://cart:80/a/../b?c=%20"),
    ]
    assert "--path-as-is" in found


@pytest.mark.parametrize(
    ("header", "word"), [("accept: */*", "accept: */*"), ("x-empty:", "x-empty;"), ("x-empty: ", "x-empty;")]
)
def test_headers_are_sent_as_said(header: str, word: str) -> None:
    found = words("cart:80", header)
    assert found[found.index("-H") + 1] == word
    assert ("Accept:" in found) != header.startswith("accept")


def test_a_head_has_no_body_to_wait_for() -> None:
    found = words("[fd00::1]:8080", method="HEAD", path="/x")
    assert ("--head" in found, "-X" in found, found[-1]) == (True, False, "http://[fd00::1]:8080/x")


def test_no_two_marks_are_equal() -> None:
    assert new_request_id() != new_request_id()
