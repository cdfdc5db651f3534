"""The power switch of a swtpm."""

import socket

from conftest import Swtpm


def power_cycle(swtpm: Swtpm) -> None:
    """Take the power from the TPM and give it back, by CMD_INIT of swtpm's control channel."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(20)
        control.connect(f"{swtpm.path}.ctrl")
        control.sendall(bytes.fromhex("00000002 00000000"))
        assert control.recv(4, socket.MSG_WAITALL) == bytes(4)
