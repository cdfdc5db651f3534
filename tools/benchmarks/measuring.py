"""Measuring side by side: the samples of contenders that run in one loop, and their ratio."""

import dataclasses
import random
import statistics
import time
from collections.abc import Callable, Iterator

BLOCKS = 5

Action = Callable[[], object]


@dataclasses.dataclass
class Times:
    """The samples of one contender, in seconds."""

    wall: list[float] = dataclasses.field(default_factory=list)
    cpu: list[float] = dataclasses.field(default_factory=list)


def measure(
    contenders: dict[str, Action],
    rounds: int,
    batch: int = 1,
    between: Callable[[], None] | None = None,
) -> dict[str, Times]:
    """Run each contender once per round, in an order shuffled anew for each round.

    What is done `between` them is not measured.
    """
    times = {name: Times() for name in contenders}
    order = list(contenders)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            wall, cpu = clock(contenders[name], batch)
            times[name].wall.append(wall / batch)
            times[name].cpu.append(cpu / batch)
            if between is not None:
                between()
    return times


def clock(action: Action, batch: int) -> tuple[float, float]:
    """Time a number of calls: on the wall, and in CPU time of this thread."""
    cpu, wall = time.thread_time(), time.perf_counter()
    for _ in range(batch):
        action()
    return time.perf_counter() - wall, time.thread_time() - cpu


@dataclasses.dataclass
class Figure:
    """One line of the table: how many times as long `over` takes as `under`.

    `growth` tells what grows from figure to figure, and how much of it there is here; what was left
    out has no numbers, and says why.
    """

    name: str
    over: float = 0.0
    under: float = 0.0
    unit: str = ""
    ratio: float | None = None
    low: float = 0.0
    high: float = 0.0
    verdict: str = ""
    growth: tuple[str, int] | None = None

    def judged(self, verdict: str) -> "Figure":
        """Copy the figure, with this said of it."""
        return dataclasses.replace(self, verdict=verdict)

    def __str__(self) -> str:
        if self.ratio is None:
            return f"{self.name:42} left out: {self.verdict}"
        spread = f"{self.ratio:5.2f} ({self.low:.2f} - {self.high:.2f})"
        line = f"{self.name:42} {self.over:7.1f} {self.under:7.1f} {self.unit}  {spread:22}"
        return f"{line} {self.verdict}".rstrip()


def figure(
    name: str, over: list[float], under: list[float], verdict: str = "", unit: str = "µs"
) -> Figure:
    """Compare two contenders of one run, as a whole and in its fifths."""
    scale = {"µs": 1e6, "ms": 1e3}[unit]
    parts = [a / b for a, b in zip(medians(over), medians(under), strict=True)]
    whole = statistics.median(over), statistics.median(under)
    return Figure(
        name,
        over=round(whole[0] * scale, 2),
        under=round(whole[1] * scale, 2),
        unit=unit,
        ratio=round(whole[0] / whole[1], 3),
        low=round(min(parts), 3),
        high=round(max(parts), 3),
        verdict=verdict,
    )


def medians(samples: list[float]) -> list[float]:
    """Take the median of each fifth of a run."""
    size = len(samples) // BLOCKS
    return [statistics.median(samples[i * size : (i + 1) * size]) for i in range(BLOCKS)]


def skipped(name: str, why: str) -> Figure:
    """Make a line that says why there is no figure."""
    return Figure(name, verdict=why)


def at_most(limit: float, made: Figure) -> Figure:
    """Hold a ratio against a target that it must not exceed."""
    met = "met" if made.ratio is not None and made.ratio <= limit else "MISSED"
    return made.judged(f"target at most {limit}: {met}")


def at_least(limit: float, made: Figure) -> Figure:
    """Hold a ratio against a target that it must reach."""
    met = "met" if made.ratio is not None and made.ratio >= limit else "MISSED"
    return made.judged(f"target at least {limit}: {met}")


Figures = Iterator[Figure]
