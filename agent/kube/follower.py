"""One collection that is being followed: its state machine, and how asking the server for it goes."""

import logging
import random

from agent.backoff import Backoff
from agent.internal_errors import InternalErrors
from agent.kube.collection import Collection
from agent.kube.errors import ApiError
from agent.kube.reflector import Reflector

log = logging.getLogger(__name__)


class Follower:
    """One collection: its state machine, and how talking to the server about it goes."""

    def __init__(self, collection: Collection, version: str, errors: InternalErrors | None = None) -> None:
        """Without `errors` internal errors are raised."""
        self.collection = collection
        self.version = version
        self.reflector = Reflector(collection, errors)
        self.backoff = Backoff(random.random)
        self.failing_since: float | None = None
        self.error = ""

    @property
    def state(self) -> str:
        """For people."""
        return self.error or ("watching" if self.reflector.watching else "listing")

    def failed(self, error: ApiError, now: float) -> float:
        """Note a failure; returns the seconds to wait."""
        if not self.error:
            log.info("request failed", extra={"kind": self.collection.kind, "error": str(error)})
        self.failing_since = now if self.failing_since is None else self.failing_since
        self.error = str(error)
        self.reflector.failed(error)
        if error.gone:
            # The server is well, and says what to do.
            self.backoff.succeeded()
        return self.backoff.failed(error.retry_after)

    def answered(self) -> None:
        """The server said yes."""
        self.failing_since, self.error = None, ""
