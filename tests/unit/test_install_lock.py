"""A lock is installed as it is, also when newer releases have come since, by what set-up and the image use."""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / ".ci/install-lock"


def wheel(folder: Path, name: str, version: str, *metadata: str) -> Path:
    """An empty package."""
    file, record = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.py", "")
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata]
        archive.writestr(f"{record}/METADATA", "\n".join(lines))
        archive.writestr(f"{record}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{record}/RECORD", "")
    return file


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """All releases that there are: `client` asks for `library` with an extra, which has had a release since."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel(folder, "client", "1.0", "Requires-Dist: library[more]>=1.0")
    for version in ("0.9", "1.0", "2.0"):
        wheel(folder, "library", version, "Provides-Extra: more")
    return folder


def lock(*files: Path) -> str:
    """The lines that pin these files."""
    pins = ([*file.name.split("-")[:2], hashlib.sha256(file.read_bytes()).hexdigest()] for file in files)
    return "".join(f"{name}=={version} --hash=sha256:{digest}\n" for name, version, digest in pins)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin/python"


Install = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def install(index: Path, python: Path) -> Iterator[Install]:
    """Installs a lock from the index alone; what it installed is gone after the test."""
    offline = os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull}

    def run(pins: str) -> subprocess.CompletedProcess[str]:
        (index.parent / "lock").write_text(pins)
        command = [INSTALL, python, index.parent / "lock"]
        return subprocess.run(command, env=offline, text=True, capture_output=True, check=False)

    yield run
    remove = [python, "-m", "pip", "uninstall", "--quiet", "--yes", "client", "library"]
    subprocess.run(remove, capture_output=True, check=True)


def release(index: Path, name: str) -> Path:
    return index / f"{name}-py3-none-any.whl"


def test_a_lock_older_than_the_newest_releases_is_installed_as_it_is(
    index: Path, python: Path, install: Install
) -> None:
    done = install(lock(release(index, "client-1.0"), release(index, "library-1.0")))
    assert done.returncode == 0, done.stderr
    assert "No broken requirements" in done.stdout
    (version,) = python.parent.parent.glob("lib/python3*/site-packages/library-*.dist-info")
    assert version.name == "library-1.0.dist-info"


@pytest.mark.parametrize(
    ("names", "complaint"),
    [(("client-1.0",), "requires library, which is not installed"), (("client-1.0", "library-0.9"), "library 0.9")],
)
def test_a_lock_that_does_not_fit_together_is_refused(
    names: tuple[str, ...], complaint: str, index: Path, install: Install
) -> None:
    done = install(lock(*(release(index, name) for name in names)))
    assert done.returncode != 0
    assert complaint in done.stdout


def test_a_file_with_another_hash_is_refused(index: Path, install: Install) -> None:
    file = release(index, "library-1.0")
    pins = lock(file)
    wheel(index, "library", "1.0", "Summary: another file of that version")
    assert lock(file) != pins
    done = install(pins)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
