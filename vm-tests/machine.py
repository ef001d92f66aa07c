"""One virtual machine: QEMU's command, and a run of it until it ends."""

import os
import subprocess
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import kernel_layer

RESULT_BYTES = 64 << 20
# Emulated, the guest's clock counts instructions, one a nanosecond, while it computes: a busy host makes no timeout of
# the guest pass sooner. Nehalem has no AVX: QEMU emulates AVX with more work than the C library's SSE variants need.
_PROCESSOR = {"kvm": ("-cpu", "host"), "tcg": ("-cpu", "Nehalem", "-icount", "shift=0")}
# Debian's kernels zero each page when they allocate it; in an emulated guest that is slow and shows no defect.
_KERNEL_OPTIONS = ("console=ttyS0", "loglevel=5", "panic=-1", "mitigations=off", "init_on_alloc=0")


@dataclass(frozen=True, slots=True)
class Machine:
    """`disks` are images that are only read, in the order in which the guest knows them; after them comes the disk for
    results, to which the guest writes a tar archive. `words` are for the kernel's command line. `taps` are interfaces,
    in the guest's order of its own, of the network namespace that `within` enters: a command that runs another. With
    `reboots` it boots again when it resets itself.
    """

    kernel: kernel_layer.Files
    disks: Sequence[Path]
    results: Path
    serial: Path
    memory: int  # MiB
    words: Mapping[str, str]
    taps: Sequence[str] = ()
    within: Sequence[str] = ()
    reboots: bool = False

    def command(self, accelerator: str) -> list[str]:
        """QEMU, which dies with the thread that starts it, however that ends."""
        drives = [f"file={disk},if=virtio,format=raw,readonly=on" for disk in self.disks]
        drives.append(f"file={self.results},if=virtio,format=raw")
        words = [*_KERNEL_OPTIONS, *map("=".join, self.words.items())]
        return [
            *("setpriv", "--pdeathsig", "KILL", *self.within),
            *("qemu-system-x86_64", "-accel", accelerator, *_PROCESSOR[accelerator]),
            *("-smp", "1", "-m", str(self.memory)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"),
            *(() if self.reboots else ("-no-reboot",)),
            *("-kernel", str(self.kernel.vmlinuz), "-initrd", str(self.kernel.initrd), "-append", " ".join(words)),
            *(word for drive in drives for word in ("-drive", drive)),
            *(word for tap in self.taps for word in _interface(tap)),
        ]


def _interface(tap: str) -> tuple[str, ...]:
    """A network interface; its address is of the tap's name, so that no two are alike."""
    address = "52:54:00:" + ":".join(f"{byte:02x}" for byte in zlib.crc32(tap.encode()).to_bytes(4, "big")[1:])
    device = f"virtio-net-pci,netdev={tap},mac={address},romfile="
    return ("-netdev", f"tap,id={tap},ifname={tap},script=no,downscript=no", "-device", device)


def accelerator() -> str:
    """KVM where the processor can run any kernel with it; emulation elsewhere. WEFT_VM_ACCELERATOR overrides."""
    chosen = os.environ.get("WEFT_VM_ACCELERATOR")
    flags = set(Path("/proc/cpuinfo").read_text().split())
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK) and flags & {"vmx", "svm"}
    return chosen or ("kvm" if usable else "tcg")


def run(machine: Machine, seconds: float) -> bool:
    """Boot it and wait until it is off; its console is in the file `serial`. False when it was killed for its time."""
    with machine.results.open("wb") as disk:
        disk.truncate(RESULT_BYTES)
    with machine.serial.open("wb") as console:
        process = subprocess.Popen(
            machine.command(accelerator()), stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        finally:
            process.kill()
            process.wait()
    return True
