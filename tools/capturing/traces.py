"""Whole traces, in order: what a program that reads traces or checks sessions is tried on.

In a trace's scenario `# auth: FILE PASSWORD` tells the password of the entity whose Name the file
holds, and `# key: FILE PEM` its private key, where it was made outside the TPM.  A trace in JSON
has both: {"description", "auth": {Name: password}, "keys": {Name: PKCS #8}, "exchanges": [[sent,
received], ...]}.
"""

import contextlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capturing import programs
from capturing.emulator import Emulator
from capturing.entries import Entry, command_of

Trace = dict[str, Any]

SCENARIOS = Path(__file__).parent / "traces"


@contextlib.contextmanager
def _tpm() -> Iterator[Emulator]:
    with (
        tempfile.TemporaryDirectory(prefix="capture-") as work,
        contextlib.closing(Emulator(Path(work))) as emulator,
    ):
        yield emulator


def write_all(directory: Path, with_esapi: bool) -> None:
    """Write a trace of each kind, that of the ESAPI where it is there."""
    directory.mkdir(exist_ok=True)
    with _tpm() as emulator:
        list(programs.capture(SCENARIOS / "create.txt", emulator))
        (directory / "create.log").write_bytes(emulator.log.read_bytes())
    with _tpm() as emulator:
        pcap = emulator.work / "pcapng"
        emulator.environment["TPM2TOOLS_TCTI"] = f"pcap:{emulator.conf}"
        emulator.environment["TCTI_PCAP_FILE"] = str(pcap)
        list(programs.capture(SCENARIOS / "create.txt", emulator))
        (directory / "create.pcapng").write_bytes(pcap.read_bytes())
    with _tpm() as emulator:
        trace = tools_trace(SCENARIOS / "sessions.txt", emulator)
        _write(directory / "sessions.json", trace)
    if with_esapi:
        with _tpm() as emulator:
            _write(directory / "sessions-esapi.json", esapi_trace(emulator))


def _write(path: Path, trace: Trace) -> None:
    path.write_text(json.dumps(trace, indent=1) + "\n")


def tools_trace(path: Path, emulator: Emulator) -> Trace:
    """Work through a scenario of tpm2-tools with known secrets."""
    text = path.read_text()
    entries = list(programs.capture(path, emulator))
    auth, keys = {}, {}
    for name, password in re.findall(r"^# auth: (\S+) (\S+)$", text, re.M):
        auth[(emulator.work / name).read_bytes().hex()] = password
    for name, pem in re.findall(r"^# key: (\S+) (\S+)$", text, re.M):
        keys[(emulator.work / name).read_bytes().hex()] = _der(emulator.work / pem)
    return _trace(text.splitlines()[0].removeprefix("# "), entries, auth, keys)


def esapi_trace(emulator: Emulator) -> Trace:
    """Work through the ESAPI's scenario of sessions."""
    from capturing import esapi, recorded

    record = recorded.record(esapi.several_sessions, emulator)
    description = str(esapi.several_sessions.__doc__)
    return _trace(description, record.entries, record.auth, record.keys)


def _trace(
    description: str, entries: list[Entry], auth: dict[str, str], keys: dict[str, str]
) -> Trace:
    source = entries[0].source
    exchanges = []
    for exchange in ([entry.sent, entry.received] for entry in entries):
        asks = command_of(exchange[0]) == "GetCapability"  # each program does, the same as the last
        if not (asks and exchange in exchanges):
            exchanges.append(exchange)
    return {
        "description": f"{description} {source[source.index(' (') + 1 :]}",
        "auth": auth,
        "keys": keys,
        "exchanges": exchanges,
    }


def _der(pem: Path) -> str:
    """Return a private key as PKCS #8."""
    command = ["openssl", "pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in", pem]
    return subprocess.run(command, capture_output=True, check=True).stdout.hex()
