"""Other versions of weft: copies of its sources with tables of another size."""

import re
import shutil
from pathlib import Path

from agent.kernel.programs import SOURCES


def with_slots(folder: Path, slots: int) -> Path:
    """Copy the project with this capacity of slots into a folder. Returns the folder."""
    for name in ("agent", "bpf"):
        shutil.copytree(SOURCES.parent / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, name in (("bpf/abi.h", r"#define WEFT_SLOTS\s+"), ("agent/kernel/abi.py", "SLOTS = ")):
        text, times = re.subn(f"^({name})262144$", rf"\g<1>{slots}", (folder / path).read_text(), flags=re.MULTILINE)
        assert times == 1
        (folder / path).write_text(text)
    return folder
