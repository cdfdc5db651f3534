"""The units of systemd that start the agent when its first client comes."""

import os
import shutil
import sys
from importlib import resources

from tpmwire.scripts import console, files
from tpmwire.scripts.console import UserError

SYSTEM_PLACE = "/etc/systemd/system"
_NAMES = ("tpmwire-agent.socket", "tpmwire-agent.service")
_MODE = 0o644

_USER_NEWS = """\
now: systemctl --user daemon-reload
     systemctl --user enable --now tpmwire-agent.socket
and in what your shell reads first:
     export SSH_AUTH_SOCK="$XDG_RUNTIME_DIR/tpmwire-agent.sock\""""

_SYSTEM_NEWS = """\
now: tpmwire-keygen -f /etc/ssh/ssh_host_tpm -N ''
     systemctl daemon-reload
     systemctl enable --now tpmwire-agent.socket
and in /etc/ssh/sshd_config:
     HostKeyAgent /run/tpmwire-agent.sock
     HostKey /etc/ssh/ssh_host_tpm.pub"""


def install_for_user(program: str) -> int:
    """Write the units of a user's agent, and say how to go on."""
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return _install(program, "user", os.path.join(config, "systemd", "user"), _USER_NEWS)


def install_for_system(program: str) -> int:
    """Write the units of an agent with the host keys of sshd, and say how to go on."""
    return _install(program, "system", SYSTEM_PLACE, _SYSTEM_NEWS)


def unit(kind: str, name: str, program: str) -> str:
    """Read a unit as it is shipped, and put in where the program is."""
    text = resources.files(__package__).joinpath("systemd", kind, name).read_text("utf-8")
    return text.replace("@COMMAND@", _quoted(program))


def _install(program: str, kind: str, place: str, news: str) -> int:
    os.makedirs(place, exist_ok=True)
    command = _where(program)
    contents = [(os.path.join(place, name), unit(kind, name, command), _MODE) for name in _NAMES]
    files.write_together(contents, overwrite=True)
    lines = [*(f"wrote {path}" for path, _, _ in contents), news]
    console.report(program, "\n".join(lines))
    return 0


def _where(program: str) -> str:
    """Find the program that runs now, or one of its name."""
    running = os.path.abspath(sys.argv[0])
    if os.path.basename(running) == program and os.access(running, os.X_OK):
        return running
    found = shutil.which(program)
    if not found:
        raise UserError(f"{program} is not installed where programs are looked for")
    return os.path.abspath(found)


def _quoted(path: str) -> str:
    """Write a path as a word of a command line.  [systemd.service(5), "COMMAND LINES"]"""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
