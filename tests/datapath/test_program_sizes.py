"""Programs grow in review only: their counts of instructions are those of program_sizes.toml."""

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest
from program_sizes import GROWTH, Measurement, differences, read_record, recorded

from agent.kernel.programs import NETWORK_PROGRAMS, PROGRAMS, Pins
from support.datapath.node import Node

COMPILER, KERNEL = "bcc 0.1, LLVM 1.2.3", "6.1"
MEASURED = Measurement(COMPILER, KERNEL, {"weft_guard": 40}, {"weft_guard": 100}, {"weft_guard": 200})
RECORD = {
    "compiled": {COMPILER: {"weft_guard": 40}},
    "kernel": {KERNEL: {"weft_guard": {"translated": 100, "verified": 200}}},
}


@pytest.mark.bpf
@pytest.mark.compiles
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loads BPF programs")
def test_programs_are_as_large_as_recorded() -> None:
    command = (sys.executable, "tests/datapath/program_sizes.py")
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, f"{shown.stderr}{shown.stdout}"


@pytest.mark.bpf
def test_pinned_programs_are_as_large_as_recorded(node: Node) -> None:
    command = (sys.executable, "tests/datapath/program_sizes.py", "--pinned", Pins(node.pins).programs / node.version)
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, f"{shown.stderr}{shown.stdout}"
    found = Measurement(**json.loads(shown.stdout))
    assert found.verified.keys() == {program.name for program in (*PROGRAMS, *NETWORK_PROGRAMS)}
    assert tomllib.loads(recorded(found, RECORD))["compiled"] == RECORD["compiled"], "of the compiler nothing is known"


def test_what_was_recorded_is_no_difference() -> None:
    assert differences(MEASURED, RECORD) == []


def test_one_instruction_more_or_less_as_compiled_is_a_difference() -> None:
    for count in (39, 41):
        (found,) = differences(replace(MEASURED, compiled={"weft_guard": count}), RECORD)
        assert f"weft_guard is {count} instructions as compiled, recorded are 40" in found


def test_a_program_that_came_or_went_is_a_difference() -> None:
    found = differences(replace(MEASURED, compiled={"weft_new": 7}), RECORD)
    assert [text.partition(" instructions")[0] for text in found] == ["weft_guard is None", "weft_new is 7"]


@pytest.mark.parametrize("kind", ["translated", "verified"])
def test_a_kernel_s_count_may_be_a_quarter_larger_and_no_more(kind: str) -> None:
    most = int(getattr(MEASURED, kind)["weft_guard"] * GROWTH)
    assert differences(replace(MEASURED, **{kind: {"weft_guard": most}}), RECORD) == []
    (found,) = differences(replace(MEASURED, **{kind: {"weft_guard": most + 1}}), RECORD)
    assert f"weft_guard is {most + 1} instructions as {kind} by Linux 6.1" in found


def test_a_compiler_that_nothing_is_recorded_of_is_a_difference() -> None:
    (found,) = differences(replace(MEASURED, compiler="bcc 9, LLVM 9"), RECORD)
    assert "no counts are recorded for the compiler 'bcc 9, LLVM 9'" in found


def test_a_kernel_that_nothing_is_recorded_of_has_the_limit_of_the_largest_record() -> None:
    larger = replace(MEASURED, kernel="6.12", verified={"weft_guard": 400})
    record = tomllib.loads(recorded(larger, RECORD))
    unknown = replace(MEASURED, kernel="9.9", verified={"weft_guard": 500})
    assert differences(unknown, record) == []
    (found,) = differences(replace(unknown, verified={"weft_guard": 501}), record)
    assert "weft_guard is 501 instructions as verified by Linux 9.9, recorded are 400" in found


def test_a_record_keeps_other_compilers_and_kernels() -> None:
    other = replace(MEASURED, compiler="bcc 9, LLVM 9", kernel="9.9")
    both = tomllib.loads(recorded(other, RECORD))
    assert differences(MEASURED, both) == differences(other, both) == []


def test_the_record_is_as_it_is_written() -> None:
    record = read_record()
    assert tomllib.loads(recorded(MEASURED, record))["kernel"].keys() == {*record["kernel"], KERNEL}
