"""Files that are replaced as a whole, so that a reader never finds a part of one, also after a crash."""

from pathlib import Path


def replace(file: Path, content: bytes) -> None:
    """Replace a file, or create it. One writer at a time. Raises `OSError`."""
    written = draft(file)
    written.write_bytes(content)
    written.replace(file)


def draft(file: Path) -> Path:
    """The file that a writer that was killed may leave. Readers of a folder do not take it for one of theirs: it has a
    dot before its name, and `.new` behind.
    """
    return file.with_name(f".{file.name}.new")
