"""libtpms without swtpm around it: a TPM whose physical presence can be asserted.

swtpm has no way to say that somebody is there, so that it answers TPM2_PP_Commands with TPM_RC_PP
only.  libtpms asks its caller.
"""

import ctypes
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_int, c_ubyte, c_uint32, c_void_p
from pathlib import Path
from typing import Any

from tpm2_pytss.TCTI import PyTCTI

NO_STATE = 0x800  # TPM_RETRY: nothing was stored
VERSION_2 = 1

Load = CFUNCTYPE(c_uint32, c_void_p, c_void_p, c_uint32, c_char_p)
Store = CFUNCTYPE(c_uint32, c_void_p, c_uint32, c_uint32, c_char_p)
Delete = CFUNCTYPE(c_uint32, c_uint32, c_char_p, c_ubyte)
Start = CFUNCTYPE(c_uint32)
Ask = CFUNCTYPE(c_uint32, POINTER(c_ubyte), c_uint32)


class Callbacks(ctypes.Structure):
    """libtpms' `struct libtpms_callbacks`."""

    _fields_ = [
        ("sizeOfStruct", c_int),
        ("nvram_init", Start),
        ("nvram_loaddata", Load),
        ("nvram_storedata", Store),
        ("nvram_deletename", Delete),
        ("io_init", Start),
        ("io_getlocality", c_void_p),
        ("io_getphysicalpresence", Ask),
    ]


def _somebody_is_there(answer: Any, number: int) -> int:
    answer[0] = 1
    return 0


class Library(PyTCTI):
    """A TPM in this process, which forgets everything."""

    def __init__(self, work: Path) -> None:
        super().__init__()
        self.work, self.conf = work, self
        self._exchanges: list[tuple[str, str]] = []
        self._tpm = ctypes.CDLL("libtpms.so.0")
        self._callbacks = Callbacks(
            ctypes.sizeof(Callbacks),
            Start(lambda: 0),
            Load(lambda data, length, number, name: NO_STATE),
            Store(lambda data, length, number, name: 0),
            Delete(lambda number, name, must: 0),
            Start(lambda: 0),
            None,
            Ask(_somebody_is_there),
        )

    @property
    def version(self) -> str:
        """What it is, with its version."""
        number = self._tpm.TPMLIB_GetVersion()
        return f"libtpms {number >> 16}.{number >> 8 & 0xFF}.{number & 0xFF}"

    def restart(self) -> None:
        """Start it."""
        self._tpm.TPMLIB_RegisterCallbacks(byref(self._callbacks))
        self._tpm.TPMLIB_ChooseTPMVersion(VERSION_2)
        if self._tpm.TPMLIB_MainInit():
            raise RuntimeError("libtpms does not start")

    def close(self) -> None:
        """End it."""
        self._tpm.TPMLIB_Terminate()

    def exchanges(self) -> list[tuple[str, str]]:
        """Return what went back and forth since the last call, as hex."""
        found, self._exchanges = self._exchanges, []
        return found

    def do_transmit(self, command: bytes) -> None:
        """Let the TPM work."""
        response, size, room = c_void_p(), c_uint32(), c_uint32()
        parameters = (byref(response), byref(size), byref(room), bytes(command), len(command))
        self._tpm.TPMLIB_Process(*parameters)
        self._response = ctypes.string_at(response, size.value)
        self._exchanges.append((bytes(command).hex(), self._response.hex()))

    def do_receive(self, timeout: int) -> bytes:
        """Return what it answered."""
        return self._response
