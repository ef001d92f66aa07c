"""`weft lint`: what of a directory of manifests would not be accepted."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.output import Exit, Output, fail, print_json, print_line
from agent.offline.lint import findings
from agent.offline.manifests import read
from agent.sources.directory import SourceError


def lint(
    directory: Annotated[Path, typer.Argument(help="Manifests.")],
    output: Annotated[Output, typer.Option("-o", "--output", help="text or json.")] = Output.TEXT,
) -> None:
    """Say what weft would not accept, and why: broken documents, Routes' conditions, and what has no effect.

    Needs no root, no kernel and no cluster. Exits with 1 when there is anything to say.
    """
    try:
        found = findings(read(directory))
    except SourceError as error:
        fail(str(error), Exit.USAGE)
    if output is Output.JSON:
        print_json({"findings": [asdict(item) for item in found]})
    else:
        for item in found:
            print_line(str(item))
        print_line(f"{len(found)} findings" if len(found) != 1 else "1 finding")
    if found:
        raise SystemExit(int(Exit.FAILED))
