"""How large each program is: instructions as compiled, as the running kernel translated them, and as many as its
verifier went through; against what is recorded in program_sizes.toml.

`python tests/datapath/program_sizes.py` prints a measurement as JSON, and exits with 1 and the reasons on standard
error where it differs from the record. `--pinned FOLDER` measures programs that are loaded already, without the counts
of the compiler. `--record` writes the measurement into the record instead, `--record-from FILE` does so with the JSON
of another kernel. It needs root, and nothing of a running weft.
"""

import argparse
import json
import os
import platform
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.kernel import bpffs, libbpf
from agent.kernel.btf import socket_offsets
from agent.kernel.compiler import compile_source, load_program
from agent.kernel.programs import NETWORK_PROGRAMS, PROGRAMS, read_source

RECORD = Path(__file__).with_suffix(".toml")
GROWTH = 1.25
"""How much larger than the record the counts of a kernel may be: verifiers differ between patch releases."""
_COMMAND = "`make program-sizes`"
_HEADING = f"""\
# Instructions of each program: as compiled, by compiler, and as a kernel translated and verified them, by kernel.
# {_COMMAND} writes what is so here and now.
"""
_VERSION_SOURCE = (
    "int read_version(void *ctx) { return __clang_major__ * 10000 + __clang_minor__ * 100 + __clang_patchlevel__; }"
)
_INSTRUCTION_BYTES = 8


@dataclass(frozen=True, slots=True)
class Measurement:
    """Counts of instructions by program, with the compiler and the kernel (major.minor) that they are of. Without a
    compiler where the programs were not compiled for it.
    """

    compiler: str
    kernel: str
    compiled: dict[str, int]
    translated: dict[str, int]
    verified: dict[str, int]


def _compiler() -> str:
    """BCC, and the LLVM that it is linked with: the compiler's own macros, read back from what it compiles."""
    code = compile_source(_VERSION_SOURCE, {}).dump_func(b"read_version")
    version = int.from_bytes(code[4:8], sys.byteorder)  # the immediate value of the first instruction
    import bcc  # noqa: PLC0415 - compile_source has added the folder that it is in

    return f"bcc {bcc.__version__}, LLVM {version // 10000}.{version // 100 % 100}.{version % 100}"


def measure() -> Measurement:
    """Compile and load every program, and let go of them. Raises `LoadError`."""
    programs = (*PROGRAMS, *NETWORK_PROGRAMS)
    module = compile_source(read_source(), socket_offsets())
    compiled = {
        program.name: len(module.dump_func(program.name.encode())) // _INSTRUCTION_BYTES for program in programs
    }
    infos = {program.name: libbpf.program_info(load_program(module, program)) for program in programs}
    return _measurement(_compiler(), compiled, infos)


def measure_pinned(folder: Path) -> Measurement:
    """The counts of the kernel for programs that are pinned in a folder. Raises `OSError`."""
    infos = {}
    for path in folder.iterdir():
        with bpffs.opened(path) as program:
            infos[path.name] = libbpf.program_info(program)
    return _measurement("", {}, infos)


def _measurement(compiler: str, compiled: dict[str, int], infos: Mapping[str, libbpf.ProgramInfo]) -> Measurement:
    return Measurement(
        compiler,
        ".".join(platform.release().split(".")[:2]),
        compiled,
        {name: info.translated for name, info in infos.items()},
        {name: info.verified for name, info in infos.items()},
    )


def differences(found: Measurement, record: Mapping[str, Any]) -> list[str]:
    """What a measurement has that its record does not allow, a sentence each."""
    compiled = _compiled_differences(found, record["compiled"]) if found.compiler else ()
    return [*compiled, *_kernel_differences(found, record["kernel"])]


def _compiled_differences(found: Measurement, record: Mapping[str, Any]) -> Iterator[str]:
    if found.compiler not in record:
        yield f"no counts are recorded for the compiler {found.compiler!r}: {_COMMAND} records them"
        return
    for name in sorted(found.compiled.keys() | record[found.compiler].keys()):
        count, before = found.compiled.get(name), record[found.compiler].get(name)
        if count != before:
            yield f"{name} is {count} instructions as compiled, recorded are {before}: {_COMMAND} records that"


def _kernel_differences(found: Measurement, record: Mapping[str, Any]) -> Iterator[str]:
    """Of a kernel that has no record the limit is the largest count of any kernel: users' kernels are not all here."""
    kernels = [record[found.kernel]] if found.kernel in record else list(record.values())
    for kind, counts in (("translated", found.translated), ("verified", found.verified)):
        for name, count in counts.items():
            before = max(kernel.get(name, {}).get(kind, 0) for kernel in kernels)
            if count > before * GROWTH:
                yield f"{name} is {count} instructions as {kind} by Linux {found.kernel}, recorded are {before}"


def read_record(path: Path = RECORD) -> dict[str, Any]:
    """`compiled` by compiler and program, `kernel` by kernel and program."""
    return tomllib.loads(path.read_text())


def recorded(found: Measurement, record: Mapping[str, Any]) -> str:
    """The text of a record with a measurement in it."""
    compiled = {**record["compiled"], **({found.compiler: found.compiled} if found.compiler else {})}
    counts = {
        name: {"translated": found.translated[name], "verified": found.verified[name]} for name in found.translated
    }
    kernels = {**record["kernel"], found.kernel: counts}
    return _HEADING + "".join(_tables("compiled", compiled)) + "".join(_tables("kernel", kernels))


def _tables(kind: str, tables: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for key, rows in sorted(tables.items()):
        yield f'\n[{kind}."{key}"]\n'
        yield from (f"{name} = {_value(row)}\n" for name, row in sorted(rows.items()))


def _value(row: Any) -> str:
    if isinstance(row, int):
        return str(row)
    return "{ " + ", ".join(f"{name} = {number}" for name, number in row.items()) + " }"


def main() -> int:
    parser = argparse.ArgumentParser(description="measure the BPF programs and compare them with the record")
    parser.add_argument("--record", action="store_true", help="write the record rather than compare with it")
    parser.add_argument("--record-from", type=Path, metavar="FILE", help="write a measurement's JSON into the record")
    parser.add_argument("--pinned", type=Path, metavar="FOLDER", help="measure the programs that are pinned there")
    options = parser.parse_args()
    if options.record_from:
        found = Measurement(**json.loads(options.record_from.read_text()))
    elif os.geteuid() == 0:
        found = measure_pinned(options.pinned) if options.pinned else measure()
    else:
        parser.error("loading BPF programs needs root")
    if options.record or options.record_from:
        RECORD.write_text(recorded(found, read_record()))
        return 0
    print(json.dumps(asdict(found), indent=1))
    problems = differences(found, read_record())
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
