"""The log's lines about what does not fit into the kernel's tables or the waypoint."""

import logging
from collections.abc import Mapping

log = logging.getLogger(__name__)

# So many of the objects that do not fit are named in one line of the log; `weft status` names all.
NAMED = 10


class FailureLog:
    """Writes a line when something else does not fit than before: a full table can concern thousands of objects."""

    def __init__(self) -> None:
        self._logged: frozenset[str] = frozenset()

    def show(self, failures: Mapping[str, str]) -> None:
        """Log the difference to the call before; `failures` are by name with the reason."""
        new, gone = sorted(failures.keys() - self._logged), self._logged - failures.keys()
        self._logged = frozenset(failures)
        if new:
            names = ", ".join(new[:NAMED]) + (", …" if len(new) > NAMED else "")
            parts = {"new": len(new), "all": len(failures), "objects": names, "reason": failures[new[0]]}
            log.warning("does not fit", extra=parts)
        if gone:
            log.info("fits now, or is not wanted any more", extra={"objects": len(gone), "left": len(failures)})
