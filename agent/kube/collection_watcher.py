"""One collection that is watched: its reflector, back-off and errors."""

import logging
import random
from http import HTTPStatus

from agent.backoff import Backoff
from agent.internal_errors import InternalErrors
from agent.kube.collection import Collection
from agent.kube.errors import ApiError
from agent.kube.reflector import Reflector

log = logging.getLogger(__name__)


class CollectionWatcher:
    """One collection that is watched: its reflector, back-off and errors.

    `forbidden`: the API server refused the last request, because the role of the account does not allow it (403).
    """

    def __init__(self, collection: Collection, version: str, errors: InternalErrors | None = None) -> None:
        """Without `errors` internal errors are raised."""
        self.collection = collection
        self.version = version
        self.reflector = Reflector(collection, errors)
        self.backoff = Backoff(random.random)
        self.failing_since: float | None = None
        self.error = ""
        self.forbidden = False

    @property
    def state(self) -> str:
        """The state, for `weft status`."""
        return self.error or ("watching" if self.reflector.watching else "listing")

    def failed(self, error: ApiError, now: float) -> float:
        """Record a failure. Returns the seconds to wait."""
        if not self.error:
            log.info("request failed", extra={"kind": self.collection.kind, "error": str(error)})
        self.failing_since = now if self.failing_since is None else self.failing_since
        self.error, self.forbidden = str(error), error.status == HTTPStatus.FORBIDDEN
        self.reflector.failed(error)
        if error.gone:
            # The server is healthy, and asks for a new list.
            self.backoff.succeeded()
        return self.backoff.failed(error.retry_after)

    def answered(self) -> None:
        """Record a successful request."""
        self.failing_since, self.error, self.forbidden = None, "", False
