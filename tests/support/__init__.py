"""Code that several test modules use. It has no tests, and no test imports from another test."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
REPOSITORY = TESTS.parent
