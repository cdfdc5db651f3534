"""tpmwire-agent: an SSH agent whose keys are in the TPM."""

import argparse
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable

import tpmwire
from tpmwire.errors import TransportError
from tpmwire.scripts import console, daemon, prompts, units, uses
from tpmwire.scripts.keyfiles import Changes, KeyFiles, key_files_in
from tpmwire.scripts.making import Maker, Tokens
from tpmwire.scripts.requester import introduce
from tpmwire.ssh.agent import Agent, Conversation, Key
from tpmwire.ssh.keyring import FullError
from tpmwire.ssh.occasion import Occasion, Peer
from tpmwire.ssh.purposes import CERTIFICATE, SSHSIG, USERAUTH
from tpmwire.ssh.upstream import Upstream

PROGRAM = "tpmwire-agent"

EPILOG = """\
examples:
  eval "$(tpmwire-agent)"              an agent in the background with all keys of ~/.ssh/*.tpm
  tpmwire-agent -D -a /run/user/1000/tpmwire.sock work.tpm
  tpmwire-agent -k                     end the agent of this shell

A key is loaded into the TPM for each signature and forgotten again. For a key with a PIN the
program in SSH_ASKPASS is asked, as ssh does. Without -c and -s, $SHELL tells what to print.

exit codes: 0 ended on request, 1 failed, 2 wrong usage
"""

