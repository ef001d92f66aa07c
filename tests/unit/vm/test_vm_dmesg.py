"""Which lines of a kernel's log fail a run."""

import dmesg
import pytest

WARNING = "[   12.345678] WARNING: CPU: 0 PID: 77 at net/ipv4/tcp.c:2800 tcp_set_state+0x1/0x2"
TRACE = ["[   12.345679] Call Trace:", "[   12.345680]  <TASK>", "[   12.345681]  dump_stack+0x1/0x2"]


@pytest.mark.parametrize(
    "line",
    [
        WARNING,
        "[    1.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "[    1.000000] Oops: 0002 [#1] PREEMPT SMP PTI",
        "[    1.000000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
        "[    1.000000] general protection fault, probably for non-canonical address 0xdead000000000108",
        "[    1.000000] verifier backtracking bug",
        "[    1.000000] BPF: \t type_id=3 Invalid name",
        "[  241.000000] INFO: task kworker/0:1:9 blocked for more than 120 seconds.",
        "[    1.000000] BUG: sleeping function called from invalid context at mm/slab.h:1",
        "<4>[    1.000000] refcount_t: underflow; use-after-free.",
    ],
)
def test_a_report_of_the_kernel_about_itself_is_a_problem(line: str) -> None:
    found = dmesg.examine(["[    0.000000] Linux version 6.1", line, *TRACE])
    assert found.problems == [line]
    assert found.slow == {}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("RCU stall", "[  100.000000] rcu: INFO: rcu_preempt self-detected stall on CPU"),
        ("RCU stall", "[  100.000000] rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 0-... }"),
        ("soft lockup", "[  100.000000] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [python:301]"),
        (
            "clocksource",
            "[  100.000000] clocksource: Marking clocksource 'tsc' as unstable because the skew is too large:",
        ),
        (
            "clocksource",
            "[  100.000000] clocksource: timekeeping watchdog on CPU0: hpet wd-wd read-back delay of 123ns",
        ),
    ],
)
def test_a_slow_guest_is_named(name: str, line: str) -> None:
    found = dmesg.examine([line, *TRACE])
    assert found.problems == []
    assert found.slow == {name: 1}


def test_a_slow_guest_hides_no_problem() -> None:
    stall = "[  100.000000] rcu: INFO: rcu_preempt self-detected stall on CPU"
    found = dmesg.examine([stall, *TRACE, WARNING, *TRACE, stall])
    assert found.problems == [WARNING]
    assert found.slow == {"RCU stall": 2}


def test_lines_of_programs_on_a_console_are_none_of_the_kernels() -> None:
    assert dmesg.examine(["WARNING: pip is old", "E   AssertionError: BUG"]).problems == []


@pytest.mark.parametrize(
    "line",
    [
        "[    0.000000] DMI: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-debian-1.16.2-1 04/01/2014",
        "[    0.500000] clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x2b, max_idle_ns: 4407 ns",
        "[    0.500000] debug: unmapping init [mem 0xffff-0xffff]",
    ],
)
def test_ordinary_lines_pass(line: str) -> None:
    found = dmesg.examine([line])
    assert (found.problems, found.slow) == ([], {})
