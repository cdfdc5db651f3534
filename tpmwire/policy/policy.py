"""A policy: steps that all have to hold, and the ways through their branches.  [Part 1, 19.7]

    Policy(PCR({TPM_ALG.SHA256: {7: value}}), Or(Policy(AuthValue()), Policy(Signed(key, signer))))

One description serves for three things: `digest` computes without a TPM what stands in the
authPolicy of a key, `satisfy` asserts the steps in a policy session, `explain` says what they mean.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from tpmwire.commands.policy import PolicyGetDigest
from tpmwire.commands.session import PolicyRestart
from tpmwire.digests import digest_size
from tpmwire.errors import Error, PolicyError, TpmError
from tpmwire.objects import Executor
from tpmwire.policy.base import Run, Step
from tpmwire.policy.signed import Ticket
from tpmwire.session import HmacSession, PolicySession


class Mark(NamedTuple):
    """The place on a path where a branch of a step begins: it is called `label`."""

    label: str


class End(NamedTuple):
    """The place on a path where a step is asserted; `choice` is the number of its branch."""

    step: Step
    choice: int = 0


class Path(NamedTuple):
    """One way through a policy: no choice is left in it."""

    moves: tuple[Mark | End, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The branches that are chosen, in the order of the choices."""
        return tuple(move.label for move in self.moves if isinstance(move, Mark))

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in the order of their assertion."""
        return tuple(move.step for move in self.moves if isinstance(move, End))


class Policy:
    """Steps that all have to hold, in this order; `name` tells a branch from others.

    Without any step it is the policy that nothing can meet but a session in which nothing was
    asserted.
    """

    def __init__(self, *steps: Step, name: str = "") -> None:
        self.steps, self.name = steps, name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Policy):
            return NotImplemented
        return (self.steps, self.name) == (other.steps, other.name)

    def __hash__(self) -> int:
        return hash((self.steps, self.name))

    def __repr__(self) -> str:
        parts = [*map(repr, self.steps), *([f"name={self.name!r}"] if self.name else [])]
        return f"Policy({', '.join(parts)})"

    def digest(self, alg: int, start: bytes | None = None) -> bytes:
        """Compute the policy digest, for `authPolicy`; `start` is the digest before the steps."""
        digest = bytes(digest_size(alg)) if start is None else start
        for step in self.steps:
            digest = step.digest(alg, digest)
        return digest

    def explain(self) -> str:
        """Say in words what has to hold, a line for each step; branches are indented."""
        return "\n".join(self._lines())

    def _lines(self, indent: str = "") -> Iterator[str]:
        for step in self.steps:
            yield f"{indent}{step.explain()}"
            for number, branch in enumerate(step.branches, 1):
                yield f"{indent}  {branch.name or number}:"
                yield from branch._lines(f"{indent}    ")

    def paths(self) -> Iterator[Path]:
        """Find all ways through the policy; branches stand in their order."""
        yield from (Path(moves) for moves in _ways(self.steps))

    def satisfy(
        self, tpm: Executor, session: HmacSession, branch: str | None = None
    ) -> tuple[Ticket, ...]:
        """Assert the policy in a fresh policy or trial session.

        The ways through the branches are tried in turn, or those that begin with `branch`: the
        names of the branches to take, or their numbers from 1, with slashes between.  A way that
        tries a password costs a try if it is wrong.  Afterwards the session is fresh again if no
        way was found, and authorizes if one was: its digest is the one computed here, or the
        session is worth nothing.

        Returns the tickets that the TPM gave.  Raises PolicyError if the policy cannot be met.
        """
        if not isinstance(session, PolicySession):
            raise PolicyError(f"{session!r} is no policy session")
        wanted = tuple(branch.split("/")) if branch else ()
        failures: list[tuple[str, str, str]] = []
        dead: set[tuple[str, ...]] = set()
        for path in self.paths():
            labels = path.labels
            if labels[: len(wanted)] != wanted or any(labels[: len(d)] == d for d in dead):
                continue
            run = Run(tpm, session, bytes(digest_size(session.hash)))
            failed = _attempt(path, run)
            if failed is None:
                _compare(run)
                return tuple(run.tickets)
            dead.add(failed.labels)
            failures.append(("/".join(failed.labels), failed.step, failed.reason))
        if not failures:
            raise PolicyError(f"the policy has no branch {branch!r}")
        raise PolicyError("the policy cannot be met", failures)


class _Failed(NamedTuple):
    labels: tuple[str, ...]
    step: str
    reason: str


def _attempt(path: Path, run: Run) -> _Failed | None:
    """Assert what lies on a path; if that fails, nothing stays asserted in the session."""
    labels: list[str] = []
    starts: list[bytes] = []
    try:
        for move in path.moves:
            if isinstance(move, Mark):
                labels.append(move.label)
                starts.append(run.digest)
                continue
            step = move.step
            run.before = starts.pop() if step.branches else run.digest
            run.choice = move.choice
            try:
                step.run(run)
            except (TpmError, PolicyError) as error:
                _restart(run)
                return _Failed(tuple(labels), step.explain(), str(error))
            run.digest = step.digest(run.hash, run.before)
    except BaseException:
        with suppress(Error):
            _restart(run)
        raise
    return None


def _restart(run: Run) -> None:
    run.session.authorized()
    run.tpm.execute(PolicyRestart(sessionHandle=run.session.handle))


def _compare(run: Run) -> None:
    """Compare the session's digest with the one computed here; PolicyError if it is another."""
    question = PolicyGetDigest(policySession=run.session.handle)
    found = run.tpm.execute(question).policyDigest
    if found != run.digest:
        _restart(run)
        raise PolicyError(
            f"the TPM has come to another policy digest, {found.hex()}, than was computed: "
            f"{run.digest.hex()}; it may have left something out"
        )


def _ways(steps: tuple[Step, ...]) -> Iterator[tuple[Mark | End, ...]]:
    if not steps:
        yield ()
        return
    first, rest = steps[0], steps[1:]
    for way in _ways_of(first):
        for onward in _ways(rest):
            yield (*way, *onward)


def _ways_of(step: Step) -> Iterator[tuple[Mark | End, ...]]:
    if not step.branches:
        yield (End(step),)
    for number, branch in enumerate(step.branches):
        for way in _ways(branch.steps):
            yield (Mark(branch.name or str(number + 1)), *way, End(step, number))
