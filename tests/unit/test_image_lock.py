"""The image has what was tested: its wheels are those of requirements.lock, without the tools and what nobody loads."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "daemonset/Dockerfile").read_text()


def pins(file: str) -> set[str]:
    return set(re.findall(r"^(\S+==\S+)", (ROOT / file).read_text(), re.MULTILINE))


def test_the_image_s_wheels_are_those_that_are_tested() -> None:
    image = pins("daemonset/requirements.lock")
    assert image < pins("requirements.lock")
    assert not {name.partition("==")[0] for name in image} & {"pytest", "mypy", "ruff", "hatchling"}


def test_the_image_is_built_from_locks_alone() -> None:
    """pip fetches by `install-lock` only; the builder of the wheel has a lock too, and a base must have a digest."""
    assert pins("daemonset/build.lock") < pins("requirements.lock")
    fetching = [line for line in DOCKERFILE.splitlines() if re.search(r"pip (install|wheel|download)", line)]
    assert all("--no-deps" in line and ("--no-index" in line or "--no-build-isolation" in line) for line in fetching)
    assert re.findall(r"install-lock /opt/\w+/bin/python (\S+)", DOCKERFILE) == [
        "/src/requirements.lock",
        "/src/build.lock",
    ]
    assert re.search(r"^ARG BASE$", DOCKERFILE, re.MULTILINE), "no default"


@pytest.mark.parametrize(
    ("base", "code"),
    [("debian:bookworm-slim", 1), ("", 1), (f"debian@sha256:{'0' * 64}", 0)],
    ids=["tag", "none", "digest"],
)
def test_a_base_without_a_digest_is_refused(base: str, code: int) -> None:
    """The Dockerfile's own check, as its shell runs it."""
    (check,) = re.findall(r"^RUN (case .+ esac)$", DOCKERFILE, re.MULTILINE)
    done = subprocess.run(["sh", "-c", check], env={"BASE": base}, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("names no digest" in done.stderr) is bool(code)


def test_nothing_loads_what_the_image_leaves_out() -> None:
    """As the image does: what the Dockerfile deletes, of the package that is installed here."""
    (folders,) = re.findall(r"^ && find (.+) -type f ! -name '__init__\.\*' -delete", DOCKERFILE, re.MULTILINE)
    left_out = tuple(f"kubernetes.{folder.replace('/', '.')}." for folder in folders.split())
    assert len(left_out) == 4
    load = "import sys, agent.cli.agent, agent.controller.run, agent.sources.kubernetes; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, check=True).stdout.split()
    assert "kubernetes.aio.client" in loaded
    assert [name for name in loaded if name.startswith(left_out)] == []
