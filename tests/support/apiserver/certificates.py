"""The certificates of one test cluster, as files."""

from pathlib import Path

from certificates import Authority


class Issued:
    """Has an authority issue certificates into a folder; each only once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._authority = Authority("weft test authority")
        self.certificate = folder / "ca.crt"
        self.certificate.write_bytes(self._authority.certificate)

    def issue(self, file: str, name: str, organisation: str = "", hosts: tuple[str, ...] = ()) -> tuple[Path, Path]:
        """A key and certificate for a name, which can be a server's when it has hosts."""
        key, certificate = self._folder / f"{file}.key", self._folder / f"{file}.crt"
        if not certificate.exists():
            self._authority.issue(name, (organisation,) if organisation else (), hosts).write(self._folder, file)
        return key, certificate
