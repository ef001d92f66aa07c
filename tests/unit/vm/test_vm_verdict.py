"""What a machine that has ended came to."""

import io
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import junit
import pytest
import verdict
from junit import Outcome

PASSED = '<testsuites><testsuite><testcase classname="t" name="a"/></testsuite></testsuites>'
FAILED = PASSED.replace('"a"/>', '"a"><failure message="assert 0">def test_a():\nE  assert 0</failure></testcase>')
SKIPPED = PASSED.replace('"a"/>', '"a"><skipped message="needs root"/></testcase>')
QUIET = "[    0.000000] Linux version 6.1\n"
WARNING = "[   12.345678] WARNING: CPU: 0 PID: 77 at net/core/sock.c:1 x+0x1/0x2\n"


def ended(
    folder: Path, files: dict[str, str], console: str = QUIET, in_time: bool = True, tests: bool = True
) -> verdict.Verdict:
    """The verdict of a machine that left these files on its results disk."""
    disk = folder / "results"
    with disk.open("wb") as target:
        if files:
            with tarfile.open(fileobj=target, mode="w") as archive:
                for name, text in files.items():
                    entry = tarfile.TarInfo(f"./{name}")
                    entry.size = len(text.encode())
                    archive.addfile(entry, io.BytesIO(text.encode()))
        target.truncate(1 << 20)
    (folder / "serial").write_text(console)
    return verdict.read(disk, folder / "serial", in_time, tests)


def test_a_machine_whose_tests_pass_passes(tmp_path: Path) -> None:
    found = ended(tmp_path, {"junit.xml": PASSED, "status": "0\n", "dmesg": QUIET})
    assert found.passed
    assert [outcome.name for outcome in found.outcomes] == ["t.a", "the machine's end", "the kernel's log"]


@pytest.mark.parametrize(
    ("files", "console", "in_time", "failing", "message"),
    [
        ({"junit.xml": FAILED, "status": "1", "dmesg": QUIET}, QUIET, True, "t.a", "assert 0"),
        ({"junit.xml": SKIPPED, "status": "0", "dmesg": QUIET}, QUIET, True, "t.a", "needs root"),
        ({"junit.xml": PASSED, "status": "0", "dmesg": WARNING}, QUIET, True, "the kernel's log", "WARNING"),
        ({"junit.xml": PASSED, "status": "3", "dmesg": QUIET}, QUIET, True, "the machine's end", "pytest ended with 3"),
        ({"junit.xml": PASSED, "status": "1", "dmesg": QUIET}, QUIET, True, "the machine's end", "pytest ended with 1"),
        ({"status": "0", "dmesg": QUIET}, QUIET, True, "the machine's end", "reported 0 tests"),
        ({}, "out of memory\n", True, "the machine's end", "without results"),
        ({}, QUIET, False, "the machine's end", "killed"),
    ],
)
def test_what_failed_is_said(
    files: dict[str, str], console: str, in_time: bool, failing: str, message: str, tmp_path: Path
) -> None:
    (failure,) = ended(tmp_path, files, console, in_time).failures
    assert failure.name == failing
    assert message in failure.message


def test_what_tests_left_is_kept(tmp_path: Path) -> None:
    found = ended(tmp_path, {"junit.xml": PASSED, "status": "0", "dmesg": QUIET, "sizes.json": "{}"})
    assert found.kept == {"sizes.json": b"{}"}


def test_a_machine_that_died_shows_its_last_words(tmp_path: Path) -> None:
    panic = "[    3.000000] Kernel panic - not syncing: VFS: Unable to mount root fs\n"
    end, log = ended(tmp_path, {}, QUIET + panic).failures
    assert end.message.endswith(panic.strip())
    assert log.message == panic.strip()


def test_a_test_that_another_kernel_did_not_run_is_named() -> None:
    both, one = verdict.Verdict((Outcome("a"), Outcome("b")), {}, {}), verdict.Verdict((Outcome("a"),), {}, {})
    died = verdict.Verdict((Outcome("the machine's end", "killed"),), {}, {})
    assert verdict.missing_tests({"6.1": both, "6.12": both, "6.18": died}) == []
    assert verdict.missing_tests({"6.1": both, "6.12": one}) == ["6.12 did not run b"]


def test_one_report_of_all_machines_can_be_read_again(tmp_path: Path) -> None:
    suites = {"6.1 features": [Outcome("a", seconds=1.5), Outcome("b", "one\ntwo")], "6.12 features": [Outcome("a")]}
    junit.write(tmp_path / "junit.xml", suites)
    top = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert [(suite.get("name"), suite.get("tests"), suite.get("failures")) for suite in top] == [
        ("6.1 features", "2", "1"),
        ("6.12 features", "1", "0"),
    ]
    read = junit.parse((tmp_path / "junit.xml").read_bytes())
    assert [(outcome.message, outcome.seconds) for outcome in read] == [("", 1.5), ("one\ntwo", 0), ("", 0)]


def test_nodes_are_judged_by_the_host_s_report_and_by_their_own_ends(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(PASSED)
    good = ended(tmp_path, {"status": "0", "dmesg": QUIET}, tests=False)
    bad = ended(tmp_path, {"status": "0", "dmesg": WARNING}, tests=False)
    assert good.passed
    found = verdict.of_nodes(report, 0, "", {"node 1": good, "node 2": bad})
    assert [outcome.name for outcome in found.failures] == ["node 2: the kernel's log"]
    assert [outcome.name for outcome in found.outcomes][:2] == ["t.a", "the tests' end"]


@pytest.mark.parametrize(
    ("status", "why"), [(3, "pytest ended with 3"), (None, "killed: it did not end"), (0, "0 tests")]
)
def test_tests_of_nodes_without_a_report_fail(status: int | None, why: str, tmp_path: Path) -> None:
    (failure,) = verdict.of_nodes(tmp_path / "none", status, "Traceback\nboom\n", {}).failures
    assert failure.name == "the tests' end"
    assert why in failure.message
    assert failure.message.endswith("boom")
