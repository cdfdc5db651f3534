"""tpmwire-agent: an SSH agent whose keys are in the TPM."""

import argparse
import base64
import binascii
import glob
import logging
import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Iterator

import tpmwire
from tpmwire.errors import Error, TransportError
from tpmwire.keyfile import KeyFile
from tpmwire.scripts import console, prompts
from tpmwire.scripts.console import UserError
from tpmwire.ssh.agent import Agent
from tpmwire.ssh.keys import public_blob
from tpmwire.ssh.server import listening, serve
from tpmwire.ssh.tpmkey import TPM_IN_USE, TpmKey

PROGRAM = "tpmwire-agent"
FAREWELL = 10.0  # seconds to let a signature finish before we go
_MANY = 1 << 20  # more file descriptors than a process has open

EPILOG = """\
examples:
  eval "$(tpmwire-agent)"              an agent in the background with all keys of ~/.ssh/*.tpm
  tpmwire-agent -D -a /run/user/1000/tpmwire.sock work.tpm
  tpmwire-agent -k                     end the agent of this shell

A key is loaded into the TPM for each signature and forgotten again. For a key with a PIN the
program in SSH_ASKPASS is asked, as ssh does. Without -c and -s, $SHELL tells what to print.

exit codes: 0 ended on request, 1 failed, 2 wrong usage
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the script; the exit code."""
    return console.run(PROGRAM, lambda: work(_parser().parse_args(arguments)))


def work(options: argparse.Namespace) -> int:
    """Do what the command line says."""
    if options.kill:
        return kill(options)
    return start_foreground(options) if options.foreground else start_daemon(options)


def kill(options: argparse.Namespace) -> int:
    """End the agent of $SSH_AGENT_PID, and print what makes a shell forget it."""
    text = os.environ.get("SSH_AGENT_PID")
    if not text:
        raise UserError("SSH_AGENT_PID is not set, so there is no agent to end")
    # To kill, 0 and 1 mean much more than one process.
    if not (text.isdecimal() and len(text) <= 10 and 1 < int(text) < 2**31):
        raise UserError(f"SSH_AGENT_PID is {text!r}, which is no process of an agent")
    try:
        os.kill(int(text), signal.SIGTERM)
    except OSError as error:
        raise UserError(f"process {text}: {error.strerror}") from None
    for name in ("SSH_AUTH_SOCK", "SSH_AGENT_PID"):
        print(f"unsetenv {name};" if options.csh else f"unset {name};")
    print(f"echo Agent pid {text} killed;")
    return 0


def start_foreground(options: argparse.Namespace) -> int:
    """Be the agent, with a log on standard error, until a signal comes."""
    logging.basicConfig(format=f"{PROGRAM}: %(message)s", level=logging.INFO)
    agent = _agent(options)
    with listening(options.socket) as listener:
        lines = _shell_lines(listener.getsockname(), None, options.csh)
        return _serve(listener, agent, lambda: print(lines, flush=True))


