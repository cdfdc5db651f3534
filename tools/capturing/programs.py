"""tpm2-tools, driven by lines of the shell in the files of `scenarios`.

Before a line may stand: `!` it has to fail; `+` the TPM starts anew before it; `=` what it leaves
loaded is not flushed after it.  `NAME=value` gives a word a name for the lines that follow; `#`
starts a comment.
"""

import re
import shlex
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from capturing.emulator import Emulator, version_of
from capturing.entries import Entry, command_of
from capturing.printed import fields_of

SCENARIOS = Path(__file__).parent / "scenarios"

# Which commands each program is about, where its name does not say so.
ABOUT = {
    "tpm2_changeauth": ["ObjectChangeAuth", "HierarchyChangeAuth", "NV_ChangeAuth"],
    "tpm2_changeeps": ["ChangeEPS"],
    "tpm2_changepps": ["ChangePPS"],
    "tpm2_create": ["Create", "CreateLoaded"],
    "tpm2_dictionarylockout": ["DictionaryAttackLockReset", "DictionaryAttackParameters"],
    "tpm2_encryptdecrypt": ["EncryptDecrypt2", "EncryptDecrypt"],
    "tpm2_getcap": ["GetCapability"],
    "tpm2_getpolicydigest": ["PolicyGetDigest"],
    "tpm2_geteccparameters": ["ECC_Parameters"],
    "tpm2_hash": ["Hash", "HashSequenceStart", "SequenceUpdate", "SequenceComplete"],
    "tpm2_hmac": ["HMAC", "HMAC_Start", "SequenceUpdate", "SequenceComplete"],
    "tpm2_nvdefine": ["NV_DefineSpace"],
    "tpm2_nvundefine": ["NV_UndefineSpace", "NV_UndefineSpaceSpecial"],
    "tpm2_nvwritelock": ["NV_WriteLock", "NV_GlobalWriteLock"],
    "tpm2_pcrevent": ["PCR_Event", "EventSequenceComplete"],
    "tpm2_setclock": ["ClockSet"],
    "tpm2_setcommandauditstatus": ["SetCommandCodeAuditStatus"],
}


def scenarios() -> list[Path]:
    """Return the files with scenarios."""
    return sorted(SCENARIOS.glob("*.txt"))


def capture(path: Path, emulator: Emulator) -> Iterator[Entry]:
    """Work through a scenario and yield an entry for each exchange."""
    versions = f"(tpm2-tools {version_of('tpm2_getcap')}, {emulator.version})"
    words: dict[str, str] = {}
    for line in path.read_text().splitlines():
        marks, line = re.match(r"([+!= ]*)(.*)", line).groups()
        if not line or line.startswith("#"):
            continue
        if named := re.fullmatch(r"([A-Z]+)=(.*)", line):
            words[named[1]] = named[2]
            continue
        if "+" in marks:
            emulator.restart()
        line = string.Template(line).safe_substitute(words)
        succeeded, printed, why = run(line, emulator)
        if succeeded == ("!" in marks):
            print(f"{'succeeded' if succeeded else 'failed'}: {line}\n{why}", file=sys.stderr)
        entries = list(_entries(line, versions, emulator))
        own = [entry for entry in entries if entry.own]
        if own and succeeded:
            last = own[-1]
            fields = fields_of(last.command, shlex.split(line), printed, emulator.work)
            for entry in own:  # some ask twice
                if (entry.sent, entry.received) == (last.sent, last.received):
                    entry.fields = fields
        yield from entries
        if "=" not in marks:
            flush = "tpm2_flushcontext -t; tpm2_flushcontext -l"
            run(flush, emulator)
            flushes = list(_entries(flush, versions, emulator, own=False))
            if any(entry.command == "FlushContext" for entry in flushes):
                yield from flushes


def _entries(line: str, versions: str, emulator: Emulator, own: bool = True) -> Iterator[Entry]:
    for sent, received in emulator.exchanges():
        command = command_of(sent)
        about = own and is_about(line.split()[0], command)
        yield Entry(command, f"{line} {versions}", sent, received, about)


def is_about(program: str, command: str) -> bool:
    """Tell whether a program of tpm2-tools is there for this command."""
    own_name = "tpm2_" + command.replace("_", "").lower()
    return command in ABOUT.get(program, []) or program == own_name


def run(line: str, emulator: Emulator) -> tuple[bool, str, str]:
    """Run a line of the shell; return whether it succeeded, what it printed, why."""
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=emulator.work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", **emulator.environment},
        timeout=60,
    )
    return done.returncode == 0, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")
