"""Runs atheris until its time is over or a promise is broken; what follows goes to libFuzzer."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import atheris

with atheris.instrument_imports(include=["tpmwire"]):
    from fuzzing import targets


def main() -> None:
    """Fuzz; this does not return."""
    atheris.Setup(sys.argv, lambda data: targets.check(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
