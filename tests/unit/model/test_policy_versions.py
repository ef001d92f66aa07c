"""The digest by which a node says which policies it knows."""

from itertools import permutations

from agent.model.authorization import UndecodableAuthorizationPolicy
from agent.model.change import Change, Delete, Upsert
from agent.model.core import Namespace
from agent.model.meta import Key, ObjectMeta
from agent.model.policy_versions import PolicyVersions
from support.policies import POLICY, versioned

UNDECODABLE = UndecodableAuthorizationPolicy(POLICY, 2, None, "spec", "is bad", uid="u1")


def digest(*changes: Change) -> str:
    versions = PolicyVersions()
    for change in changes:
        versions.apply(change)
    return versions.digest


def test_the_digest_is_of_what_is_known_and_of_no_order() -> None:
    all_of_them = [Upsert(versioned(name)) for name in ("p", "q", "r")]
    assert len({digest(*order) for order in permutations(all_of_them)}) == 1
    assert digest(*all_of_them, Delete(versioned("q").key)) == digest(all_of_them[0], all_of_them[2])
    assert digest(*all_of_them) != digest(*all_of_them[:2])
    assert digest(all_of_them[0], Delete(POLICY)) == digest()


def test_a_version_is_a_generation_of_an_object_dry_run_or_not() -> None:
    versions = [versioned(), versioned(generation=2), versioned(uid="u2"), versioned(audit="true"), versioned("q")]
    assert len({digest(Upsert(version)) for version in versions}) == len(versions)


def test_other_writes_are_no_version() -> None:
    versions = PolicyVersions()
    assert versions.apply(Upsert(versioned())) == POLICY
    assert versions.apply(Upsert(versioned(note="x"))) is None
    assert versions.apply(Upsert(Namespace(ObjectMeta("app")))) is None
    assert versions.apply(Delete(Key("AuthorizationPolicy", "app", "other"))) is None


def test_one_that_cannot_be_decoded_counts_as_where_it_can_be() -> None:
    """Agents of two versions of weft compare what they know."""
    decoded = digest(Upsert(versioned(generation=2)))
    assert digest(Upsert(UNDECODABLE)) == decoded
    assert digest(Upsert(versioned()), Upsert(UNDECODABLE)) == decoded
    assert digest(Upsert(versioned()), Upsert(UNDECODABLE), Delete(UNDECODABLE.key)) == digest(Upsert(versioned()))
