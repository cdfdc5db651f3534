"""A device that goes away; after that it may have another number, so this comes last."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tpmwire.client import Tpm
from tpmwire.commands import GetRandom
from tpmwire.errors import TransportError
from tpmwire.transport import DeviceTransport

pytestmark = pytest.mark.device


@pytest.fixture
def driver(request: pytest.FixtureRequest, device: str) -> Path:
    """The directory of the driver behind the device, for a test that takes the device away."""
    if not request.config.getoption("destructive"):
        pytest.skip("takes the device away for a while: only with --destructive")
    number = Path(device).name.removeprefix("tpmrm")
    return Path(f"/sys/class/tpm/tpm{number}/device/driver").resolve()


@contextlib.contextmanager
def unbound(driver: Path) -> Iterator[None]:
    """Take the device from its driver for a while, as if it were gone."""
    name = next(path.name for path in driver.iterdir() if path.is_symlink() and ":" in path.name)
    (driver / "unbind").write_text(name)
    try:
        yield
    finally:
        (driver / "bind").write_text(name)


def test_a_device_that_goes_away_is_told_and_serves_again_when_it_is_back(
    device: str, driver: Path
):
    tpm = Tpm(DeviceTransport(device))
    with unbound(driver):
        with pytest.raises(TransportError):
            tpm.execute(GetRandom(bytesRequested=4))
        tpm.close()
        with pytest.raises(TransportError, match="no TPM there"):
            DeviceTransport(device)
    # It may have got another number.
    found: list[Path] = []
    deadline = time.monotonic() + 30
    while not found and time.monotonic() < deadline:
        found = sorted(Path("/dev").glob("tpmrm*"))
        time.sleep(0.05)
    with Tpm(DeviceTransport(str(found[0]))) as again:
        assert again.execute(GetRandom(bytesRequested=4)).randomBytes
