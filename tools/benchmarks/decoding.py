"""Decoding recorded traffic: how long `tpmwire decode` takes for a pair, and how much memory.

The input is tests/vectors, dealt out to five files, so that each has some exchanges of every kind.
The peer is the program tpmstream, which does the same job.  It reads each file once, since that
takes it a while; tpmwire reads the same exchanges over and over until there are enough.  Both are
whole processes whose output goes nowhere; what they take for a single pair is taken off.  Seconds
are those of the processor, so that what else the machine does matters little.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

PARTS = 5
PAIRS = 10_000
LENGTHS = (100, 1_000, 10_000)

Command = Callable[[str], list[str]]


class Run(NamedTuple):
    """What a process took: seconds of the processor, and the most memory in MB."""

    seconds: float
    memory: float


def decode(*options: str) -> Command:
    """Make the command that decodes a file with tpmwire."""
    program = [sys.executable, "-m", "tpmwire.scripts.main", "decode", "--format=binary"]
    return lambda path: [*program, *options, path]


def convert(program: str) -> Command:
    """Make the command that decodes a file with tpmstream."""
    return lambda path: [program, "convert", "--in", "binary", path]


def vectors(directory: Path) -> list[bytes]:
    """Read the recorded exchanges, each a command and its response in one."""
    entries = (entry for path in directory.glob("*.json") for entry in json.loads(path.read_text()))
    return sorted(bytes.fromhex(entry["sent"] + entry["received"]) for entry in entries)


def seconds_per_pair(command: Command, pairs: list[bytes], total: int) -> Iterator[float]:
    """Time one program: for each part of the exchanges, the seconds that a pair takes.

    All parts together are read until there were `total` pairs, or once if that is 0.
    """
    with tempfile.TemporaryDirectory(prefix="tpmwire-bench.") as directory:
        start = min(run(command, directory, pairs[:1], 1).seconds for _ in range(3))
        for part in (pairs[first::PARTS] for first in range(PARTS)):
            times = max(total // PARTS // len(part), 1)
            took = run(command, directory, part, times).seconds
            yield (took - start) / (times * len(part) - 1)


def memory(command: Command, pairs: list[bytes], total: int) -> tuple[float, float]:
    """Return the most memory, in MB, that `total` pairs take, and that those take once."""
    with tempfile.TemporaryDirectory(prefix="tpmwire-bench.") as directory:
        many = run(command, directory, pairs, total // len(pairs)).memory
        return many, run(command, directory, pairs, 1).memory


def growth(command: Command, pairs: list[bytes], totals: tuple[int, ...]) -> Iterator[Run]:
    """Decode so many pairs, one number after the other, and tell what each took."""
    with tempfile.TemporaryDirectory(prefix="tpmwire-bench.") as directory:
        run(command, directory, pairs, 1)
        for total in totals:
            many = pairs * (total // len(pairs) + 1)
            yield run(command, directory, many[:total], 1)


def run(command: Command, directory: str, pairs: list[bytes], times: int) -> Run:
    """Let a program read the pairs, `times` times over."""
    path = os.path.join(directory, "pairs")
    with open(path, "wb") as file:
        file.writelines(b"".join(pairs) for _ in range(times))
    process = subprocess.Popen(
        command(path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"tools/bench: {command(path)[0]} ended with {process.returncode}")
    return Run(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
