"""The kernel's devices of a TPM, and who may use them."""

from collections.abc import Iterator
from dataclasses import dataclass

from tpmwire.diagnosis.finding import Finding, fine, note, problem, warning

SUBJECT = "device"

CHIP, MANAGED = "/dev/tpm0", "/dev/tpmrm0"


@dataclass(frozen=True)
class Node:
    """A file in /dev: whether it is a device, whose it is, and whether we may use it."""

    path: str
    is_device: bool = True
    mode: int = 0o660
    group: str = "tss"
    usable: bool = True


@dataclass(frozen=True)
class Device:
    """What the system tells of its TPM; what is not there is None."""

    wanted: str
    """The path of the device that is to be used."""
    node: Node | None
    chip: Node | None
    """The device of the chip itself."""
    version: str
    """The first number of the specification that the kernel found it to follow, or ''."""
    groups: frozenset[str]
    """The groups of this process."""
    listed: frozenset[str]
    """The groups of the user, as they would be after the next log in."""


def check_device(device: Device) -> Iterator[Finding]:
    """Find out whether there is a TPM 2.0 that may be used."""
    if device.version == "1":
        yield problem(
            *(SUBJECT, "this machine's TPM is of version 1.2, which has other commands"),
            "some can be updated to 2.0; look at the firmware set-up and the pages of the vendor",
        )
    elif device.node is None:
        yield _missing(device)
    elif not device.node.is_device:
        yield problem(SUBJECT, f"{device.wanted} is no device", "correct what --tpm names")
    else:
        yield _access(device, device.node)
        yield from _remarks(device.node)


def _missing(device: Device) -> Finding:
    if device.wanted == MANAGED and device.chip is not None:
        return problem(
            *(SUBJECT, f"{CHIP} is there but {MANAGED} is not: the kernel has no resource manager"),
            f"use a kernel from 4.12 on, or name the chip itself: --tpm device:{CHIP}",
        )
    return problem(
        *(SUBJECT, f"{device.wanted}: no TPM there"),
        "enable it in the firmware set-up (also called fTPM, PTT or security device); a container "
        f"has to be given it (--device {MANAGED}); 'tpmwire-keygen --tpm embedded:' is for trials",
    )


def _access(device: Device, node: Node) -> Finding:
    if node.usable:
        member = node.group in device.groups and node.mode & 0o060 == 0o060
        how = f", as a member of group {node.group}" if member else ""
        return fine(SUBJECT, f"{node.path}: you may use it{how}")
    if node.mode & 0o060 != 0o060 or node.group == "root":
        return problem(
            *(SUBJECT, f"{node.path}: only root may use it (group {node.group})"),
            "install the udev rules for TPMs (Debian: tpm-udev), which give it to the group tss",
        )
    if node.group in device.listed:
        return problem(
            *(SUBJECT, f"{node.path}: you are in the group {node.group}, but this session is not"),
            "log out and in again",
        )
    return problem(
        *(SUBJECT, f"{node.path}: you are not in the group {node.group}, to which it belongs"),
        f"sudo usermod -aG {node.group} $USER, then log out and in again",
    )


def _remarks(node: Node) -> Iterator[Finding]:
    if node.mode & 0o006:
        yield warning(
            *(SUBJECT, f"{node.path}: everybody on this machine may use the TPM, and lock it"),
            f"sudo chmod o= {node.path}, and correct the udev rule that made it so",
        )
    if "tpmrm" not in node.path:
        yield note(
            *(SUBJECT, f"{node.path} serves one program at a time"),
            f"use {MANAGED}, unless you have a reason",
        )
