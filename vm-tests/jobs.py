"""Jobs as `jobs.toml` declares them."""

import zlib
from pathlib import Path

import msgspec
from kernels import DeclarationError

DECLARED = Path(__file__).with_name("jobs.toml")


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a machine runs. `share` is which part of how many equal ones of the tests; all of them when it is (0, 1).
    `marks` is pytest's -m expression. With `nodes` the job is of so many machines at once, and its tests run on the
    host, which asks the machines (`remote_node.py`). With `reboots` a machine that resets itself boots again; without,
    it has ended.
    """

    tests: tuple[str, ...]
    memory: int  # MiB
    minutes: int
    name: str = ""
    default: bool = False
    scale: str = ""
    nodes: int = 0
    reboots: bool = False
    share: tuple[int, int] = (0, 1)
    marks: str = "not cluster and not vm"


def declared(text: str | None = None) -> dict[str, Job]:
    """All jobs, by name. Raises `DeclarationError`."""
    try:
        found = msgspec.toml.decode(DECLARED.read_text() if text is None else text, type=dict[str, Job])
    except msgspec.DecodeError as error:
        raise DeclarationError(f"{DECLARED.name}: {error}") from error
    return {name: msgspec.structs.replace(job, name=name) for name, job in found.items()}


def in_share(test: str, part: int, of: int) -> bool:
    """Whether a test is in this part: by its name only, so that each test is in one part, whatever others there are."""
    return zlib.crc32(test.encode()) % of == part
