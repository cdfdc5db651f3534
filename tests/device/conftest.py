"""Fixtures for a TPM behind the kernel's driver."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tpmwire.client import Tpm
from tpmwire.transport import DeviceTransport


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The device of the resource manager, as --device names it."""
    return str(request.config.getoption("device"))


@pytest.fixture
def tpm(device: str) -> Iterator[Tpm]:
    """An open Tpm on it."""
    with Tpm(DeviceTransport(device)) as opened:
        yield opened


@pytest.fixture
def driver(request: pytest.FixtureRequest, device: str) -> Path:
    """The directory of the driver behind the device, for a test that takes the device away."""
    if not request.config.getoption("destructive"):
        pytest.skip("takes the device away for a while: only with --destructive")
    number = Path(device).name.removeprefix("tpmrm")
    return Path(f"/sys/class/tpm/tpm{number}/device/driver").resolve()
