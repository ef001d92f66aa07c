"""`weft lint`: check a directory of manifests."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from agent.cli.output import Exit, Output, fail, print_json, print_line
from agent.explain.fields import flattened
from agent.explain.lint import findings
from agent.explain.manifests import read
from agent.kube.directory_source import SourceError, parsed
from agent.kube.documents import split

DEFINITIONS = typer.Option(
    help="A file with the definitions (CustomResourceDefinitions) that the cluster has, or - for standard input: "
    "kubectl get customresourcedefinitions --output=json."
)


def lint(
    directory: Annotated[Path, typer.Argument(help="Manifests.")],
    output: Annotated[Output, typer.Option("-o", "--output", help="text or json.")] = Output.TEXT,
    definitions: Annotated[Path | None, DEFINITIONS] = None,
) -> None:
    """Check manifests: report broken documents, Routes' conditions that are not true, and what has no effect.

    Documents of kinds that weft does not use are listed in one line. They are no findings.

    Needs no root, no kernel and no cluster. Exits with 1 when there are findings.
    """
    try:
        manifests = read(directory)
        found = findings(manifests, parsed(directory), _documents(definitions) if definitions else ())
    except (SourceError, OSError, UnicodeDecodeError) as error:
        fail(str(error), Exit.USAGE)
    if output is Output.JSON:
        print_json({"findings": [asdict(item) for item in found], "ignored": manifests.ignored})
    else:
        for item in found:
            print_line(str(item))
        if manifests.ignored:
            kinds = ", ".join(f"{kind} ({count})" for kind, count in manifests.ignored.items())
            print_line(f"ignored, weft does not use these kinds: {kinds}")
        print_line(f"{len(found)} findings" if len(found) != 1 else "1 finding")
    if found:
        raise SystemExit(int(Exit.FAILED))


def _documents(file: Path) -> Iterator[Any]:
    """The documents of a file with CRDs. A JSON file may have any size. Raises `SourceError`."""
    text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    if text.lstrip().startswith("{"):
        try:
            yield from flattened(msgspec.json.decode(text))
        except (msgspec.DecodeError, RecursionError) as error:
            raise SourceError(f"--definitions: {error}") from error
        return
    for document in split(text, is_json=False):
        if document.error:
            raise SourceError(f"--definitions: {document.error}")
        yield from flattened(document.value)
