"""Running tpm2-tools on the swtpm of a test."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Swtpm

needs_tools = pytest.mark.skipif(
    shutil.which("tpm2_createprimary") is None, reason="tpm2-tools are not installed"
)


def tool(swtpm: Swtpm, name: str, *options: str | Path | int) -> str:
    """Run one of tpm2-tools, flush what it has left loaded, and return what it printed."""
    done = attempt(swtpm, name, *options)
    assert done.returncode == 0, done.stderr
    attempt(swtpm, "flushcontext", "-t")
    return done.stdout


def attempt(
    swtpm: Swtpm, name: str, *options: str | Path | int
) -> "subprocess.CompletedProcess[str]":
    """Run one of tpm2-tools, which may fail."""
    return subprocess.run(
        [f"tpm2_{name}", *map(str, options)],
        env={**os.environ, "TPM2TOOLS_TCTI": swtpm.conf},
        capture_output=True,
        text=True,
        timeout=120,
    )
