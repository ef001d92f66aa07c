"""Skips where the programs that render manifests are not there."""

import builds
import pytest


@pytest.fixture(scope="session", autouse=True)
def _programs() -> None:
    try:
        builds.built(builds.KUBERNETES, "kubectl"), builds.built(builds.HELM, "helm")
    except LookupError as error:
        pytest.skip(str(error))
