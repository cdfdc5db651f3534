"""The agent that SSH_AUTH_SOCK leads to, and who can be asked for a PIN."""

from collections.abc import Iterator
from dataclasses import dataclass

from tpmwire.diagnosis.finding import Finding, fine, note, problem, warning
from tpmwire.diagnosis.keys import Found

SUBJECT, ASKING = "agent", "PIN"

PROGRAM = "tpmwire-agent"
_START = 'eval "$(tpmwire-agent)"'


@dataclass(frozen=True)
class Socket:
    """What is found at the end of SSH_AUTH_SOCK: a program and its keys, or a complaint."""

    path: str
    program: str = ""
    pid: int = 0
    complaint: str = ""
    blobs: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Asking:
    """What the environment tells of asking for a PIN: the program, whether it can be run, when."""

    program: str
    runnable: bool
    display: bool
    require: str


def check_socket(socket: Socket | None, keys: list[Found]) -> Iterator[Finding]:
    """Tell which agent ssh would talk to, and whether it has the keys."""
    if socket is None:
        yield warning(SUBJECT, "SSH_AUTH_SOCK is not set, so ssh asks no agent", _START)
    elif socket.complaint:
        yield problem(SUBJECT, f"SSH_AUTH_SOCK={socket.path}: {socket.complaint}", _START)
    else:
        known = f"{socket.program or 'an unknown program'} (process {socket.pid})"
        text = f"SSH_AUTH_SOCK leads to {known}, which has {_count(len(socket.blobs), 'key')}"
        if socket.program == PROGRAM:
            yield fine(SUBJECT, text)
        else:
            yield note(SUBJECT, text, f"to have ssh use the keys of the TPM: {_START}")
        yield from _check_keys(socket, keys)


def _check_keys(socket: Socket, keys: list[Found]) -> Iterator[Finding]:
    usable = [key for key in keys if key.blob and not key.complaint]
    missing = [key.path for key in usable if key.blob not in socket.blobs]
    if missing:
        yield warning(
            *(SUBJECT, f"the agent does not have {', '.join(missing)}"),
            f"start one that has: tpmwire-agent {missing[0]} ...",
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def check_asking(asking: Asking, keys: list[Found]) -> Iterator[Finding]:
    """Tell whether an agent in the background can ask for a PIN, if any key has one."""
    if not any(key.keyfile and not key.keyfile.empty_auth for key in keys):
        return
    if asking.require == "never":
        yield warning(
            *(ASKING, "SSH_ASKPASS_REQUIRE=never: no agent in the background asks for a PIN"),
            "unset it, or run 'tpmwire-agent -D' in a terminal",
        )
    elif not asking.program:
        yield warning(
            *(ASKING, "no program is there to ask for a PIN: SSH_ASKPASS is not set"),
            "install one (Debian: ssh-askpass) or run 'tpmwire-agent -D' in a terminal",
        )
    elif not asking.runnable:
        yield problem(
            *(ASKING, f"SSH_ASKPASS={asking.program}: no program that can be run"),
            "correct the variable",
        )
    elif not (asking.display or asking.require == "force"):
        yield warning(
            *(ASKING, f"{asking.program} is not run without a display"),
            "SSH_ASKPASS_REQUIRE=force, if it needs none",
        )
    else:
        yield fine(ASKING, f"{asking.program} asks for it")
