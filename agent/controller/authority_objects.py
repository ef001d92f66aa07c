"""The Secret with the authorities' keys, and the ConfigMap with the trust bundle, as JSON. Pure: no I/O."""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from agent.certificates.authority import Authority, AuthorityError, stored_authority
from agent.certificates.rotation import Authorities, Since
from agent.model.meta import Value

SECRET = "weft-ca"
BUNDLE = "weft-trust-bundle"
BUNDLE_KEY = "ca.crt"
PUBLISHED = "weft.dev/published"
"""The annotation of the ConfigMap that says since when each generation has been in it."""
_CERTIFICATE = re.compile(r"ca-([1-9][0-9]{0,8})\.crt")


class _Metadata(Value, frozen=True):
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class StoredSecret(Value, frozen=True):
    """The Secret as stored: `ca-GENERATION.crt` and `ca-GENERATION.key`."""

    metadata: _Metadata
    data: dict[str, bytes] | None = None

    def __repr__(self) -> str:
        return "StoredSecret(...)"


class StoredBundle(Value, frozen=True):
    """The ConfigMap as stored."""

    metadata: _Metadata = _Metadata()
    data: dict[str, str] | None = None

    @property
    def text(self) -> str:
        """The trust bundle; empty where there is none."""
        return (self.data or {}).get(BUNDLE_KEY, "")


def read_secret(raw: bytes) -> tuple[dict[int, Authority], str]:
    """The authorities in the Secret, and its resourceVersion. Raises `AuthorityError`, `msgspec.DecodeError`."""
    stored = msgspec.json.decode(raw, type=StoredSecret)
    data, found = stored.data or {}, {}
    for name, certificate in data.items():
        if match := _CERTIFICATE.fullmatch(name):
            generation = int(match[1])
            try:
                found[generation] = stored_authority(generation, certificate, data.get(f"ca-{match[1]}.key", b""))
            except AuthorityError as error:
                raise AuthorityError(f"Secret {SECRET}: data[{name}]: {error}") from error
    if not found:
        raise AuthorityError(f"Secret {SECRET}: data: has no authority")
    return found, stored.metadata.resource_version


def new_secret(authority: Authority) -> dict[str, Any]:
    """The Secret with its first authority."""
    metadata = {"name": SECRET, "labels": {"app.kubernetes.io/part-of": "weft"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": _entries(authority)}


def secret_patch(version: str, added: Iterable[Authority], removed: Iterable[int]) -> dict[str, Any]:
    """The merge patch of a Secret at a resourceVersion that adds and removes authorities."""
    data: dict[str, str | None] = {}
    for authority in added:
        data |= _entries(authority)
    for generation in removed:
        data |= {f"ca-{generation}.crt": None, f"ca-{generation}.key": None}
    return {"metadata": {"resourceVersion": version}, "data": data}


def _entries(authority: Authority) -> dict[str, str]:
    name = f"ca-{authority.generation}"
    pems = {f"{name}.crt": authority.certificate_pem, f"{name}.key": authority.key_pem()}
    return {entry: b64encode(pem).decode() for entry, pem in pems.items()}


def bundle(authorities: Authorities) -> str:
    """The certificates that others have to trust, in PEM, the newest first."""
    return "".join(authorities[generation].certificate_pem.decode() for generation in sorted(authorities, reverse=True))


def published_since(stored: StoredBundle, authorities: Authorities) -> dict[int, datetime]:
    """Since when each authority has been in the ConfigMap; without those of which that is not known."""
    times = _times((stored.metadata.annotations or {}).get(PUBLISHED, ""))
    there = {generation for generation, it in authorities.items() if it.certificate_pem.decode() in stored.text}
    return {generation: since for generation, since in times.items() if generation in there}


def _times(text: str) -> dict[int, datetime]:
    """The times in the annotation; none where somebody has written something else there."""
    try:
        times = msgspec.json.decode(text.encode(), type=dict[int, datetime])
    except msgspec.DecodeError:
        return {}
    return {generation: since for generation, since in times.items() if since.tzinfo is not None}


def bundle_object(authorities: Authorities, since: Since, version: str) -> dict[str, Any]:
    """The ConfigMap; `version` is the resourceVersion that it replaces, empty where it does not exist."""
    times = {str(generation): _text(since[generation]) for generation in sorted(authorities)}
    metadata: dict[str, Any] = {"name": BUNDLE, "labels": {"app.kubernetes.io/part-of": "weft"}}
    metadata["annotations"] = {PUBLISHED: json.dumps(times)}
    if version:
        metadata["resourceVersion"] = version
    data: Mapping[str, str] = {BUNDLE_KEY: bundle(authorities)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
