"""The exchanges in tests/vectors; tools/capture records them, tools/handmade makes the others."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent / "vectors"


@dataclass(frozen=True)
class Vector:
    """What a program said to a TPM, and what that answered.

    `fields` are values of the response, as the program printed them: names with dots, `*` for each
    element; octets as hex.  `asked` are values of the command, where it is made by hand.
    """

    command: str
    source: str
    sent: bytes
    received: bytes
    fields: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.command}-{self.source.partition(' (')[0]}"


def _read(path: Path) -> list[Vector]:
    entries = json.loads(path.read_text())
    for entry in entries:
        entry["sent"] = bytes.fromhex(entry["sent"])
        entry["received"] = bytes.fromhex(entry["received"])
    return [Vector(**entry) for entry in entries]


PATHS = [*sorted(DIRECTORY.glob("*.json")), *sorted((DIRECTORY / "handmade").glob("*.json"))]
VECTORS = [vector for path in PATHS for vector in _read(path)]
