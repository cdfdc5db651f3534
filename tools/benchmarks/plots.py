"""Plots of how cost grows, from the figures that tell what grew."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

TITLES = {
    "clients": "A signature through the agent, by the number of clients",
    "keys": "Memory of the agent, by the number of keys",
    "pairs": "Decoding a recording, by its length in pairs",
    "sessions": "Sign, by the number of sessions",
}
PLAIN = ("clients", "sessions")
"""What does not grow by powers of ten."""

Group = list[dict[str, Any]]


def groups(figures: Iterable[dict[str, Any]]) -> dict[tuple[str, str], Group]:
    """Sort figures by what grows in them, and by what they are measured in."""
    found: dict[tuple[str, str], Group] = {}
    for figure in figures:
        if figure["growth"]:
            found.setdefault((figure["growth"][0], figure["unit"]), []).append(figure)
    return found


def plot(figures: Iterable[dict[str, Any]], directory: Path) -> list[Path]:
    """Write an SVG for each group of figures; return where they are."""
    directory.mkdir(parents=True, exist_ok=True)
    made = []
    for (what, unit), group in groups(figures).items():
        name = {"MB": "memory", "s": "time"}.get(unit, "time")
        made.append(directory / f"{what}-{name}.svg")
        draw(what, unit, group, made[-1])
    return made


def draw(what: str, unit: str, group: Group, path: Path) -> None:
    """Draw one line through the figures of a group."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "tpmwire"
    from matplotlib import pyplot

    picture, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot([f["growth"][1] for f in group], [f["over"] for f in group], marker="o")
    axes.set(title=TITLES[what], xlabel=what, ylabel=unit, ylim=(0, None))
    if what not in PLAIN:
        axes.set_xscale("log")
    axes.grid(visible=True, alpha=0.3)
    picture.savefig(path, metadata={"Date": None})
    pyplot.close(picture)
