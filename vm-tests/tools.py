"""Debian packages with the programs that make images and run virtual machines."""

import os
import subprocess

import progress

_PACKAGES = ("qemu-system-x86", "mmdebstrap", "erofs-utils", "cpio", "kmod", "xz-utils")


def install() -> None:
    """Install those that are not there. Raises `CalledProcessError`."""
    if missing := [package for package in _PACKAGES if not _is_installed(package)]:
        command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing]
        with progress.step(f"install {' '.join(missing)}"):
            progress.output(["apt-get", "update", "-qq"])
            progress.output(command, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})


def _is_installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"
