"""A machine whose docker, kind and kubectl only write down how they are called."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import layout
import weft_image

RECORDER = Path(__file__).with_name("recorder.py")
GOLDEN = Path(__file__).with_name("golden")


@dataclass(frozen=True)
class Recorded:
    """Where the calls are recorded, and where everything is that would have to be fetched or built."""

    folder: Path

    @property
    def name(self) -> str:
        """The cluster's, which no other run has."""
        return f"wefttest-kind-{os.getpid()}"

    @property
    def environment(self) -> dict[str, str]:
        """docker is found on the PATH, kind and kubectl in the cache; nothing can be fetched."""
        # kind hands proxies on to its containers.
        kept = {
            name: value
            for name, value in os.environ.items()
            if not re.match("MAKE|MFLAGS|.*_proxy$", name, re.IGNORECASE)
        }
        return kept | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "WEFT_CACHE": str(self.folder / "cache"),
            "WEFT_CLUSTER": self.name,
            "GOPROXY": "off",
            "PIP_NO_INDEX": "1",
        }

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """A command in the repository."""
        options = {"cwd": weft_image.ROOT, "env": self.environment}
        return subprocess.run(command, **options, capture_output=True, text=True, check=False)

    def stand_in(self, options: Path) -> None:
        """A program that records its calls."""
        options.parent.mkdir(parents=True)
        options.write_text(f'#!/bin/sh\nexec {sys.executable} -I {RECORDER} {self.folder} {options.name} "$@"\n')
        options.chmod(0o755)

    def calls(self) -> str:
        """All so far, with a name for what differs from run to run."""
        file = self.folder / "calls"
        return self.named(file.read_text()) if file.exists() else ""

    def named(self, text: str) -> str:
        """A text with a name for what differs from run to run."""
        names = {str(self.folder): "FOLDER", str(weft_image.ROOT): "/weft", weft_image.tag(): "TAG"}
        for value, name in (names | {self.name: "NAME", layout.NAME: "NAME"}).items():
            text = text.replace(value, name)
        return text


def check_golden(name: str, text: str) -> None:
    """As tests/golden: with WEFT_GOLDEN=rewrite the file is written anew."""
    file = GOLDEN / name
    if os.environ.get("WEFT_GOLDEN") == "rewrite":
        file.write_text(text)
    assert text == file.read_text()
