"""A bug that one object trips is named, counted and logged once; tests are stopped by it."""

import asyncio
import logging

import pytest

from agent.internal_errors import LISTED, InternalError, InternalErrors
from agent.telemetry.internal_errors import STRICT, logged_errors


def tripped(
    errors: InternalErrors, part: str = "service", subject: object = "shop/web", text: str = "no such field"
) -> None:
    with errors.guard(part, subject):
        raise KeyError(text)


def test_an_error_is_listed_and_counted_until_the_object_is_worked_on_without_one() -> None:
    errors = InternalErrors(strict=False)
    tripped(errors)
    tripped(errors)
    tripped(errors, "encode")
    assert errors.listed() == [
        InternalError("encode", "shop/web", "KeyError: 'no such field'"),
        InternalError("service", "shop/web", "KeyError: 'no such field'"),
    ]
    with errors.guard("service", "shop/web"):
        pass
    assert [item.part for item in errors.listed()] == ["encode"]
    assert errors.counts() == {"service": 2, "encode": 1}


def test_an_error_is_forgotten_with_its_object() -> None:
    errors = InternalErrors(strict=False)
    tripped(errors)
    tripped(errors, "report", "a")
    tripped(errors, "report", "b")
    errors.forget("service", "shop/web")
    errors.keep("report", ["b"])
    assert [item.subject for item in errors.listed()] == ["b"]


def test_in_tests_an_error_is_raised() -> None:
    with pytest.raises(KeyError):
        tripped(InternalErrors())


@pytest.mark.parametrize("end", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_what_ends_a_process_is_no_internal_error(end: type[BaseException]) -> None:
    errors = InternalErrors(strict=False)
    with pytest.raises(end), errors.guard("service", "shop/web"):
        raise end
    assert (errors.listed(), errors.counts()) == ([], {})


def test_an_error_is_logged_once_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(STRICT, "0")
    errors = logged_errors()
    for text in ("a", "a", "b", "b"):
        tripped(errors, text=text)
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["'a'", "'b'"]
    assert caplog.records[0].levelno == logging.ERROR
    assert (caplog.records[0].__dict__["part"], caplog.records[0].__dict__["object"]) == ("service", "shop/web")


def test_processes_that_tests_start_are_strict() -> None:
    with pytest.raises(KeyError):
        tripped(logged_errors())


def test_what_is_listed_is_bounded() -> None:
    reported: list[InternalError] = []
    errors = InternalErrors(strict=False, report=lambda item, _: reported.append(item))
    for number in range(LISTED + 50):
        tripped(errors, subject=f"shop/{number}", text="x" * 10_000)
    assert len(errors.listed()) == len(reported) == LISTED
    assert max(len(item.error) for item in errors.listed()) <= 300
    assert errors.counts() == {"service": LISTED + 50}