_DEFAULT_DIRECTORY = os.path.expanduser("~/.ssh")

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run the script; the exit code."""
    return console.run(PROGRAM, lambda: work(_parser().parse_args(arguments)))


def work(options: argparse.Namespace) -> int:
    """Do what the command line says."""
    if options.kill:
        return daemon.kill(csh=options.csh)
    if options.install_units:
        return int(options.install_units(PROGRAM))
    process = daemon.Daemon(
        PROGRAM,
        lambda: LiveAgent(options).begin,
        options.socket,
        csh=options.csh,
        verbose=options.verbose,
        as_json=options.log_json,
    )
    return process.stay() if options.foreground else process.leave()


class LiveAgent:
    """An agent that looks at its key files whenever somebody asks it for something."""

    def __init__(self, options: argparse.Namespace) -> None:
        console.warn_of_emulator(PROGRAM, options.tpm)
        directory = _directory(options)
        maker = _maker(options)
        self._refreshing = threading.Lock()
        self._files = KeyFiles(options.files, directory, maker.of_file)
        tokens = Tokens(directory or _DEFAULT_DIRECTORY, maker, verify=options.verify_pins)
        self._agent = Agent(
            load=tokens.load,
            load_pem=maker.of_pem,
            confirm=_confirm,
            others=[Upstream(path) for path in options.proxies],
            only=options.only,
        )
        self.refresh()
        if directory is not None and not key_files_in(directory):
            log.warning("no key files (*.tpm) in %s; tpmwire-keygen makes some", directory)
        _look_for_tpm(options.tpm)

    def begin(self, peer: Peer) -> "LiveConversation":
        """Begin to talk with whoever has connected."""
        return LiveConversation(self, self._agent.conversation(peer))

    def refresh(self) -> None:
        """Look at the key files."""
        with self._refreshing:  # or an older state could come after a newer one
            changes = self._files.changes()
            if changes.gone or changes.new:
                self._exchange(changes)

    def _exchange(self, changes: Changes) -> None:
        try:
            self._agent.exchange(*changes)
        except FullError as error:
            log.warning("%s: what is new in the key files is passed over", error)
            self._agent.exchange(changes.gone, ())


class LiveConversation:
    """A conversation with such an agent."""

    def __init__(self, agent: LiveAgent, inner: Conversation) -> None:
        self._agent, self._inner = agent, inner
        self.close = inner.close

    def answer(self, request: bytes) -> bytes:
        """Answer one request, by what is on the disk now."""
        self._agent.refresh()
        return self._inner.answer(request)


def _directory(options: argparse.Namespace) -> str | None:
    """Find the directory of the keys, which has to exist if it was named; ~/.ssh if nothing was."""
    if options.key_dir is not None:
        os.scandir(options.key_dir).close()
        return str(options.key_dir)
    return None if options.files else _DEFAULT_DIRECTORY


def _look_for_tpm(conf: str | None) -> None:
    try:
        tpmwire.open(conf).close()
    except TransportError as error:
        # Said now, because nobody may be there to read it when somebody waits for a login.
        log.warning("%s; no signatures until that changes", console.explain(error))


def _maker(options: argparse.Namespace) -> Maker:
    tell = [uses.write_to_log, *([uses.notify] if options.notify else [])]
    return Maker(lambda: tpmwire.open(options.tpm), _ask, options.pin_timeout, tell)


def _ask(question: str, occasion: Occasion) -> bytes:
    return prompts.ask_pin(introduce(question, occasion), occasion.peer.gone)


def _confirm(key: Key, occasion: Occasion) -> bool:
    question = introduce(f"Allow use of TPM key {key.comment}?", occasion)
    return prompts.ask_permission(question, occasion.peer.gone)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="An SSH agent whose keys never leave the TPM.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_process_options(parser.add_argument_group("the process").add_argument)
    _add_key_options(parser.add_argument_group("keys").add_argument)
    _add_unit_options(parser.add_argument_group("systemd").add_argument)
    parser.set_defaults(csh=os.environ.get("SHELL", "").endswith("csh"))
    return parser


def _add_process_options(add: Callable[..., object]) -> None:
    add("-a", dest="socket", metavar="SOCKET", help="listen on this path")
    add("-c", dest="csh", action="store_true", help="print commands for a C shell")
    add("-s", dest="csh", action="store_false", help="print commands for other shells")
    add("-D", dest="foreground", action="store_true", help="stay in the foreground")
    add("-k", dest="kill", action="store_true", help="end the agent of $SSH_AGENT_PID")
    add("-v", dest="verbose", action="store_true", help="log each use of a key, not only failures")
    add("--log-json", action="store_true", help="log JSON objects, one a line")
    add("--version", action="version", version=f"%(prog)s {tpmwire.__version__}")


def _add_unit_options(add: Callable[..., object]) -> None:
    for kind, install, what in (
        ("user", units.install_for_user, "your agent"),
        ("system", units.install_for_system, "an agent with the host keys of sshd"),
    ):
        add(
            f"--install-{kind}-units",
            dest="install_units",
            action="store_const",
            const=install,
            help=f"write units that start {what} when its first client comes",
        )


def _add_key_options(add: Callable[..., object]) -> None:
    add("files", nargs="*", metavar="KEYFILE", help="key files made by tpmwire-keygen")
    add("--key-dir", metavar="DIR", help="use all *.tpm files in DIR (~/.ssh if no file is named)")
    add("--tpm", type=console.conf, metavar="CONF", help=console.TPM_HELP)
    add(
        "--pin-timeout",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="remember a PIN for so long after it was given (not at all)",
    )
    add("--verify-pins", action="store_true", help="try a PIN out when ssh-add -s gives it")
    add(
        "--proxy",
        dest="proxies",
        action="append",
        default=[],
        metavar="SOCKET",
        help="offer the keys of another agent, too; may be given several times",
    )
    add(
        "--only",
        type=_kinds,
        metavar="KINDS",
        help="sign nothing but these, with commas between them: userauth (logins), sshsig (files, "
        "commits), certificate (of other keys)",
    )
    add("--notify", action="store_true", help="tell the desktop of each use of a key")


def _kinds(text: str) -> frozenset[str]:
    kinds = frozenset(text.split(","))
    if not kinds <= (known := {USERAUTH, SSHSIG, CERTIFICATE}):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(sorted(known))}")
    return kinds


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= (seconds := float(text)) < float("inf"):
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")


if __name__ == "__main__":
    sys.exit(main())
