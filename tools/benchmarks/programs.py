"""Whole programs: making keys from the command line, signing through an agent, starting.

The emulator, if none is given, has a socket of its own for them, as a TPM that several programs
use.  What those of tpm2-tools leave loaded there is flushed while no clock runs.  The programs of
ssh-tpm-agent know the kernel's devices only: they are measured with --tpm device:/dev/tpmrm0, which
tools/vm has.
"""

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

import tpmwire
from benchmarks.agent import Load
from benchmarks.measuring import (
    Action,
    Figure,
    Figures,
    at_least,
    figure,
    measure,
    skipped,
)
from tpmwire.client import Tpm
from tpmwire.commands import FlushContext, GetCapability
from tpmwire.constants import TPM_CAP
from tpmwire.keyfile import KeyFile
from tpmwire.ssh.tpmkey import TpmKey
from tpmwire.transport import Transport, connect
from tpmwire.types import TPMS_ECC_POINT

PATIENCE = 60
KEYGEN_TARGET = 0.25  # seconds that tpmwire-keygen may take, with the start of Python
ADD_TARGET = 2.0  # ssh-add -T by ssh-tpm-agent has to take this many times as long
MEMORY_TARGET = 45.0  # MiB that an agent with 1,000 keys may take
CLIENTS = (1, 8, 64, 200)
KEYS = (1, 100, 1000)
TRANSIENT = 0x80000000
OUTER = ("SSH_", "TPM")


class Place:
    """A directory to work in, a TPM, and the environment of the programs."""

    def __init__(self, path: Path, conf: str) -> None:
        self.path, self.conf = path, conf
        outer = {name: value for name, value in os.environ.items() if not name.startswith(OUTER)}
        self.env = outer | {
            "HOME": str(path),
            "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
            "SHELL": "/bin/sh",
            "TMPDIR": str(path),
            "TPMWIRE_TCTI": conf,
            "TPM2TOOLS_TCTI": conf,
        }

    def run(self, *command: str, **env: str) -> str:
        """Run a program that has to succeed."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if done.returncode != 0:
            raise SystemExit(f"tools/bench: {command[0]}: {done.stderr.strip()}")
        return done.stdout

    def tidy(self) -> None:
        """Flush what is loaded, where no resource manager does so."""
        if not self.conf.startswith("device:/dev/tpmrm"):
            with tpmwire.open(self.conf) as tpm:
                question = GetCapability(
                    capability=TPM_CAP.HANDLES, property=TRANSIENT, propertyCount=64
                )
                for handle in tpm.execute(question).capabilityData.data:
                    tpm.execute(FlushContext(flushHandle=handle))

    @contextlib.contextmanager
    def agent(self, *arguments: str) -> Iterator[tuple[str, int]]:
        """Have tpmwire-agent run; its socket and its process are told."""
        said = self.run("tpmwire-agent", "-s", *arguments)
        path = re.search(r"SSH_AUTH_SOCK=([^;]+)", said)
        number = re.search(r"SSH_AGENT_PID=(\d+)", said)
        if not path or not number:
            raise SystemExit(f"tools/bench: tpmwire-agent: {said}")
        process = os.pidfd_open(int(number[1]))
        try:
            yield path[1], int(number[1])
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGTERM)
            select.select([process], [], [], PATIENCE)
            os.close(process)


@contextlib.contextmanager
def a_place(conf: str | None) -> Iterator[Place]:
    """Make a directory, with an emulator unless a TPM is given; all is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="tpmwire-bench.") as directory:
        if conf is not None:
            yield Place(Path(directory), conf)
            return
        path = f"{directory}/sock"
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={directory}"]
        command += ["--server", f"type=unixio,path={path}"]
        command += ["--ctrl", f"type=unixio,path={path}.ctrl"]
        command += ["--flags", "not-need-init,startup-clear"]
        emulator = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait_for(path, emulator)
            yield Place(Path(directory), f"swtpm:path={path}")
        finally:
            emulator.terminate()
            emulator.wait()


