"""Command line entry point."""

from agent.cli.main import app


def main() -> None:
    """Run the `weft` command."""
    app()


if __name__ == "__main__":
    main()
