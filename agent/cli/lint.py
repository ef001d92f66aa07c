"""`weft lint`: what of a directory of manifests would not be accepted."""

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
    """Say what weft would not accept, and why: broken documents, Routes' conditions, and what has no effect.

    Kinds that weft does not read are named in one line, which is no finding.

    Needs no root, no kernel and no cluster. Exits with 1 when there is anything to say.
    """
    try:
        manifests = read(directory)
        found = findings(manifests, parsed(directory), _documents(definitions) if definitions else ())
    except (SourceError, OSError, UnicodeDecodeError) as error:
        fail(str(error), Exit.USAGE)
    if output is Output.JSON:
        print_json({"findings": [asdict(item) for item in found], "unread": manifests.unread})
    else:
        for item in found:
            print_line(str(item))
        if manifests.unread:
            kinds = ", ".join(f"{kind} ({count})" for kind, count in manifests.unread.items())
            print_line(f"of kinds that weft does not read: {kinds}")
        print_line(f"{len(found)} findings" if len(found) != 1 else "1 finding")
    if found:
        raise SystemExit(int(Exit.FAILED))


def _documents(file: Path) -> Iterator[Any]:
    """What a file with definitions says, which in JSON may be of any size. Raises `SourceError` when it is none."""
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
