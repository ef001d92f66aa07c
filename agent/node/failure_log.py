"""Log lines about objects that do not fit into the kernel's maps or the waypoint's quota."""

import logging
from collections.abc import Mapping

log = logging.getLogger(__name__)

# The number of rejected objects that one log line names. `weft status` names all.
NAMED = 10


class FailureLog:
    """Logs changes of the set of rejected objects, in one line: a full map can concern thousands."""

    def __init__(self) -> None:
        self._logged: frozenset[str] = frozenset()

    def show(self, failures: Mapping[str, str]) -> None:
        """Log the difference from the last call. `failures` maps names to reasons."""
        new, gone = sorted(failures.keys() - self._logged), self._logged - failures.keys()
        self._logged = frozenset(failures)
        if new:
            names = ", ".join(new[:NAMED]) + (", …" if len(new) > NAMED else "")
            parts = {"new": len(new), "all": len(failures), "objects": names, "reason": failures[new[0]]}
            log.warning("objects do not fit", extra=parts)
        if gone:
            log.info("objects fit now, or were removed", extra={"objects": len(gone), "left": len(failures)})
