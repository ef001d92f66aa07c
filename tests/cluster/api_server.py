"""The API server of the cluster that runs, asked by kubectl."""

import subprocess
import time

import builds
import layout


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """What kubectl prints; raises CalledProcessError, with its error message on stderr."""
    return subprocess.run(command(*arguments), input=stdin, stdout=subprocess.PIPE, text=True, check=True).stdout


def wait(patience: float = 60.0) -> None:
    """Until it is ready; `patience` is in seconds; raises TimeoutError."""
    end = time.monotonic() + patience
    while subprocess.run(command("get", "--raw=/readyz"), capture_output=True, check=False).returncode != 0:
        if time.monotonic() > end:
            raise TimeoutError("the API server is not ready")
        time.sleep(0.2)


def command(*arguments: str) -> list[str]:
    """The command line."""
    return [str(builds.program(builds.KUBERNETES, "kubectl")), f"--kubeconfig={layout.KUBECONFIG}", *arguments]
