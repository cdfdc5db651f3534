"""Keeping a process that may have PINs in its memory to itself."""

import ctypes
import os
import resource

_PR_SET_DUMPABLE = 4  # of <linux/prctl.h>
_PRIVATE = 0o077


def seclude() -> None:
    """Let no other process of the user read our memory, no core be dumped, no file be shared.

    What root or a debugger with privileges can do stays possible, and what is swapped out is as
    safe as the swap space.  [prctl(2)]
    """
    os.umask(_PRIVATE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl: the process cannot be made undumpable")
