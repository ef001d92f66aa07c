"""Which authorities there should be, which one signs, and which ones others have to trust.

A new authority is published before it signs, and an old one stays published until its certificates have ended.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.certificates.authority import Authority
from agent.certificates.request import MAX_SECONDS

# More are not made until the oldest has gone.
MAX_AUTHORITIES = 4


@dataclass(frozen=True, slots=True)
class Lives:
    """How long things last.

    - `authority`: an authority, and `before_end`: how long before its end the next one is made.
    - `published`: between the publication of a root and its first certificate. Until then every server and client must
      have it.
    - `certificate`: the longest life of a certificate.
    - `clocks`: how far apart the clocks of those who check certificates are.
    - `looked_at`: between two looks at the stored authorities.
    """

    authority: timedelta = timedelta(days=3650)
    before_end: timedelta = timedelta(days=365)
    published: timedelta = timedelta(minutes=10)
    certificate: timedelta = timedelta(seconds=MAX_SECONDS)
    clocks: timedelta = timedelta(minutes=5)
    looked_at: timedelta = timedelta(seconds=10)


DEFAULT_LIVES = Lives()
Authorities = Mapping[int, Authority]
# When each generation was published first.
Since = Mapping[int, datetime]


def next_generation(
    authorities: Authorities, trust_domain: str, generation: int, now: datetime, lives: Lives = DEFAULT_LIVES
) -> int | None:
    """The generation of the authority that has to be made now; None if those that there are suffice."""
    if not authorities:
        return generation
    newest = authorities[max(authorities)]
    due = newest.generation < generation or newest.trust_domain != trust_domain or newest.end - now < lives.before_end
    return max(newest.generation + 1, generation) if due and len(authorities) < MAX_AUTHORITIES else None


def signing(authorities: Authorities, since: Since, now: datetime, lives: Lives = DEFAULT_LIVES) -> Authority | None:
    """The newest authority that has been published long enough, or else the oldest one that is published."""
    published = [authorities[generation] for generation in sorted(authorities) if generation in since]
    known = [it for it in published[1:] if since[it.generation] + lives.published <= now]
    return [*published[:1], *known][-1] if published else None


def ended(authorities: Authorities, since: Since, now: datetime, lives: Lives = DEFAULT_LIVES) -> tuple[int, ...]:
    """The generations whose certificates have all ended: a later one has signed for longer than any lasts."""
    rest = lives.published + lives.certificate + lives.clocks
    successors = [generation for generation in authorities if generation in since and since[generation] + rest <= now]
    return tuple(generation for generation in sorted(authorities) if any(generation < later for later in successors))
