"""SSH by other people's programs: their formats by hand, and our scripts beside them in a home."""

import contextlib
import getpass
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sysconfig
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tpmwire.transport import connect

PATIENCE = 60.0
"""Seconds after which a program that should have ended is given up."""

OUTER = ("SSH_", "TPM", "GIT_", "XDG_", "DISPLAY", "WAYLAND_DISPLAY")
"""Beginnings of the variables of the outer environment that must not reach the programs."""


def string(data: bytes) -> bytes:
    """Write a string.  [RFC 4251, 5]"""
    return struct.pack(">I", len(data)) + data


def strings(data: bytes) -> list[bytes]:
    """Read octets that are strings and nothing else."""
    found = []
    while data:
        (size,) = struct.unpack(">I", data[:4])
        assert len(data) >= 4 + size
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def need(*programs: str) -> None:
    """Skip the test if one of other people's programs is not there."""
    for program in programs:
        if shutil.which(program, path=search_path()) is None:
            pytest.skip(f"{program} is not installed")


def search_path() -> str:
    return f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"


class Home:
    """A home directory, and programs that run in it with nothing of the outer environment."""

    def __init__(self, path: Path, tpm: str) -> None:
        self.path = path
        outer = {name: value for name, value in os.environ.items() if not name.startswith(OUTER)}
        self.env = outer | {
            "HOME": str(path),
            "PATH": search_path(),
            "SHELL": "/bin/sh",
            "TMPDIR": str(path),
            "TPMWIRE_TCTI": tpm,
            "TPM2TOOLS_TCTI": tpm,
            "TPM2OPENSSL_TCTI": tpm,
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def start(self, *command: str | Path, **env: str) -> "subprocess.Popen[str]":
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(
            [*map(str, command)], cwd=self.path, env=self.env | env, stdin=subprocess.PIPE, **pipes
        )

    def attempt(
        self, *command: str | Path, given: str = "", **env: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end, with `given` on its standard input."""
        process = self.start(*command, **env)
        with process:
            try:
                out, err = process.communicate(given, timeout=PATIENCE)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def run(self, *command: str | Path, given: str = "", **env: str) -> str:
        """Run a program that has to succeed, and return what it printed."""
        done = self.attempt(*command, given=given, **env)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def refuses(self, *command: str | Path, given: str = "", **env: str) -> str:
        """Run a program that has to fail, and return what it said."""
        done = self.attempt(*command, given=given, **env)
        assert done.returncode not in (0, None), f"{command}: succeeded\n{done.stdout}"
        return done.stdout + done.stderr

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.path / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def askpass(self, pin: str) -> dict[str, str]:
        """Make a program that gives a PIN; return the variables that say to ask it.

        It notes the prompts in the file `prompts`.
        """
        lines = ["#!/bin/sh", 'printf "%s\\n" "$1" >>"$HOME/prompts"', f"echo '{pin}'"]
        program = self.write(f"askpass-{pin or 'nothing'}", "\n".join(lines) + "\n", 0o700)
        return {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force"}


class Daemon:
    """An agent in the background: what a shell gets to know of it, and a hold on the process."""

    def __init__(self, path: str, pid: int) -> None:
        self.path, self.pid = Path(path), pid
        self.env = {"SSH_AUTH_SOCK": path, "SSH_AGENT_PID": str(pid)}
        # Held, so that the number cannot come to mean another process.
        self._process = os.pidfd_open(pid)

    def signal(self, number: int) -> None:
        signal.pidfd_send_signal(self._process, number)

    def lives(self) -> bool:
        return not select.select([self._process], [], [], 0)[0]

    def wait(self) -> None:
        assert select.select([self._process], [], [], PATIENCE)[0], "the agent does not end"

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGTERM)
        ended = select.select([self._process], [], [], PATIENCE)[0]
        if not ended:
            self.signal(signal.SIGKILL)
        os.close(self._process)
        assert ended, "the agent does not end when told to"


@contextlib.contextmanager
def agent(home: Home, *arguments: str | Path, **env: str) -> Iterator[Daemon]:
    """Let a shell start tpmwire-agent and read what it prints; the agent ends afterwards."""
    script = """
        set -u
        unset SSH_AUTH_SOCK SSH_AGENT_PID
        eval "$(tpmwire-agent "$@")" >&2
        echo "$SSH_AUTH_SOCK"; echo "$SSH_AGENT_PID"
    """
    path, pid = home.run("sh", "-c", script, "sh", *arguments, **env).splitlines()
    started = Daemon(path, int(pid))
    try:
        yield started
    finally:
        started.close()
    assert not started.path.exists()


class Server:
    """An sshd on 127.0.0.1 for each client that comes; the port is ours from the beginning."""

    def __init__(self, home: Home, authorized: str) -> None:
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        self._home, self._served = home, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._program = shutil.which("sshd", path=search_path())
        home.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "host_key")
        home.write("authorized_keys", authorized)
        home.write("sshd_config", self._server_config())
        home.write("ssh_config", self._client_config())
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _server_config(self) -> str:
        return f"""
            HostKey {self._home.path}/host_key
            PidFile none
            AuthorizedKeysFile {self._home.path}/authorized_keys
            AuthenticationMethods publickey
            PermitRootLogin yes
            StrictModes no
            UsePAM no
        """

    def _client_config(self) -> str:
        port = self._listener.getsockname()[1]
        host_key = (self._home.path / "host_key.pub").read_text()
        self._home.write("known_hosts", f"[127.0.0.1]:{port} {host_key}")
        return f"""
            Host server
            HostName 127.0.0.1
            Port {port}
            User {getpass.getuser()}
            IdentityFile none
            PreferredAuthentications publickey
            BatchMode yes
            UserKnownHostsFile {self._home.path}/known_hosts
            GlobalKnownHostsFile none
            LogLevel ERROR
        """

    def _accept(self) -> None:
        with open(self._home.path / "sshd.log", "ab") as log:
            while True:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    return
                command = [self._program, "-i", "-e", "-f", self._home.path / "sshd_config"]
                pipes = {"stdin": connection, "stdout": connection, "stderr": log}
                with connection:
                    self._served.append(subprocess.Popen(command, env=self._home.env, **pipes))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for process in self._served:
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()  # nothing happens to one that has ended


class Watch:
    """A place between a program and a TPM, from where each command is seen before it is sent on."""

    def __init__(self, directory: Path, conf: str, seen: Callable[[int], None]) -> None:
        path = directory / "watch"
        self.conf = f"swtpm:path={path}"
        self._conf, self._seen = conf, seen
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with (
                connection,
                contextlib.closing(connect(self._conf)) as transport,
                contextlib.suppress(OSError),
            ):
                while command := connection.recv(4096):
                    self._seen(int.from_bytes(command[6:10], "big"))
                    connection.sendall(transport.send(command))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
