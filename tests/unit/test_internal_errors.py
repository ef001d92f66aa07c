"""A bug that one object trips is named, counted and logged once; tests are stopped by it."""

import asyncio
import logging

import pytest

from agent.internal_errors import LISTED, Fault, Faults
from agent.telemetry.internal_errors import STRICT, logged_faults


def tripped(faults: Faults, part: str = "service", subject: object = "shop/web", text: str = "no such field") -> None:
    with faults.guard(part, subject):
        raise KeyError(text)


def test_a_fault_is_listed_and_counted_until_the_object_is_worked_on_without_one() -> None:
    faults = Faults(strict=False)
    tripped(faults)
    tripped(faults)
    tripped(faults, "encode")
    assert faults.listed() == [
        Fault("encode", "shop/web", "KeyError: 'no such field'"),
        Fault("service", "shop/web", "KeyError: 'no such field'"),
    ]
    with faults.guard("service", "shop/web"):
        pass
    assert [fault.part for fault in faults.listed()] == ["encode"]
    assert faults.counts() == {"service": 2, "encode": 1}


def test_a_fault_goes_when_its_object_goes() -> None:
    faults = Faults(strict=False)
    tripped(faults)
    tripped(faults, "report", "a")
    tripped(faults, "report", "b")
    faults.forget("service", "shop/web")
    faults.keep("report", ["b"])
    assert [fault.subject for fault in faults.listed()] == ["b"]


def test_in_tests_a_fault_is_raised() -> None:
    with pytest.raises(KeyError):
        tripped(Faults())


@pytest.mark.parametrize("end", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_what_ends_a_process_is_no_fault(end: type[BaseException]) -> None:
    faults = Faults(strict=False)
    with pytest.raises(end), faults.guard("service", "shop/web"):
        raise end
    assert (faults.listed(), faults.counts()) == ([], {})


def test_a_fault_is_logged_once_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(STRICT, "0")
    faults = logged_faults()
    for text in ("a", "a", "b", "b"):
        tripped(faults, text=text)
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["'a'", "'b'"]
    assert caplog.records[0].levelno == logging.ERROR
    assert (caplog.records[0].__dict__["part"], caplog.records[0].__dict__["object"]) == ("service", "shop/web")


def test_processes_that_tests_start_are_strict() -> None:
    with pytest.raises(KeyError):
        tripped(logged_faults())


def test_what_is_listed_is_bounded() -> None:
    said: list[Fault] = []
    faults = Faults(strict=False, report=lambda fault, _: said.append(fault))
    for number in range(LISTED + 50):
        tripped(faults, subject=f"shop/{number}", text="x" * 10_000)
    assert len(faults.listed()) == len(said) == LISTED
    assert max(len(fault.error) for fault in faults.listed()) <= 300
    assert faults.counts() == {"service": LISTED + 50}
