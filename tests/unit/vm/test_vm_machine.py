"""QEMU's command, and which kernel a package brings."""

from pathlib import Path

import pytest
from kernel_layer import Files, dependency
from machine import Machine

KERNEL = Files(Path("/c/vmlinuz"), Path("/c/initrd"), Path("/c/modules.erofs"))


@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
def test_layers_are_only_read_and_results_come_last(accelerator: str) -> None:
    made = Machine(KERNEL, (Path("/root"), Path("/modules")), Path("/results"), Path("/serial"), 512, {"weft.job": "a"})
    command = made.command(accelerator)
    drives = [command[at + 1] for at, word in enumerate(command) if word == "-drive"]
    assert [drive.split(",")[0] for drive in drives] == ["file=/root", "file=/modules", "file=/results"]
    assert ["readonly=on" in drive for drive in drives] == [True, True, False]
    assert command[:3] == ["setpriv", "--pdeathsig", "KILL"]
    assert command[command.index("-accel") + 1] == accelerator
    assert command[command.index("-append") + 1].endswith("weft.job=a")


def test_a_node_s_interfaces_are_taps_with_addresses_of_their_own() -> None:
    made = Machine(
        KERNEL, (), Path("/results"), Path("/serial"), 512, {}, taps=("link1", "control1"), within=("enter",)
    )
    command = made.command("tcg")
    devices = [command[at + 1] for at, word in enumerate(command) if word == "-device"]
    assert command[3:5] == ["enter", "qemu-system-x86_64"]
    assert ["netdev=link1" in devices[0], "netdev=control1" in devices[1]] == [True, True]
    assert len({device.partition("mac=")[2] for device in devices}) == 2


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ("linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n", "linux-image-6.1.0-56-amd64"),
        ("linux-image-6.1.0-56-amd64\n  Depends: kmod\n |Depends: initramfs-tools\n", "linux-image-amd64"),
        ("", None),
    ],
)
def test_the_newest_kernel_of_a_package_is_found(shown: str, found: str | None) -> None:
    assert dependency("linux-image-amd64", shown) == found
