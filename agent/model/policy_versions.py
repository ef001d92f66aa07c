"""Which AuthorizationPolicies are known, in which versions, as one digest: who knows the same has the same digest."""

import hashlib
from typing import NamedTuple

from agent.model.authorization import AnyPolicy, AuthorizationPolicy, UndecodableAuthorizationPolicy, policy_key
from agent.model.change import Change, Delete, Upsert
from agent.model.meta import Key

_KINDS = (AuthorizationPolicy.__name__, UndecodableAuthorizationPolicy.__name__)
_SIZE = 16


class PolicyVersion(NamedTuple):
    """A policy in one version. A policy that was deleted and created again has another uid. Writes of the status and of
    labels make no new version.
    """

    uid: str
    generation: int
    is_audited: bool


class PolicyVersions:
    """The version of each policy: the newest one, decodable or not."""

    def __init__(self) -> None:
        self._found: dict[Key, dict[str, PolicyVersion]] = {}
        self._sum = 0

    @property
    def digest(self) -> str:
        """32 hexadecimal digits of all versions. Their order makes no difference."""
        return f"{self._sum:0{2 * _SIZE}x}"

    def version(self, policy: Key) -> PolicyVersion | None:
        """The version of one policy."""
        found = self._found.get(policy, {})
        return found.get(UndecodableAuthorizationPolicy.__name__) or found.get(AuthorizationPolicy.__name__)

    def apply(self, change: Change) -> Key | None:
        """Apply a change. Returns the policy whose version is another one now."""
        match change:
            case Upsert(AuthorizationPolicy() | UndecodableAuthorizationPolicy() as value):
                policy, kind = policy_key(value), type(value).__name__
                version: PolicyVersion | None = _version(value)
            case Delete(Key(kind, namespace, name)) if kind in _KINDS:
                policy, version = Key(AuthorizationPolicy.__name__, namespace, name), None
            case _:
                return None
        before = self.version(policy)
        self._set(policy, kind, version)
        after = self.version(policy)
        if before == after:
            return None
        self._sum = (self._sum + _number(policy, after) - _number(policy, before)) % (1 << 8 * _SIZE)
        return policy

    def _set(self, policy: Key, kind: str, version: PolicyVersion | None) -> None:
        found = self._found.setdefault(policy, {})
        if version is None:
            found.pop(kind, None)
        else:
            found[kind] = version
        if not found:
            del self._found[policy]


def _version(policy: AnyPolicy) -> PolicyVersion:
    if isinstance(policy, UndecodableAuthorizationPolicy):
        return PolicyVersion(policy.uid, policy.generation, policy.is_audited)
    return PolicyVersion(policy.metadata.uid, policy.metadata.generation, policy.is_audited)


def _number(policy: Key, version: PolicyVersion | None) -> int:
    if version is None:
        return 0
    text = "\0".join(map(str, (policy.namespace, policy.name, *version)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_SIZE).digest(), "little")