def wait_for(path: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until somebody listens there."""
    while process.poll() is None:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) == 0:
                return
        time.sleep(0.01)
    raise SystemExit(f"tools/bench: {process.args} has ended")


# --- making keys -------------------------------------------------------------------------------


def keygen(place: Place, ssh_tpm: Sequence[str] | None, rounds: int) -> Figures:
    """Compare the programs that make a P-256 key without a PIN."""
    ours = program(place, "tpmwire-keygen", "-q", "-f", "ours", "-N", "", "-t", "ecdsa")
    yield from by_tpm2_tools(place, ours, rounds)
    name = "make a key: ssh-tpm-keygen / tpmwire-keygen"
    if missing := without_ssh_tpm(place, ssh_tpm):
        yield skipped(name, missing)
        return
    peer = program(place, *ssh_tpm, "ssh-tpm-keygen", "-f", str(place.path / "peer"), "-N", "")
    yield compare(name, {"peer": peer, "ours": ours}, rounds)


def by_tpm2_tools(place: Place, ours: Action, rounds: int) -> Figures:
    """Compare with a primary and a key made by tpm2-tools; hold ours against its target."""
    name = "make a key: tpm2-tools / tpmwire-keygen"
    if shutil.which("tpm2_createprimary") is None:
        yield skipped(name, "no tpm2-tools here")
        return
    primary = program(place, "tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", "srk.ctx")
    create = program(
        place, *["tpm2_create", "-Q", "-C", "srk.ctx", "-G", "ecc", "-u", "pub", "-r", "priv"]
    )

    def both() -> None:
        primary()
        create()

    made = compare(name, {"tpm2": both, "ours": ours}, rounds, place.tidy)
    met = "met" if made.under <= KEYGEN_TARGET * 1e3 else "MISSED"
    yield made.judged(f"target for B at most {KEYGEN_TARGET * 1e3:.0f} ms: {met}")


def program(place: Place, *command: str) -> Action:
    """Make an action that runs a program, which finds none of the files that it makes."""

    def action() -> None:
        for name in ("ours.tpm", "ours.pub", "peer.tpm", "peer.pub", "pub", "priv"):
            (place.path / name).unlink(missing_ok=True)
        place.run(*command)

    return action


def compare(
    name: str,
    contenders: dict[str, Action],
    rounds: int,
    between: Callable[[], None] | None = None,
) -> Figure:
    """Compare the first contender with the second."""
    measure(contenders, 1, between=between)
    over, under = measure(contenders, rounds, between=between).values()
    return figure(name, over.wall, under.wall, unit="ms")


def without_ssh_tpm(place: Place, ssh_tpm: Sequence[str] | None) -> str:
    """Tell why the programs of ssh-tpm-agent cannot be run, or nothing."""
    if ssh_tpm is None:
        return "no ssh-tpm-agent here"
    if not place.conf.startswith("device:"):
        return "ssh-tpm-agent wants a device of the kernel: tools/vm tools/bench --tpm device:..."
    return ""


# --- one signature -----------------------------------------------------------------------------


class Recorder:
    """A transport that notes what is sent in a list."""

    def __init__(self, transport: Transport, sent: list[bytes]) -> None:
        self._transport, self._sent = transport, sent
        self.keeps_objects = transport.keeps_objects

    def send(self, command: bytes) -> bytes:
        """Pass a command on."""
        self._sent.append(command)
        return self._transport.send(command)

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()


def signing(place: Place, ssh_tpm: Sequence[str] | None, rounds: int) -> Figures:
    """Compare a signature through the agent with the same commands alone, and with the peer."""
    place.run("tpmwire-keygen", "-q", "-f", "key", "-N", "")
    commands = commands_of_a_signature(place)

    def replay() -> None:
        with contextlib.closing(connect(place.conf)) as transport:
            for command in commands:
                transport.send(command)

    with place.agent("key.tpm") as (path, _):
        load = Load(path)
        with load.connected() as connection:
            pair: dict[str, Action] = {"agent": lambda: load.sign(connection), "bare": replay}
            name = f"sign through the agent / its {len(commands)} commands"
            yield compare(name, pair, rounds)
        yield from by_ssh_tpm(place, ssh_tpm, path, rounds)


def commands_of_a_signature(place: Place) -> list[bytes]:
    """Record what is sent for one signature, once the TPM has tested itself."""
    file = KeyFile.from_pem((place.path / "key.tpm").read_bytes())
    sent: list[bytes] = []
    key = TpmKey(
        file, "", lambda: Tpm(Recorder(connect(place.conf), sent)), lambda prompt, occasion: b""
    )
    key.sign(b"first", 0)
    sent.clear()
    key.sign(b"second", 0)
    return sent


def by_ssh_tpm(place: Place, ssh_tpm: Sequence[str] | None, ours: str, rounds: int) -> Figures:
    """Compare `ssh-add -T` with both agents."""
    name = "ssh-add -T: ssh-tpm-agent / tpmwire-agent"
    if missing := without_ssh_tpm(place, ssh_tpm):
        yield skipped(name, missing)
        return
    keys, path = place.path / "theirs", str(place.path / "peer.sock")
    keys.mkdir()
    place.run(*ssh_tpm, "ssh-tpm-keygen", "-f", str(keys / "peer"), "-N", "")
    command = [*ssh_tpm, "ssh-tpm-agent", "-l", path, "--key-dir", str(keys)]
    agent = subprocess.Popen(
        command, env=place.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(path, agent)
        contenders: dict[str, Action] = {
            "theirs": lambda: place.run("ssh-add", "-T", f"{keys}/peer.pub", SSH_AUTH_SOCK=path),
            "ours": lambda: place.run("ssh-add", "-T", "key.pub", SSH_AUTH_SOCK=ours),
        }
        yield at_least(ADD_TARGET, compare(name, contenders, rounds))
    finally:
        agent.terminate()
        agent.wait()


# --- many clients, many keys -------------------------------------------------------------------


def clients(place: Place, signatures: int) -> Figures:
    """Compare what a signature takes with one client and with many, who all sign at once."""
    place.run("tpmwire-keygen", "-q", "-f", "many", "-N", "")
    with place.agent("many.tpm") as (path, _):
        load = Load(path)
        load.run(1, 10)
        alone = per_signature(load, 1, signatures)
        for number in CLIENTS:
            taken = per_signature(load, number, max(signatures, number))
            said = f"{1 / taken:.1f} signatures per second"
            name = f"a signature, clients: {number} / 1"
            yield single(name, taken * 1e3, alone * 1e3, "ms", said, ("clients", number))


def per_signature(load: Load, number: int, signatures: int) -> float:
    """Let clients sign; return the seconds for each signature, all of which have to be good."""
    seconds = load.run(number, signatures)
    if load.failures:
        raise SystemExit(f"tools/bench: the agent failed {number} clients: {load.failures[0]}")
    return seconds / signatures


def memory(place: Place, numbers: tuple[int, ...] = KEYS) -> Figures:
    """Compare the memory of agents with many keys and with one, after they were listed."""
    place.run("tpmwire-keygen", "-q", "-f", "pattern", "-N", "")
    plain = KeyFile.from_pem((place.path / "pattern.tpm").read_bytes())
    taken = {number: resident(place, plain, number) for number in numbers}
    for number, size in taken.items():
        name = f"memory of the agent, keys: {number} / 1"
        made = single(name, size, taken[numbers[0]], "MB", growth=("keys", number))
        if number == KEYS[-1]:
            met = "met" if size <= MEMORY_TARGET else "MISSED"
            made = made.judged(f"target for A at most {MEMORY_TARGET:.0f} MiB: {met}")
        yield made


def resident(place: Place, plain: KeyFile, number: int) -> float:
    """Start an agent with so many keys, list them, and return the MiB that it takes."""
    directory = place.path / f"keys{number}"
    directory.mkdir()
    for count in range(number):
        point = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
        unique = TPMS_ECC_POINT(x=point.x.to_bytes(32, "big"), y=point.y.to_bytes(32, "big"))
        file = plain.replace(public=plain.public.replace(unique=unique))
        (directory / f"{count:04}.tpm").write_text(file.to_pem())
    with place.agent("--key-dir", str(directory)) as (path, pid):
        listed = place.run("ssh-add", "-L", SSH_AUTH_SOCK=path).splitlines()
        if len(listed) != number:
            raise SystemExit(f"tools/bench: the agent has {len(listed)} keys of {number}")
        status = Path(f"/proc/{pid}/status").read_text()
    found: Any = re.search(r"^VmRSS:\s+(\d+)", status, re.M)
    return int(found[1]) / 1024


def single(
    name: str,
    over: float,
    under: float,
    unit: str,
    verdict: str = "",
    growth: tuple[str, int] | None = None,
) -> Figure:
    """Make a figure of one measurement each, which has no range."""
    ratio = round(over / under, 3)
    return Figure(name, round(over, 2), round(under, 2), unit, ratio, ratio, ratio, verdict, growth)


# --- starting ----------------------------------------------------------------------------------


def starting(rounds: int) -> Figures:
    """Compare `tpmwire-keygen --help` with a Python that does nothing."""
    command = [sys.executable, "-m", "tpmwire.scripts.keygen", "--help"]
    contenders: dict[str, Action] = {
        "help": lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL),
        "nothing": lambda: subprocess.run([sys.executable, "-c", "pass"], check=True),
    }
    yield compare("tpmwire-keygen --help / Python's start", contenders, rounds)
