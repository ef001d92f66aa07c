"""`python -m agent.cli.pod`: `weft waypoint` and `weft drain` in the waypoint's image, without typer.

The options, the output and the exit codes are the same. typer and what it imports would be 12 MiB of the image.
"""

import argparse
import asyncio
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.settings import DEFAULT_STATE, XDS_SOCKET, SettingsError, parse_addresses
from agent.waypoint.drain import drain_within
from agent.waypoint.launch import launch

USAGE = 2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="weft", description=__doc__, allow_abbrev=False)
    commands = found.add_subparsers(dest="command", required=True)
    start = commands.add_parser("waypoint", allow_abbrev=False)
    wait = commands.add_parser("drain", allow_abbrev=False)
    for command in (start, wait):
        command.add_argument("--state", type=Path, default=DEFAULT_STATE)
        command.add_argument("--id", dest="node_id", default="")
    start.add_argument("--address", default="")
    start.add_argument("--concurrency", type=_at_least(1), default=2)
    start.add_argument("--memory", type=_at_least(0), default=0)
    wait.add_argument("--seconds", type=_at_least(0), default=25)
    return found


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return number


def main(arguments: Sequence[str]) -> None:
    """Run one of the two commands."""
    options = parser().parse_args(arguments)
    xds, node_id = options.state / XDS_SOCKET, options.node_id or socket.gethostname()
    if options.command == "drain":
        asyncio.run(drain_within(options.seconds, xds.parent, node_id, print))
        return
    try:
        addresses = parse_addresses(options.address, "--address")
    except SettingsError as error:
        sys.stderr.write(f"weft: {error}\n")
        sys.exit(USAGE)
    launch(xds, node_id, addresses, options.concurrency, options.memory)


if __name__ == "__main__":
    main(sys.argv[1:])
