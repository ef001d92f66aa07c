"""A manifest's text into documents."""

import pytest

from agent.kube.documents import MAX_BYTES, split


def values(text: str, is_json: bool = False) -> list[object]:
    return [document.error or document.value for document in split(text, is_json)]


def test_documents_are_parsed_alone_and_numbered():
    first, second, third = split("# nothing\n---\na: 1\n--- # two\nb: [\n---\n---\nc: 3\n", is_json=False)
    assert (first.number, first.line, first.value) == (2, 2, {"a": 1})
    assert second.error.startswith("line 6, column")
    assert (third.number, third.value) == (4, {"c": 3})


def test_json_is_one_document():
    assert values('{"a": [1, 2]}', is_json=True) == [{"a": [1, 2]}]
    (error,) = values('{"a": ', is_json=True)
    assert "truncated" in str(error)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: &x [1]\nb: *x\n", "aliases are not supported"),
        ("a: 1\na: 2\n", "key 'a' is there twice"),
        ("a: !!python/object:os.system {}\n", "could not determine a constructor"),
        ("a: " + "[" * 5000, "line"),
        ("x: " + "y" * MAX_BYTES, "more than"),
    ],
)
def test_what_cannot_be_taken_is_an_error(text: str, error: str):
    (error,) = values(text)
    assert error in str(error)


def test_dates_stay_text():
    assert values("a: 2026-01-02T03:04:05Z\n") == [{"a": "2026-01-02T03:04:05Z"}]


def test_a_star_in_text_is_no_alias():
    assert values('a: "*"\n') == [{"a": "*"}]
