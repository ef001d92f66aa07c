"""What `weft simulate` is asked: a pod, a method, a URL, headers."""

import pytest

from agent.explain.query import QueryError, parse_query


@pytest.mark.parametrize(
    ("pod", "url", "header", "message"),
    [
        ("app", "http://web", "a:b", "'app' is not NAMESPACE/POD"),
        ("app/a", "web", "a:b", "is not http, https, tcp, udp and ://HOST"),
        ("app/a", "ftp://web", "a:b", "is not http, https, tcp, udp and ://HOST"),
        ("app/a", "http://web:99999", "a:b", "out of range"),
        ("app/a", "tcp://web", "a:b", "has no port"),
        ("app/a", "http://web", "a", "--header: 'a' is not NAME:VALUE"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(pod: str, url: str, header: str, message: str) -> None:
    with pytest.raises(QueryError, match=message.replace("(", r"\(")):
        parse_query(pod, "GET", url, [header])


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("http://web", "web", "/"),
        ("http://web:80/a?b#c", "web", "/a?b"),
        ("http://web:8080", "web:8080", "/"),
        ("https://web:443/", "web", "/"),
        ("https://web:80/", "web:80", "/"),
        ("http://[fd00::1]/", "[fd00::1]", "/"),
        ("http://[fd00::1]:81/", "[fd00::1]:81", "/"),
    ],
)
def test_a_url_is_sent_as_clients_send_it(url: str, authority: str, target: str) -> None:
    made = parse_query("app/a", "GET", url, []).request
    assert (made.authority, made.target) == (authority, target)
