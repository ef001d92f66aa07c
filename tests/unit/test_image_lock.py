"""The image has what was tested: its wheels are those of requirements.lock, without the tools and what nobody loads."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import weft_image

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


def copied() -> list[tuple[str, str]]:
    """What the Dockerfile takes from here, and where to: pairs of a path and a file or a folder that ends with `/`."""
    lines = [line.split()[1:] for line in DOCKERFILE.splitlines() if re.match(r"COPY (?!--from)", line)]
    return [(source, target) for *sources, target in lines for source in sources]


def test_everything_that_the_image_takes_is_sent_to_its_builder_and_in_its_tag() -> None:
    sources = {source for source, _ in copied()}
    assert sources | {"daemonset/Dockerfile"} == set(weft_image.SOURCES)
    sent = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sources == set(sent)


def test_the_image_s_wheel_has_the_licences_texts(tmp_path: Path) -> None:
    """Built as the Dockerfile does, of what it copies and nothing else."""
    for source, target in copied():
        copy = tmp_path / target.lstrip("/") / (Path(source).name if target.endswith("/") else "")
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / source, copy)
    (tmp_path / "src/README.md").touch()
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-cache-dir"]
    subprocess.run([*build, "--disable-pip-version-check", "--wheel-dir", tmp_path, tmp_path / "src"], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name.rpartition(".dist-info/licenses/")[2] for name in ZipFile(wheel).namelist() if "/licenses/" in name}
    assert names == {"LICENSE", *(f"LICENSES/{path.name}" for path in (ROOT / "LICENSES").iterdir())}


def test_nothing_loads_what_the_image_leaves_out() -> None:
    """As the image does: what the Dockerfile deletes, of the package that is installed here."""
    (folders,) = re.findall(r"^ && find (.+) -type f ! -name '__init__\.\*' -delete", DOCKERFILE, re.MULTILINE)
    left_out = tuple(f"kubernetes.{folder.replace('/', '.')}." for folder in folders.split())
    assert len(left_out) == 4
    load = "import sys, agent.cli.agent, agent.controller.run, agent.kube.kubernetes_source; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, check=True).stdout.split()
    assert "kubernetes.aio.client" in loaded
    assert [name for name in loaded if name.startswith(left_out)] == []
