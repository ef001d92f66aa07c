"""Programs of Debian packages that must not be installed: a web server would start to serve on this machine."""

import os
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("WEFT_CACHE", "/var/cache/weft"), "debian")


def program(package: str, path: str) -> Path:
    """A package's file, unpacked beside the system; fetched once."""
    folder = CACHE / package
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as made:
            work = Path(made)
            work.chmod(0o755)
            subprocess.run(["apt-get", "download", "-qq", package], cwd=work, check=True, capture_output=True)
            (archive,) = work.glob("*.deb")
            subprocess.run(["dpkg", "-x", archive, work / "tree"], check=True)
            (work / "tree").rename(folder)
    return folder / path
