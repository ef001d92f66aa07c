"""Fuzzing of decoding, translation, rendering and encoding with coverage feedback: `make fuzz SECONDS=600`.

An input is a set of objects, as a JSON list. libFuzzer (atheris) keeps each input that reaches new code of the agent,
and changes it again, by `support.mutations`. Inputs are kept in WEFT_CACHE, so that the next run goes on from there; a
seed repeats a run only with the same corpus. An exception of the agent ends the run: its input is written beside the
corpus, and `make fuzz INPUT=FILE` runs it again.
"""

import argparse
import contextlib
import io
import json
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "cluster")]

import cache  # noqa: E402  # of tests/cluster

# The version of an input's format.
CORPUS = "fuzz-1"
MAX_BYTES = 64 * 1024
LEAST_DECODED = 0.2
_COUNTS = struct.Struct("=4Q")


@dataclass(frozen=True, slots=True)
class Counts:
    """What was run so far; objects of an input that the last change has left alone do not count as changed."""

    inputs: int = 0
    objects: int = 0
    changed: int = 0
    decoded: int = 0


class SharedCounts:
    """Counts that a child process writes, and that its parent reads when it has ended, however that was."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _COUNTS.size)

    @property
    def now(self) -> Counts:
        """What the child has counted."""
        return Counts(*_COUNTS.unpack(self._memory[:]))

    def add(self, objects: int, changed: int, decoded: int) -> None:
        """Count an input with so many objects, of which so many were changed, and so many of these decoded."""
        old = self.now
        self._memory[:] = _COUNTS.pack(
            old.inputs + 1, old.objects + objects, old.changed + changed, old.decoded + decoded
        )


def parsed(data: bytes) -> list[Any]:
    """The objects of an input; none of one that libFuzzer made by itself."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def text(items: list[Any]) -> bytes:
    """A set of objects as an input."""
    return json.dumps(items).encode()


class Fuzzer:
    """libFuzzer's two callbacks."""

    def __init__(self, counts: SharedCounts, run: Callable[[list[Any]], list[bool]], mutator: Any) -> None:
        """`run` says of each object of a set whether it was decoded."""
        self._counts, self._run, self._mutator = counts, run, mutator
        self._changed: tuple[bytes, list[int]] = (b"", [])

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        """The input with a change; unchanged where the result would be too long."""
        items, random = parsed(data), Random(seed)
        made = self._mutator.mutate([item for item in items if isinstance(item, dict)], random)
        new = text(made)
        if len(new) > max_size:
            return data
        self._changed = new, [number for number, item in enumerate(made) if item not in items]
        return new

    def one(self, data: bytes) -> None:
        """Run an input. What it raises is a crash."""
        items = parsed(data)
        decoded = self._run(items)
        last, numbers = self._changed
        changed = [decoded[number] for number in numbers] if data == last else []
        self._counts.add(len(items), len(changed), sum(changed))


def fuzz(options: argparse.Namespace, corpus: Path, counts: SharedCounts) -> None:
    """libFuzzer's loop in this process; does not return."""
    import atheris  # noqa: PLC0415  # changes how modules are imported

    # It prints the name of each module.
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["agent"]):
        from support import mutations, pipeline  # noqa: PLC0415

    seeds = mutations.good_sets()
    for number, items in enumerate(seeds):
        (corpus / f"good-{number}").write_bytes(text(items))
    fuzzer = Fuzzer(counts, lambda items: pipeline.run(items).decoded, mutations.Mutator(seeds))
    arguments = {
        "seed": options.seed,
        "runs": options.runs,
        "max_total_time": options.seconds,
        "max_len": MAX_BYTES,
        "len_control": 0,
        "artifact_prefix": f"{corpus.parent}/",
        "timeout": 60,
        "verbosity": int(options.verbose),
    }
    atheris.Setup(
        [sys.argv[0], *(f"-{name}={value}" for name, value in arguments.items()), str(corpus)],
        fuzzer.one,
        custom_mutator=fuzzer.mutate,
    )
    atheris.Fuzz()


def forked(body: Callable[[], None]) -> int:
    """Run something in a child process; returns its exit code. The child ends as a program does: libFuzzer writes a
    crash's input in a handler of the exit.
    """
    child = os.fork()
    if not child:
        body()
        sys.exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def summary(options: argparse.Namespace, done: Counts, seconds: float, kept: int) -> str:
    """One line about a run."""
    share = done.decoded / max(done.changed, 1)
    return (
        f"fuzz: seed {options.seed}, {done.inputs} sets of {done.objects} objects in {seconds:.0f} s "
        f"({done.objects / max(seconds, 0.001):.0f} objects/s); {done.changed} objects changed, {share:.0%} of them "
        f"decoded; {kept} sets kept"
    )


def again(path: Path) -> None:
    """Run one input; raises what it raised."""
    from support import pipeline  # noqa: PLC0415

    result = pipeline.run(parsed(path.read_bytes()))
    print(f"fuzz: {path} raises nothing; {sum(result.decoded)} of {len(result.decoded)} objects decoded")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; without a seed one is drawn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=0, help="how long; 0: no limit")
    parser.add_argument("--runs", type=int, default=-1, help="how many inputs; -1: no limit")
    parser.add_argument("--seed", type=int, default=0, help="libFuzzer's seed; 0: another one each time")
    parser.add_argument("--input", type=Path, help="run this file only")
    parser.add_argument("--verbose", action="store_true", help="libFuzzer's own output")
    options = parser.parse_args(arguments)
    options.seed = options.seed or int.from_bytes(os.urandom(3), "big") + 1
    return options


def main(arguments: list[str]) -> int:
    """Returns 0 when nothing was raised and enough of the changed objects were decoded."""
    options = parse(arguments)
    if options.input:
        again(options.input)
        return 0
    corpus = cache.ROOT / CORPUS / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    counts, began, started = SharedCounts(), time.monotonic(), time.time()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child ends, and its numbers are printed
    code = forked(lambda: fuzz(options, corpus, counts))
    done = counts.now
    print(summary(options, done, time.monotonic() - began, len(list(corpus.iterdir()))))
    for path in sorted(corpus.parent.glob("*-*")):
        if path.stat().st_mtime >= started:
            print(f"fuzz: to run this input again: make fuzz INPUT={path}", file=sys.stderr)
    if code:
        print(f"fuzz: ended with exit code {code}", file=sys.stderr)
        return 1
    if done.decoded < LEAST_DECODED * done.changed or not done.changed:
        print(f"fuzz: less than {LEAST_DECODED:.0%} of the changed objects were decoded", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
