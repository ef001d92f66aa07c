"""What stands in for docker, kind and kubectl: it writes down how it was called, and answers as far as kind looks.

Arguments: a folder, the name of the program, its arguments. The folder gets `calls`, a line for each call with the
files of configuration in it; `containers`, a name and an image for each that was started; and `kubeadm.yaml`, what kind
wrote to the control plane as kubeadm's configuration.
"""

import shlex
import sys
from pathlib import Path

FOLDER, NAME, ARGUMENTS = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
CONTAINERS = FOLDER / "containers"


def main() -> int:
    """Record the call; returns the exit code."""
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{shlex.join([NAME, *ARGUMENTS])}\n{_files()}")
    if NAME != "docker":
        return 0
    if (FOLDER / "no-daemon").exists():
        print("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", file=sys.stderr)
        return 1
    return _docker(shlex.join(ARGUMENTS))


def _files() -> str:
    """The files of configuration that the call names."""
    files = [Path(argument.partition("=")[2]) for argument in ARGUMENTS if argument.startswith("--config=")]
    if "--kustomize" in ARGUMENTS:
        files.append(Path(ARGUMENTS[ARGUMENTS.index("--kustomize") + 1]) / "kustomization.yaml")
    return "".join(f"    {line}\n" for file in files for line in file.read_text().splitlines())


def _docker(text: str) -> int:
    """A daemon that starts containers; kubeadm fails in them."""
    if text.startswith("run --name"):
        with CONTAINERS.open("a") as containers:
            containers.write(f"{ARGUMENTS[2]} {ARGUMENTS[-1]}\n")
    elif text.endswith("-control-plane cp /dev/stdin /kind/kubeadm.conf"):
        (FOLDER / "kubeadm.yaml").write_text(sys.stdin.read())
    else:
        print(_answer(text), end="")
    return int("kubeadm init" in text)


def _answer(text: str) -> str:
    """What the daemon says."""
    containers = _containers()
    images = [image.partition(":")[2].partition("@")[0] for image in containers.values()]
    last = ARGUMENTS[-1]
    answers = {
        "-v": "Docker version 20.10.24+dfsg1, build 297e128",
        "info": "{}",
        "network ls": "0123456789ab",
        "ps": "\n".join(containers),
        "logs": "Reached target Multi-User System.",
        "inspect --format": "control-plane" if last.endswith("-control-plane") else "worker",
        "inspect -f": f"172.18.0.{2 + [*containers, last].index(last)},",
        "exec": images[0] if text.endswith("cat /kind/version") else "",
    }
    found = next((answer for call, answer in answers.items() if text.startswith(call)), "")
    return f"{found}\n" if found else ""


def _containers() -> dict[str, str]:
    """Images by name."""
    lines = CONTAINERS.read_text().splitlines() if CONTAINERS.exists() else []
    return dict(sorted(line.split() for line in lines))


if __name__ == "__main__":
    sys.exit(main())
