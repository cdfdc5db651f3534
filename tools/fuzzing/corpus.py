"""Writes the inputs from which the fuzzer begins into a directory."""

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fuzzing.targets import seeds


def main(directory: Path) -> None:
    """Write each input into a file of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (directory / hashlib.sha256(seed).hexdigest()[:20]).write_bytes(seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
