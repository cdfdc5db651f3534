"""An exchange with what is known of it, and which of all exchanges become vectors."""

import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SPEC = Path(__file__).resolve().parents[2] / "tests" / "vectors" / "spec" / "commands.csv"
MOST = 10  # entries per command, more only where they differ in their sessions or answers
MOST_OTHERS = 4  # of these that no program is about

with open(SPEC, newline="") as _file:
    _ROWS = {row["command"].removeprefix("TPM2_"): row for row in csv.DictReader(_file)}

# TPM2_MAC shares its code with TPM2_HMAC: the first has it.
NAMES = {row["cc"][2:].lower(): name for name, row in reversed(_ROWS.items())}


@dataclass
class Entry:
    """An exchange; `own` tells that the program which started it is about this command."""

    command: str
    source: str
    sent: str
    received: str
    own: bool
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Tell whether the TPM did it."""
        return self.received[12:20] == "00000000"

    def value(self) -> dict[str, Any]:
        """Return it as it stands in the file."""
        names = ("command", "source", "sent", "received", "fields")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def command_of(sent: str) -> str:
    """Return the name of a command, given as hex."""
    return NAMES[sent[12:20]]


def response_fields(command: str) -> list[str]:
    """Return the names of a response's parameters."""
    parameters = _ROWS[command]["out_params"]
    return [parameter.partition(":")[0] for parameter in parameters.split("; ") if parameter]


def chosen(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Sort the entries into files, none twice.

    Those that a program is about come before others, and of these those that it told more of.
    """
    files = defaultdict(list)
    seen = set()
    for entry in sorted(entries, key=lambda entry: (not entry.own, not entry.fields)):
        there = files[entry.command]
        # The same question about capabilities is asked by every program, and the answer differs.
        asks = entry.command == "GetCapability"
        group = entry.sent[20:36] if asks else ""
        kind = entry.command, entry.received[12:20], group, _sessions(entry)
        answer = "" if asks else entry.received
        exchange = entry.command, entry.sent, entry.received[12:20], answer
        if entry.own:
            wanted = exchange not in seen and (kind not in seen or len(there) < MOST)
        else:
            others = sum(not other.own for other in there)
            wanted = kind not in seen and others < MOST_OTHERS
        if wanted:
            seen |= {kind, exchange}
            there.append(entry)
    return files


def _sessions(entry: Entry) -> Any:
    """Return the kinds of its handles, and the kind and attributes of each of its sessions."""
    handles = [part for part in _ROWS[entry.command]["in_handles"].split("; ") if part]
    area = bytes.fromhex(entry.sent)[10:]
    kinds = [area[4 * index] for index in range(len(handles))]
    found = []
    if entry.sent.startswith("8002"):
        area = area[4 * len(handles) :]
        area, size = area[4:], int.from_bytes(area[:4])
        area = area[:size]
        while area:
            nonce = int.from_bytes(area[4:6])
            found.append((area[0], area[6 + nonce]))
            area = area[9 + nonce + int.from_bytes(area[7 + nonce : 9 + nonce]) :]
    return tuple(kinds), tuple(found)
