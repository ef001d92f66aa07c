"""Which authorities are made, sign, and are trusted, over time."""

from datetime import UTC, datetime, timedelta

import pytest

from agent.certificates.authority import Authority, new_authority
from agent.certificates.rotation import DEFAULT_LIVES, MAX_AUTHORITIES, ended, next_generation, signing

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DOMAIN = "cluster.local"
DAY = timedelta(days=1)


def authorities(*generations: int, domain: str = DOMAIN) -> dict[int, Authority]:
    return {number: new_authority(number, domain, NOW, DEFAULT_LIVES.authority) for number in generations}


@pytest.mark.parametrize(
    ("there", "domain", "generation", "after", "expected"),
    [
        ((), DOMAIN, 1, timedelta(), 1),
        ((), DOMAIN, 7, timedelta(), 7),
        ((1,), DOMAIN, 1, timedelta(), None),
        ((1,), DOMAIN, 2, timedelta(), 2),
        ((1,), DOMAIN, 5, timedelta(), 5),
        ((5,), DOMAIN, 1, timedelta(), None),
        ((1,), "example.org", 1, timedelta(), 2),
        ((1,), DOMAIN, 1, 3284 * DAY, None),
        ((1,), DOMAIN, 1, 3286 * DAY, 2),
        ((1, 2, 3, 4), DOMAIN, 9, timedelta(), None),
    ],
)
def test_when_an_authority_is_made(
    there: tuple[int, ...], domain: str, generation: int, after: timedelta, expected: int | None
) -> None:
    assert len(there) <= MAX_AUTHORITIES
    assert next_generation(authorities(*there), domain, generation, NOW + after) == expected


def test_a_new_authority_signs_when_it_is_known_and_the_old_one_is_trusted_until_its_certificates_have_ended() -> None:
    both, since = authorities(1, 2), {1: NOW, 2: NOW + DAY}

    def at(time: datetime) -> tuple[int | None, tuple[int, ...]]:
        found = signing(both, since, time)
        return found and found.generation, ended(both, since, time)

    known = NOW + DAY + DEFAULT_LIVES.published
    assert at(NOW + DAY) == (1, ())
    assert at(known - timedelta(seconds=1)) == (1, ())
    assert at(known) == (2, ())
    gone = known + DEFAULT_LIVES.certificate + DEFAULT_LIVES.clocks
    assert at(gone - timedelta(seconds=1)) == (2, ())
    assert at(gone) == (2, (1,))


def test_what_is_not_published_does_not_sign() -> None:
    both = authorities(1, 2)
    assert signing(both, {}, NOW) is None
    only = signing(both, {2: NOW}, NOW)
    assert only is not None
    assert only.generation == 2
    assert ended(both, {1: NOW}, NOW + 100 * DAY) == ()
