"""Fixtures: a swtpm, and a Tpm on it that has to leave nothing behind."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from tpmwire.client import Tpm
from tpmwire.commands import FlushContext, GetCapability
from tpmwire.constants import TPM_CAP
from tpmwire.transport import connect

settings.register_profile("tpmwire", deadline=None, max_examples=40)
settings.load_profile("tpmwire")

LOADED_OBJECTS, LOADED_SESSIONS = 0x80000000, 0x02000000

# Programs that the tests start shall not inherit that signals are ignored: under nohup SIGHUP is,
# and SIGINT in the background of a shell.
for _number, _heed in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _heed)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tpmwire")
    group.addoption("--device", metavar="PATH", help="test the kernel's TPM device, /dev/tpmrm0")
    group.addoption(
        "--destructive",
        action="store_true",
        help="with --device: also take the device from its driver, and make keys persistent",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what wants a real device, unless one is given."""
    if config.getoption("device"):
        return
    on_device = [item for item in items if item.get_closest_marker("device")]
    config.hook.pytest_deselected(items=on_device)
    items[:] = [item for item in items if item not in on_device]


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The device of the resource manager, as --device names it."""
    return str(request.config.getoption("device"))


@dataclass
class Swtpm:
    """A running swtpm; `log` has every command and response in hex."""

    path: Path
    log: Path
    process: "subprocess.Popen[bytes]"

    @property
    def conf(self) -> str:
        return f"swtpm:path={self.path}"


def start_swtpm(directory: Path) -> Swtpm:
    """Start a swtpm on a Unix socket in `directory`, its state and log beside it."""
    path, log = directory / "sock", directory / "log"
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={directory}"]
    command += ["--server", f"type=unixio,path={path}"]
    command += ["--ctrl", f"type=unixio,path={path}.ctrl", "--log", f"file={log},level=20"]
    process = subprocess.Popen([*command, "--flags", "not-need-init,startup-clear"])
    while not (is_listening(path) and is_listening(Path(f"{path}.ctrl"))):
        assert process.poll() is None, log.read_text()
        time.sleep(0.005)
    return Swtpm(path, log, process)


def is_listening(path: Path) -> bool:
    """Whether a server listens on a Unix socket; its file is there a bit earlier."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def handles(tpm: Tpm, first: int) -> tuple[int, ...]:
    """Return the handles that the TPM has from `first` on."""
    question = GetCapability(capability=TPM_CAP.HANDLES, property=first, propertyCount=64)
    return tpm.execute(question).capabilityData.data


def left_loaded(swtpm: Swtpm) -> tuple[int, ...]:
    """Return the objects and sessions that somebody has left loaded, and flush them."""
    with Tpm(connect(swtpm.conf)) as tpm:
        left = handles(tpm, LOADED_OBJECTS) + handles(tpm, LOADED_SESSIONS)
        for handle in left:
            tpm.execute(FlushContext(flushHandle=handle))
    return left


def forgive(tpm: Tpm) -> None:
    """Set the count of wrong authorizations back, by TPM2_DictionaryAttackLockReset."""
    reset = "8002 0000001b 00000139 4000000a 00000009 40000009 0000 00 0000"
    answer = tpm._transport.send(bytes.fromhex(reset))
    assert answer[6:10] == bytes(4), answer.hex()


@pytest.fixture(scope="module")
def swtpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swtpm]:
    """A fresh swtpm for the module.  It serves one client at a time."""
    if shutil.which("swtpm") is None:
        pytest.skip("swtpm is not installed")
    started = start_swtpm(tmp_path_factory.mktemp("swtpm"))
    yield started
    started.process.kill()
    started.process.wait()


@pytest.fixture
def tpm(swtpm: Swtpm) -> Iterator[Tpm]:
    """An open Tpm; a test that leaves an object or session loaded in it fails."""
    with Tpm(connect(swtpm.conf)) as opened:
        yield opened
    assert left_loaded(swtpm) == ()


@pytest.fixture(autouse=True)
def signals_stay_as_they_were() -> Iterator[None]:
    """A test that leaves signals ignored would have all programs after it ignore them."""
    yield
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    assert signal.SIG_IGN not in handlers.values()
