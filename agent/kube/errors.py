"""Errors of an API server."""

import msgspec

from agent.model.meta import Value

UNREACHABLE = 0


class ConfigurationError(Exception):
    """No kubeconfig or service account can be used. The message is one sentence."""


class ApiError(Exception):
    """A request failed. `status` is HTTP's, or `UNREACHABLE`; `retry_after` is the server's Retry-After, in seconds."""

    def __init__(self, status: int, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status
        self.retry_after = retry_after

    @property
    def gone(self) -> bool:
        """Whether a resourceVersion or continue token is too old (410): only a new list helps."""
        return self.status == 410


class _Details(Value, frozen=True):
    retry_after_seconds: float = 0.0


class Status(Value, frozen=True):
    """The API's `Status` object."""

    code: int = 500
    reason: str = ""
    message: str = ""
    details: _Details | None = None


def api_error(body: bytes, status: int | None = None, retry_after: str = "") -> ApiError:
    """The error in the body of a response or an ERROR event. A proxy may have answered, so it may be no `Status`."""
    try:
        status_object = msgspec.json.decode(body, type=Status)
    except msgspec.DecodeError:
        status_object = Status(message=body[:200].decode(errors="replace"))
    seconds = status_object.details.retry_after_seconds if status_object.details else 0.0
    if retry_after.isdecimal():
        seconds = max(seconds, float(retry_after))
    return ApiError(status or status_object.code, status_object.message or status_object.reason, seconds)
