"""Skips where the programs that render manifests are not there."""

import builds
import pytest
from rendering import program


@pytest.fixture(scope="session", autouse=True)
def _programs() -> None:
    try:
        program(builds.KUBERNETES, "kubectl"), program(builds.HELM, "helm")
    except LookupError as error:
        pytest.skip(str(error))