def start_daemon(options: argparse.Namespace) -> int:
    """Start the agent in the background, and print what makes a shell use it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setsid()
        return _be_daemon(options, writer)
    os.close(writer)
    with open(reader, encoding="utf-8", errors="surrogateescape") as pipe:
        lines = pipe.read()
    if not lines:  # it has said why
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(lines, end="", flush=True)
    return 0


def _be_daemon(options: argparse.Namespace, writer: int) -> int:
    agent = _agent(options)
    os.closerange(3, writer)
    os.closerange(writer + 1, _MANY)
    with listening(options.socket) as listener:
        lines = _shell_lines(listener.getsockname(), os.getpid(), options.csh)
        return _serve(listener, agent, lambda: _let_go(writer, lines + "\n"))


def _let_go(writer: int, lines: str) -> None:
    """Leave the terminal or whatever we were started from, and tell who waits that we are ready."""
    # The working directory stays: what --tpm names may be relative to it.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    with open(writer, "w", encoding="utf-8", errors="surrogateescape") as pipe:
        pipe.write(lines)


def _serve(listener: socket.socket, agent: Agent, announce: Callable[[], None]) -> int:
    try:
        announce()
        serve(listener, lambda peer: agent.conversation(peer).answer)
    except KeyboardInterrupt:
        # Let a signature that is under way come to its end, so that nothing stays loaded.
        TPM_IN_USE.acquire(timeout=FAREWELL)
    return 0


def _shell_lines(path: str, pid: int | None, csh: bool) -> str:
    variables = [("SSH_AUTH_SOCK", shlex.quote(path))]
    if pid is not None:
        variables.append(("SSH_AGENT_PID", str(pid)))
    form = "setenv {0} {1};" if csh else "{0}={1}; export {0};"
    lines = [form.format(name, value) for name, value in variables]
    if pid is not None:
        lines.append(f"echo Agent pid {pid};")
    return "\n".join(lines)


def _agent(options: argparse.Namespace) -> Agent:
    console.warn_of_emulator(PROGRAM, options.tpm)
    agent = Agent(_keys(options))
    try:
        tpmwire.open(options.tpm).close()
    except TransportError as error:
        # Said now, because nobody may be there to read it when somebody waits for a login.
        reason = console.explain(error)
        console.say(f"{PROGRAM}: {reason}; no signatures until that changes")
    return agent


def _keys(options: argparse.Namespace) -> Iterator[TpmKey]:
    """Load the key files that were named, and those of the directory."""
    for path in options.files:
        yield _key(path, options.tpm)
    if not options.files or options.key_dir is not None:
        yield from _keys_in(options.key_dir, options.tpm)


def _keys_in(directory: str | None, conf: str | None) -> Iterator[TpmKey]:
    """Load the key files of a directory, which has to exist if it was named; ~/.ssh if not."""
    if directory is not None:
        os.scandir(directory).close()
    else:
        directory = os.path.expanduser("~/.ssh")
    paths = sorted(glob.glob(os.path.join(glob.escape(directory), "*.tpm")))
    if not paths:
        console.say(f"{PROGRAM}: no key files (*.tpm) in {directory}; tpmwire-keygen makes some")
    for path in paths:
        try:
            if not os.path.isfile(path):
                raise UserError(f"{path}: not an ordinary file")
            yield _key(path, conf)
        except OSError as error:
            console.say(f"{PROGRAM}: {console.explain(error)}; passed over")
        except Error as error:
            console.say(f"{PROGRAM}: {error}; passed over")


def _key(path: str, conf: str | None) -> TpmKey:
    try:
        with open(path, "rb") as file:
            keyfile = KeyFile.from_pem(file.read(65536))
        comment = _comment(path, keyfile)
        return TpmKey(keyfile, comment, lambda: tpmwire.open(conf), prompts.ask_pin)
    except Error as error:
        raise UserError(f"{path}: {error}") from None


def _comment(path: str, keyfile: KeyFile) -> str:
    """Find what to call a key: the comment in its .pub file, its description, or its path."""
    try:
        with open(f"{path.removesuffix('.tpm')}.pub", encoding="utf-8") as file:
            _, encoded, comment = file.readline().strip().split(" ", 2)
        if base64.b64decode(encoded) == public_blob(keyfile.public):
            return comment
    except (OSError, ValueError, binascii.Error):
        pass
    return keyfile.description or os.fsencode(path).decode("utf-8", "replace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="An SSH agent whose keys never leave the TPM.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("files", nargs="*", metavar="KEYFILE", help="key files made by tpmwire-keygen")
    add("-a", dest="socket", metavar="SOCKET", help="listen on this path")
    add("-c", dest="csh", action="store_true", help="print commands for a C shell")
    add("-s", dest="csh", action="store_false", help="print commands for other shells")
    add("-D", dest="foreground", action="store_true", help="stay in the foreground")
    add("-k", dest="kill", action="store_true", help="end the agent of $SSH_AGENT_PID")
    add("--key-dir", metavar="DIR", help="use all *.tpm files in DIR (~/.ssh if no file is named)")
    add("--tpm", type=console.conf, metavar="CONF", help=console.TPM_HELP)
    add("--version", action="version", version=f"%(prog)s {tpmwire.__version__}")
    parser.set_defaults(csh=os.environ.get("SHELL", "").endswith("csh"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
