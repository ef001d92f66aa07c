"""Which regular expressions are taken, and what is said of the others."""

import pytest

from agent.translate.routes.regex import MAX_LENGTH, regex_fault


@pytest.mark.parametrize(
    "text", ["", "/a.*", r"/\d+(\.\w+)?", "(?P<name>a|b)", "(?i)abc", "(?:a){2,5}", r"\\1", "a" * MAX_LENGTH]
)
def test_what_envoy_takes_is_taken(text: str) -> None:
    assert regex_fault(text) == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("(?=a)", "RE2 does not take it: invalid perl operator: (?="),
        ("(?<!a)b", "invalid perl operator"),
        ("(?>a)", "invalid perl operator: (?>"),
        ("(?P<n>a)(?P=n)", "invalid perl operator: (?P"),
        (r"(a)\1", r"invalid escape sequence: \1"),
        ("a++", "bad repetition operator: ++"),
        ("(", "missing ): ("),
        ("a" * (MAX_LENGTH + 1), "1025 characters are more than 1024"),
        ("a{1001}", "invalid repetition size: {1001}"),
    ],
)
def test_what_envoy_does_not_take_is_explained(text: str, fault: str) -> None:
    assert fault in regex_fault(text)
