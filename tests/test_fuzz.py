"""What the fuzzer holds: it begins with good inputs, and sees a broken promise."""

import sys
from pathlib import Path

import pytest
from strategies import STRUCTURES

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

from fuzzing import targets

from tpmwire.commands import COMMANDS

SEEDS = sorted({seed for seed in targets.seeds() if seed})


def target(seed: bytes) -> str:
    return targets.NAMES[int.from_bytes(seed[: targets.CHOICE], "big")]


def test_every_command_response_and_structure_is_a_target():
    responses = {f"response {code:#x}" for code in COMMANDS}
    structures = {cls.__name__ for cls in STRUCTURES}
    assert targets.TARGETS.keys() == {"command"} | responses | structures


def test_the_fuzzer_begins_with_values_for_each_response_and_many_structures():
    values = {target(seed) for seed in SEEDS if targets.check(seed)}
    assert "command" in values
    assert {f"response {code:#x}" for code in COMMANDS} <= values
    assert len(values) > 1 + len(COMMANDS) + 40


def test_what_is_no_value_is_refused_and_no_failure():
    assert not targets.check(b"")
    assert not targets.check(SEEDS[0][:-1])


@pytest.mark.parametrize(
    "broken",
    [lambda octets: 1 // 0, lambda octets: type("Value", (), {"pack": lambda self: b"other"})()],
    ids=["raises", "packs to others"],
)
def test_a_broken_promise_is_seen(monkeypatch: pytest.MonkeyPatch, broken: object):
    monkeypatch.setitem(targets.TARGETS, target(SEEDS[0]), broken)
    with pytest.raises((AssertionError, ZeroDivisionError)):
        targets.check(SEEDS[0])
