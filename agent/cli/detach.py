"""`weft detach`: detach and unpin the BPF programs."""

from pathlib import Path
from typing import Annotated

import typer

from agent.kernel import links
from agent.settings import DEFAULT_STATE, PINS


def detach(state: Annotated[Path, typer.Option(help="The agent's state folder.")] = DEFAULT_STATE) -> None:
    """Remove every link, program and map of weft from this node's kernel. New connections bypass weft from then on."""
    links.detach(state / PINS)
