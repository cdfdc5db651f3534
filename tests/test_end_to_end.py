"""The scripts, OpenSSH and git, each a program of its own, with keys in a real swtpm."""

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Swtpm, forgive, left_loaded, start_swtpm
from ssh_fixtures import PATIENCE, Daemon, Home, Server, Watch, agent, need

from tpmwire.client import Tpm
from tpmwire.constants import TPM_CC
from tpmwire.transport import connect

KINDS = {
    "p256": ("-t", "ecdsa"),
    "p384": ("-t", "ecdsa", "-b", "384"),
    "rsa": ("-t", "rsa"),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def made(swtpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one key of each kind, made by tpmwire-keygen."""
    need("ssh-add", "ssh-keygen")
    home = Home(tmp_path_factory.mktemp("keys"), swtpm.conf)
    for kind, options in KINDS.items():
        home.run("tpmwire-keygen", *options, "-f", kind, "-N", "", "-C", f"my {kind} key")
    return home


@pytest.fixture(scope="module")
def with_all(made: Home) -> Iterator[Daemon]:
    """An agent with all keys."""
    with agent(made, *(f"{kind}.tpm" for kind in KINDS)) as running:
        yield running


@pytest.fixture
def home(swtpm: Swtpm, made: Home, with_all: Daemon, tmp_path: Path) -> Iterator[Home]:
    """A home with the keys and the agent; what a test leaves loaded in the TPM is a failure."""
    for file in made.path.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    home = Home(tmp_path, swtpm.conf)
    home.env |= with_all.env
    yield home
    assert left_loaded(swtpm) == ()


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let programs be interrupted even where the tests themselves run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def public(home: Home, kind: str) -> str:
    return (home.path / f"{kind}.pub").read_text()


TEXT = "To be, or not to be"
SIGNING = ("ssh-keygen", "-Y", "sign", "-n", "file", "-f")


def verifying(home: Home, kind: str) -> tuple[str, ...]:
    allowed = home.write(f"allowed-{kind}", f"me@example.com {public(home, kind)}")
    command = ("ssh-keygen", "-Y", "verify", "-n", "file", "-I", "me@example.com")
    return (*command, "-f", str(allowed), "-s", "text.sig")


# --- keys -------------------------------------------------------------------------------------


def test_openssh_lists_the_keys_that_were_made(home: Home):
    fingerprints = [home.run("ssh-keygen", "-l", "-f", f"{kind}.pub") for kind in KINDS]
    assert home.run("ssh-add", "-l") == "".join(fingerprints)
    assert home.run("ssh-add", "-L") == "".join(public(home, kind) for kind in KINDS)


def test_keygen_says_of_a_key_what_ssh_keygen_says(home: Home):
    said = home.run("tpmwire-keygen", "-f", "new", "-N", "", "-C", "hello")
    fingerprint = re.search(r"^SHA256:\S+ hello$", said, re.M)
    assert fingerprint
    assert fingerprint[0] in home.run("ssh-keygen", "-l", "-f", "new.pub")
    assert (home.path / "new.tpm").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["p256", "p384"])
def test_ssh_add_finds_the_key_usable(home: Home, kind: str):
    """Not so an RSA key, which ssh-add tries with SHA-1."""
    home.run("ssh-add", "-T", f"{kind}.pub")


def test_ssh_add_finds_a_key_not_usable_that_the_agent_does_not_have(home: Home):
    home.run("tpmwire-keygen", "-f", "new", "-N", "")
    home.refuses("ssh-add", "-T", "new.pub")


def test_without_names_the_agent_takes_the_keys_of_the_directory(home: Home):
    (home.path / ".ssh").mkdir()
    for kind in ("p256", "rsa"):
        (home.path / f"{kind}.tpm").rename(home.path / ".ssh" / f"{kind}.tpm")
        (home.path / f"{kind}.pub").rename(home.path / ".ssh" / f"{kind}.pub")
    home.write(".ssh/broken.tpm", "this is no key")
    with agent(home) as running:
        listed = home.run("ssh-add", "-L", **running.env)
    assert listed == public(home, ".ssh/p256") + public(home, ".ssh/rsa")


# --- signatures -------------------------------------------------------------------------------


@every_kind
def test_a_file_is_signed_and_a_flipped_letter_noticed(home: Home, kind: str):
    home.write("text", TEXT)
    home.run(*SIGNING, f"{kind}.pub", "text")
    verify = verifying(home, kind)
    assert "Good" in home.run(*verify, given=TEXT)
    home.refuses(*verify, given=TEXT.lower())
    other = next(name for name in KINDS if name != kind)
    home.refuses(*verifying(home, other), given=TEXT)


def test_no_file_is_signed_with_a_key_that_the_agent_does_not_have(home: Home):
    home.write("text", TEXT)
    home.run("tpmwire-keygen", "-f", "new", "-N", "")
    home.refuses(*SIGNING, "new.pub", "text")
    assert not (home.path / "text.sig").exists()


def test_several_files_are_signed_at_a_time(home: Home):
    work = []
    for number in range(6):
        kind, name = list(KINDS)[number % 3], f"text{number}"
        home.write(name, name)
        work.append((kind, name, home.start(*SIGNING, f"{kind}.pub", name)))
    for kind, name, process in work:
        with process:
            assert process.wait(PATIENCE) == 0, process.stderr.read()
        (home.path / f"{name}.sig").rename(home.path / "text.sig")
        home.run(*verifying(home, kind), given=name)


# --- logins -----------------------------------------------------------------------------------

LOGIN = ("ssh", "-F", "ssh_config", "server", "echo", "in as $(id -u)")


@pytest.fixture
def server(home: Home) -> Iterator[Server]:
    """A server that knows one of the keys."""
    need("ssh", "sshd")
    started = Server(home, public(home, "p256"))
    yield started
    started.close()


@every_kind
def test_the_key_that_the_server_knows_opens_a_login(home: Home, server: Server, kind: str):
    home.write("authorized_keys", public(home, kind))
    assert home.run(*LOGIN) == f"in as {os.getuid()}\n"


def test_there_is_no_login_without_the_agent(home: Home, server: Server):
    assert "denied" in home.refuses(*LOGIN, SSH_AUTH_SOCK="")


def test_there_is_no_login_with_keys_that_the_server_does_not_know(home: Home, server: Server):
    home.run("tpmwire-keygen", "-f", "new", "-N", "")
    home.write("authorized_keys", public(home, "new"))
    assert "denied" in home.refuses(*LOGIN)


@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_a_certificate_of_the_key_opens_a_login(home: Home, server: Server, kind: str):
    home.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "ca")
    home.run("ssh-keygen", "-q", "-s", "ca", "-I", "me", "-n", "me", f"{kind}.pub")
    home.write("authorized_keys", f'cert-authority,principals="me" {public(home, "ca")}')
    home.run("ssh", "-o", f"CertificateFile={kind}-cert.pub", *LOGIN[1:])
    assert "denied" in home.refuses(*LOGIN)


# --- git --------------------------------------------------------------------------------------

COMMIT = ("git", "commit", "-q", "--allow-empty", "-S", "-m", "a change")


@pytest.fixture
def repository(home: Home) -> Home:
    """A repository where the P-256 key signs, and is the only one allowed to."""
    need("git")
    settings = {
        "user.name": "me",
        "user.email": "me@example.com",
        "gpg.format": "ssh",
        "gpg.ssh.allowedSignersFile": str(home.path / "allowed"),
        "user.signingKey": str(home.path / "p256.pub"),
    }
    home.run("git", "init", "-q")
    for name, value in settings.items():
        home.run("git", "config", name, value)
    home.write("allowed", f"me@example.com {public(home, 'p256')}")
    return home


def test_a_commit_is_signed_and_verified(repository: Home):
    repository.run(*COMMIT)
    repository.run("git", "verify-commit", "HEAD")


def test_a_commit_by_a_signer_who_is_not_allowed_is_refused(repository: Home):
    repository.run("git", "config", "user.signingKey", str(repository.path / "p384.pub"))
    repository.run(*COMMIT)
    repository.refuses("git", "verify-commit", "HEAD")


def test_a_commit_that_was_changed_after_it_was_signed_is_refused(repository: Home):
    repository.run(*COMMIT)
    commit = repository.run("git", "cat-file", "commit", "HEAD").replace("a change", "another one")
    forged = repository.run("git", "hash-object", "-t", "commit", "-w", "--stdin", given=commit)
    repository.refuses("git", "verify-commit", forged.strip())


def test_no_commit_is_made_if_the_agent_does_not_sign_it(repository: Home):
    repository.refuses(*COMMIT, SSH_AUTH_SOCK="")
    repository.refuses("git", "rev-parse", "--verify", "HEAD")


# --- removal ----------------------------------------------------------------------------------


def test_ssh_add_removes_one_key_from_the_agent_and_none_from_disk(home: Home):
    with agent(home, "p256.tpm", "p384.tpm") as running:
        home.run("ssh-add", "-d", "p256.pub", **running.env)
        assert "my p384 key" in home.run("ssh-add", "-l", **running.env)
        home.refuses("ssh-add", "-T", "p256.pub", **running.env)
        home.refuses("ssh-add", "-d", "p256.pub", **running.env)
        home.run("ssh-add", "-T", "p384.pub", **running.env)
    with agent(home, "p256.tpm") as running:
        home.run("ssh-add", "-T", "p256.pub", **running.env)


def test_ssh_add_removes_all_keys_from_the_agent(home: Home):
    with agent(home, "p256.tpm", "p384.tpm") as running:
        home.run("ssh-add", "-D", **running.env)
        assert "no identities" in home.refuses("ssh-add", "-l", **running.env)


def test_what_the_agent_cannot_do_is_refused_and_it_lives_on(home: Home):
    home.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "software")
    secret = home.askpass("secret")
    with agent(home, "p256.tpm") as running:
        home.refuses("ssh-add", "software", **running.env)
        home.refuses("ssh-add", "-t", "60", "software", **running.env)
        home.refuses("ssh-add", "-s", "/usr/lib/pkcs11.so", **running.env, **secret)
        assert "my p256 key" in home.run("ssh-add", "-l", **running.env)


# --- PINs -------------------------------------------------------------------------------------

NO_ANSWER = {"SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}


@pytest.fixture
def secured(swtpm: Swtpm, home: Home) -> Iterator[Home]:
    """A home with `pin`, a key with the PIN 1234; wrong ones are forgiven at the end."""
    home.run("tpmwire-keygen", "-f", "pin", "-N", "1234", "-C", "my key")
    yield home
    with Tpm(connect(swtpm.conf)) as tpm:
        forgive(tpm)


def test_a_key_with_a_pin_signs_with_it(secured: Home):
    secured.write("text", TEXT)
    with agent(secured, "pin.tpm", **secured.askpass("1234")) as running:
        secured.run("ssh-add", "-T", "pin.pub", **running.env)
        secured.run(*SIGNING, "pin.pub", "text", **running.env)
    secured.run(*verifying(secured, "pin"), given=TEXT)
    prompts = (secured.path / "prompts").read_text().splitlines()
    assert prompts[2::3] == ["PIN for TPM key my key: "] * 2
    assert prompts[1::3] == [
        "To sign something unknown",
        "To sign something in the namespace “file”",
    ]
    assert [line.split(" (")[0] for line in prompts[::3]] == [
        "Asked by ssh-add -T pin.pub",
        "Asked by ssh-keygen -Y sign -n file -f pin.pub text",
    ]


@pytest.mark.parametrize(
    "asking",
    [
        pytest.param(lambda home: home.askpass("4321"), id="another"),
        pytest.param(lambda home: home.askpass(""), id="empty"),
        pytest.param(lambda home: NO_ANSWER, id="no answer"),
        pytest.param(lambda home: {}, id="nobody to ask"),
    ],
)
def test_a_key_with_a_pin_does_not_sign_without_it(
    secured: Home, asking: Callable[[Home], dict[str, str]]
):
    secured.write("text", TEXT)
    with agent(secured, "pin.tpm", **asking(secured)) as running:
        secured.refuses(*SIGNING, "pin.pub", "text", **running.env)
        assert "my key" in secured.run("ssh-add", "-l", **running.env)
    assert not (secured.path / "text.sig").exists()


def test_many_wrong_pins_lock_the_key_and_none_without_a_pin(swtpm: Swtpm, secured: Home):
    with agent(secured, "pin.tpm", **secured.askpass("4321")) as running:
        for _ in range(4):
            secured.refuses("ssh-add", "-T", "pin.pub", **running.env)
    with agent(secured, "pin.tpm", "p256.tpm", **secured.askpass("1234")) as running:
        secured.refuses("ssh-add", "-T", "pin.pub", **running.env)
        secured.run("ssh-add", "-T", "p256.pub", **running.env)
        with Tpm(connect(swtpm.conf)) as tpm:
            forgive(tpm)
        secured.run("ssh-add", "-T", "pin.pub", **running.env)


# --- the end of the TPM -----------------------------------------------------------------------


def stop(swtpm: Swtpm) -> None:
    swtpm.process.kill()
    swtpm.process.wait()


@contextlib.contextmanager
def restarted_at_the_end(swtpm: Swtpm) -> Iterator[None]:
    try:
        yield
    finally:
        stop(swtpm)
        for path in (swtpm.path, Path(f"{swtpm.path}.ctrl")):
            path.unlink(missing_ok=True)
        swtpm.process = start_swtpm(swtpm.path.parent).process


def test_the_agent_outlives_its_tpm_and_signs_again_when_that_is_back(swtpm: Swtpm, home: Home):
    home.write("text", TEXT)
    with agent(home, "p256.tpm") as running:
        home.run("ssh-add", "-T", "p256.pub", **running.env)
        with restarted_at_the_end(swtpm):
            stop(swtpm)
            home.refuses(*SIGNING, "p256.pub", "text", **running.env)
            assert "my p256 key" in home.run("ssh-add", "-l", **running.env)
        home.run(*SIGNING, "p256.pub", "text", **running.env)
    home.run(*verifying(home, "p256"), given=TEXT)


def test_a_tpm_that_dies_during_a_signature_ends_that_and_nothing_else(swtpm: Swtpm, home: Home):
    def kill(code: int) -> None:
        if code == TPM_CC.Sign:
            stop(swtpm)

    with (
        restarted_at_the_end(swtpm),
        watching(home, swtpm, kill) as conf,
        agent(home, "p256.tpm", TPMWIRE_TCTI=conf) as running,
    ):
        home.refuses("ssh-add", "-T", "p256.pub", **running.env)
        assert "my p256 key" in home.run("ssh-add", "-l", **running.env)


@contextlib.contextmanager
def watching(home: Home, swtpm: Swtpm, seen: Callable[[int], None]) -> Iterator[str]:
    """Let a function see the code of each command before it is sent; the way to the TPM."""
    watch = Watch(home.path, swtpm.conf, seen)
    try:
        yield watch.conf
    finally:
        watch.close()


# --- the end of the agent ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name
)
def test_a_signal_ends_the_agent_and_leaves_neither_socket_nor_directory(
    home: Home, number: signal.Signals
):
    with agent(home, "p256.tpm") as running:
        assert running.path.parent.stat().st_mode & 0o777 == 0o700
        running.signal(number)
        running.wait()
        assert not running.path.parent.exists()


def test_an_interrupt_ends_the_agent_in_the_foreground_with_success(home: Home):
    with home.start("tpmwire-agent", "-D", "-a", "sock", "p256.tpm") as process:
        assert "SSH_AUTH_SOCK=" in process.stdout.readline()
        home.run("ssh-add", "-T", "p256.pub", SSH_AUTH_SOCK=str(home.path / "sock"))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert not (home.path / "sock").exists()


def test_k_ends_the_agent_of_the_shell_and_the_shell_forgets_it(home: Home):
    script = 'eval "$(tpmwire-agent -k)"; echo "${SSH_AUTH_SOCK-none} ${SSH_AGENT_PID-none}"'
    with agent(home, "p256.tpm") as running:
        said = home.run("sh", "-c", script, **running.env)
        running.wait()
        assert said == f"Agent pid {running.pid} killed\nnone none\n"
        assert not running.path.parent.exists()


def test_a_second_agent_does_not_take_the_place_of_the_first(home: Home):
    with agent(home, "-a", "sock", "p256.tpm") as running:
        said = home.refuses("tpmwire-agent", "-D", "-a", "sock", "p384.tpm")
        assert "another agent listens there" in said
        home.run("ssh-add", "-T", "p256.pub", **running.env)


def test_an_agent_takes_the_place_of_one_that_was_killed(home: Home):
    with home.start("tpmwire-agent", "-D", "-a", "sock", "p256.tpm") as process:
        process.stdout.readline()
        process.kill()
    assert (home.path / "sock").exists()
    with agent(home, "-a", "sock", "p384.tpm") as running:
        home.run("ssh-add", "-T", "p384.pub", **running.env)


@pytest.mark.parametrize(
    "signals", [[signal.SIGTERM], [signal.SIGHUP, signal.SIGTERM], [signal.SIGINT, signal.SIGINT]]
)
def test_a_signal_during_a_signature_leaves_nothing_in_the_tpm(
    signals: list[signal.Signals], swtpm: Swtpm, home: Home
):
    """What is loaded by then, the key and its parent, has to be flushed before the agent ends."""
    running: list[Daemon] = []

    def interrupt(code: int) -> None:
        if code == TPM_CC.Sign:
            for number in signals:
                running[0].signal(number)

    with (
        watching(home, swtpm, interrupt) as conf,
        agent(home, "p256.tpm", TPMWIRE_TCTI=conf) as started,
    ):
        running.append(started)
        home.attempt("ssh-add", "-T", "p256.pub", **started.env)
        started.wait()
