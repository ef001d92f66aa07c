"""Splits a manifest into documents. Each is parsed alone, so that a broken one does not affect the others."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

MAX_BYTES = 1_500_000  # etcd's limit for one object
_SEPARATOR = re.compile(r"^---(?:[ \t].*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its number (from 1), its first line, and its value or the parser's error."""

    number: int
    line: int
    value: Any = None
    error: str = ""


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes accepts it: a duplicate key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is there twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


# Dates in manifests are strings, as in JSON.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def split(text: str, is_json: bool) -> Iterator[Document]:
    """The documents of a manifest, without empty ones."""
    if is_json:
        yield _parse(1, 1, text, is_json)
        return
    start, number = 0, 0
    for end, resume in [*((m.start(), m.end()) for m in _SEPARATOR.finditer(text)), (len(text), len(text))]:
        part = text[start:end]
        if part.strip():
            number += 1
            document = _parse(number, text.count("\n", 0, start) + 1, part, is_json)
            if document.value is not None or document.error:
                yield document
        start = resume


def _parse(number: int, line: int, text: str, is_json: bool) -> Document:
    if len(text) > MAX_BYTES:
        return Document(number, line, error=f"{len(text)} characters are more than {MAX_BYTES}")
    try:
        value = msgspec.json.decode(text) if is_json else _load_yaml(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f"line {line + mark.line}, column {mark.column + 1}: " if mark else ""
        return Document(number, line, error=f"{at}{error.problem}")
    except (yaml.YAMLError, msgspec.DecodeError, RecursionError, ValueError) as error:
        return Document(number, line, error=str(error) or type(error).__name__)
    return Document(number, line, value)


def _load_yaml(text: str) -> Any:
    """One YAML document. Aliases are rejected: with them a small text can expand without limit."""
    if "*" in text:
        for event in yaml.parse(text, yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise yaml.constructor.ConstructorError(None, None, "aliases are not supported", None)
    return yaml.load(text, _Loader)  # a safe loader
