"""A swtpm that logs what goes back and forth."""

import re
import subprocess
import sys
import time
from pathlib import Path


class Emulator:
    """A swtpm whose state, socket and log are in a directory; `restart` keeps the state."""

    def __init__(self, work: Path) -> None:
        self.work, self.log = work, work / "log"
        self.environment = {"TPM2TOOLS_TCTI": self.conf}
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0

    @property
    def conf(self) -> str:
        """What the TSS has to be told to reach it."""
        return f"swtpm:path={self.work}/s"

    @property
    def version(self) -> str:
        """What it is, with its version."""
        return f"swtpm {version_of('swtpm')}"

    def restart(self) -> None:
        """Start it, after its end if it runs."""
        self.close()
        socket = self.work / "s"
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.work}"]
        command += ["--server", f"type=unixio,path={socket}"]
        command += ["--ctrl", f"type=unixio,path={socket}.ctrl", "--flags", "not-need-init"]
        self._process = subprocess.Popen([*command, "--log", f"file={self.log},level=20"])
        while not (socket.exists() and Path(f"{socket}.ctrl").exists()):
            if self._process.poll() is not None:
                sys.exit("swtpm does not start")
            time.sleep(0.01)

    def close(self) -> None:
        """End it, if it runs."""
        if self._process:
            self._process.kill()
            self._process.wait()
            for leftover in (self.work / "s", self.work / "s.ctrl"):
                leftover.unlink(missing_ok=True)

    def exchanges(self) -> list[tuple[str, str]]:
        """Return what went back and forth since the last call, as hex."""
        while True:
            with open(self.log) as file:
                file.seek(self._read)
                text = file.read()
                end = file.tell()
            sent = _octets(text, "SWTPM_IO_Read")
            received = _octets(text, "SWTPM_IO_Write")
            if len(sent) == len(received):
                break
            time.sleep(0.01)
        self._read = end
        return list(zip(sent, received, strict=True))


def _octets(log: str, direction: str) -> list[str]:
    """Find the octets that went in one direction; the log says how many there have to be."""
    found = []
    for size, text in re.findall(rf"{direction}: length (\d+)\n((?:[ 0-9A-F]+\n)*)", log):
        octets = bytes.fromhex(text)
        if len(octets) == int(size):
            found.append(octets.hex())
    return found


def version_of(program: str) -> str:
    """Return a program's version, as it prints it."""
    text = subprocess.run([program, "--version"], capture_output=True, check=True).stdout.decode()
    return re.search(r"\d+\.\d+(\.\d+)?", text)[0]
