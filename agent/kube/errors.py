"""What an API server says when it says no."""

import msgspec

from agent.model.meta import Value

UNREACHABLE = 0


class ConfigurationError(Exception):
    """There is no usable kubeconfig or service account, in one sentence."""


class ApiError(Exception):
    """A request failed: `status` is HTTP's, or `UNREACHABLE`; `retry_after` is what the server asks for, in seconds."""

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
    """The API's own word for a result (`kind: Status`)."""

    code: int = 500
    reason: str = ""
    message: str = ""
    details: _Details | None = None


def explain(body: bytes, status: int | None = None, retry_after: str = "") -> ApiError:
    """An error from a response's or an ERROR event's body, which need not be the API's: a proxy may have answered."""
    try:
        said = msgspec.json.decode(body, type=Status)
    except msgspec.DecodeError:
        said = Status(message=body[:200].decode(errors="replace"))
    seconds = said.details.retry_after_seconds if said.details else 0.0
    if retry_after.isdecimal():
        seconds = max(seconds, float(retry_after))
    return ApiError(status or said.code, said.message or said.reason, seconds)
