"""The parents of tpmwire-keygen's keys: each word means itself; passwords are asked if wanted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Swtpm, forgive
from keygen_fixtures import PERSISTENT, clean_home, evict, keyfile, persistent
from programs import attempt, needs_tools, tool
from ssh_fixtures import Home, agent, need
from terminal import Terminal

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.commands import CreatePrimary, DictionaryAttackParameters
from tpmwire.constants import TPM_CC, TPM_RH
from tpmwire.lockout import Lockout
from tpmwire.structure import Structure
from tpmwire.templates import ECC_SRK
from tpmwire.transport import connect
from tpmwire.types.algorithms import TPMS_SENSITIVE_CREATE
from tpmwire.types.objects import TPM2B_PRIVATE, TPM2B_PUBLIC, TPMT_PUBLIC

PASSWORD = "owner only"
HIERARCHIES = {"owner": "o", "endorsement": "e", "platform": "p", "null": "n"}
STORAGE = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
COUNTED = ECC_SRK.replace(objectAttributes=ECC_SRK.objectAttributes & ~TPMA_OBJECT.noDA)


class Public(Structure):
    """The file that tpm2_load takes as -u."""

    value: TPM2B_PUBLIC


class Private(Structure):
    """The file that tpm2_load takes as -r."""

    value: TPM2B_PRIVATE


@pytest.fixture
def home(tmp_path: Path, swtpm: Swtpm) -> Iterator[Home]:
    yield from clean_home(tmp_path, swtpm)


def make(home: Home, *arguments: str) -> None:
    home.run("tpmwire-keygen", "-q", "-f", "key", "-N", "", "-C", "ada", *arguments)


@contextmanager
def owner_password(swtpm: Swtpm) -> Iterator[None]:
    """Have a password on the owner hierarchy, set by tpm2-tools."""
    need("tpm2_changeauth")
    tool(swtpm, "changeauth", "-c", "o", PASSWORD)
    try:
        yield
    finally:
        tool(swtpm, "changeauth", "-c", "o", "-p", PASSWORD)


@contextmanager
def persistent_with_password(swtpm: Swtpm, template: TPMT_PUBLIC) -> Iterator[None]:
    """Have a storage key with a password at the place of the SRK."""
    sensitive = TPMS_SENSITIVE_CREATE(userAuth=PASSWORD.encode())
    command = CreatePrimary(primaryHandle=TPM_RH.OWNER, inSensitive=sensitive, inPublic=template)
    with Tpm(connect(swtpm.conf)) as tpm:
        made = tpm.execute(command)
        with tpm.adopt(made.objectHandle, made.outPublic, made.name) as key:
            evict(tpm, key, PERSISTENT)
    try:
        yield
    finally:
        with Tpm(connect(swtpm.conf)) as tpm:
            evict(tpm, PERSISTENT, PERSISTENT)
            forgive(tpm)


def allow(swtpm: Swtpm, tries: int) -> None:
    """Have the TPM lock itself after so many wrong passwords."""
    parameters = DictionaryAttackParameters(
        lockHandle=TPM_RH.LOCKOUT, newMaxTries=tries, newRecoveryTime=600, lockoutRecovery=86400
    )
    with Tpm(connect(swtpm.conf)) as tpm:
        tpm.execute(parameters)


def lockout(swtpm: Swtpm) -> Lockout:
    with Tpm(connect(swtpm.conf)) as tpm:
        return Lockout.read(tpm.execute)


def prompts(home: Home) -> list[str]:
    """The questions that were asked, without what the agent says of who wants the answer."""
    path = home.path / "prompts"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line.endswith(": ")]


# --- which parent -----------------------------------------------------------------------------


@needs_tools
@pytest.mark.parametrize("word", HIERARCHIES)
def test_row_3_a_hierarchy_means_itself_and_no_other(home: Home, swtpm: Swtpm, word: str):
    """Tpm2-tools make the four primary keys, and load the key under one of them only."""
    make(home, "--parent", word)
    file = keyfile(home)
    (home.path / "u").write_bytes(Public(value=file.public).pack())
    (home.path / "r").write_bytes(Private(value=file.private).pack())
    loaded = []
    for other, letter in HIERARCHIES.items():
        context = home.path / f"{letter}.ctx"
        tool(
            *(swtpm, "createprimary", "-Q", "-C", letter, "-G", "ecc256:aes128cfb"),
            *("-a", STORAGE, "-c", context),
        )
        files = ("-u", home.path / "u", "-r", home.path / "r", "-c", home.path / "key.ctx")
        if attempt(swtpm, "load", "-Q", "-C", context, *files).returncode == 0:
            loaded.append(other)
        attempt(swtpm, "flushcontext", "-t")
    assert loaded == [word]


def test_row_3_a_persistent_handle_is_not_taken_for_a_hierarchy(home: Home, swtpm: Swtpm):
    template = ECC_SRK.replace(authPolicy=bytes(range(32)))
    with persistent(swtpm, template, 0x81000007):
        make(home, "--parent", "0x81000007")
        assert keyfile(home).parent == 0x81000007
        with agent(home, "key.tpm") as daemon:
            home.run("ssh-add", "-T", "key.pub", **daemon.env)
    with agent(home, "key.tpm") as daemon:
        home.refuses("ssh-add", "-T", "key.pub", **daemon.env)


@pytest.mark.parametrize("word", HIERARCHIES)
def test_an_agent_signs_with_a_key_under_each_hierarchy(home: Home, word: str):
    make(home, "--parent", word)
    with agent(home, "key.tpm") as daemon:
        home.run("ssh-add", "-T", "key.pub", **daemon.env)


# --- passwords --------------------------------------------------------------------------------


def test_no_password_is_asked_for_where_there_is_none(home: Home):
    asking = home.askpass("nobody asked")
    make(home, "--parent", "owner")
    home.run("tpmwire-keygen", "-p", "-q", "-f", "key", "-N", "1234", **asking)
    assert prompts(home) == []


def test_row_9_the_owner_password_is_asked_for_and_makes_keys(home: Home, swtpm: Swtpm):
    with owner_password(swtpm), Terminal(home.path, home.env) as terminal:
        terminal.play(f"""
            $ tpmwire-keygen -q -f key -N '' --parent owner; echo $?
            Password of the owner hierarchy: <*{PASSWORD}>
            0
            $ tpmwire-keygen -q -f other -N ''; echo $?
            Password of the owner hierarchy: <*wrong>
            tpmwire-keygen: TPM_RC_BAD_AUTH (session 1) from CreatePrimary: the authorization[...]
            1
        """)

    assert keyfile(home).parent == TPM_RH.OWNER
    assert not (home.path / "other.tpm").exists()
    assert lockout(swtpm).failures == 0


def test_row_9_the_agent_asks_for_the_owner_password_and_signs(home: Home, swtpm: Swtpm):
    need("ssh-add")
    make(home)
    asking = home.askpass(PASSWORD)
    with agent(home, "key.tpm", **asking) as daemon:
        home.run("ssh-add", "-T", "key.pub", **daemon.env)
        assert prompts(home) == []
        with owner_password(swtpm):
            home.run("ssh-add", "-T", "key.pub", **daemon.env)
            home.run("ssh-add", "-T", "key.pub", **daemon.env)
    question = "Password of the owner hierarchy, for TPM key ada: "
    assert prompts(home) == [question, question]
    assert lockout(swtpm).failures == 0


def test_the_agent_does_not_sign_without_the_owner_password(home: Home, swtpm: Swtpm):
    make(home)
    with (
        owner_password(swtpm),
        agent(home, "key.tpm", **home.askpass("wrong")) as daemon,
    ):
        home.refuses("ssh-add", "-T", "key.pub", **daemon.env)
    assert lockout(swtpm).failures == 0


def test_under_a_persistent_key_nobody_needs_the_owner_password(home: Home, swtpm: Swtpm):
    asking = home.askpass("nobody asked")
    with persistent(swtpm, ECC_SRK), owner_password(swtpm):
        make(home)
        with agent(home, "key.tpm", **asking) as daemon:
            home.run("ssh-add", "-T", "key.pub", **daemon.env)
        home.run("tpmwire-keygen", "-p", "-q", "-f", "key", "-N", "1234", **asking)
    assert keyfile(home).parent == PERSISTENT
    assert prompts(home) == []


def test_a_password_comes_from_a_file_and_does_not_travel_in_clear(home: Home, swtpm: Swtpm):
    home.write("password", f"{PASSWORD}\n")
    with owner_password(swtpm):
        begin = swtpm.log.stat().st_size
        make(home, "--parent-auth", "password")
        command = ("tpmwire-keygen", "-p", "-q", "-f", "key", "-N", "1234")
        home.run(*command, "--parent-auth", "password")
        end = swtpm.log.stat().st_size
    said = "".join(swtpm.log.read_bytes()[begin:end].decode().split()).lower()
    assert f"{TPM_CC.CreatePrimary:08x}" in said
    assert PASSWORD.encode().hex() not in said


def test_a_password_that_got_lost_is_told(home: Home, swtpm: Swtpm):
    home.write("password", "\n")
    with owner_password(swtpm):
        command = ("tpmwire-keygen", "-q", "-f", "key", "-N", "")
        said = home.refuses(*command, "--parent-auth", "password")
        assert said == "tpmwire-keygen: password: its first line is empty\n"
        assert "nobody can be asked" in home.refuses(*command)
    assert not (home.path / "key.tpm").exists()


@pytest.mark.parametrize("template", [ECC_SRK, COUNTED], ids=["exempt", "counted"])
def test_the_password_of_a_persistent_key_is_asked_for(
    home: Home, swtpm: Swtpm, template: TPMT_PUBLIC
):
    counted = template is COUNTED
    allow(swtpm, 10)
    asking = home.askpass(PASSWORD)
    with persistent_with_password(swtpm, template):
        command = ("tpmwire-keygen", "-q", "-f", "key", "-N", "", "-C", "ada")
        home.run(*command, **asking)
        assert lockout(swtpm).failures == counted
        assert prompts(home) == ["Password of the key 0x81000001: "]
        with agent(home, "key.tpm", **asking) as daemon:
            for _ in range(3):
                home.run("ssh-add", "-T", "key.pub", **daemon.env)
        # The agent guesses once, and knows from then on.
        assert lockout(swtpm).failures == 2 * counted
    assert prompts(home)[1:] == ["Password of the key 0x81000001, for TPM key ada: "] * 3


def test_the_last_try_is_not_spent_on_a_guess(home: Home, swtpm: Swtpm):
    allow(swtpm, 2)
    asking = home.askpass(PASSWORD)
    with persistent_with_password(swtpm, COUNTED):
        for name in ("a", "b", "c"):
            home.run("tpmwire-keygen", "-q", "-f", name, "-N", "", **asking)
            assert lockout(swtpm).tries_left == 1
    assert len(prompts(home)) == 3


def test_a_counted_parent_without_a_password_wants_none_but_for_the_last_try(
    home: Home, swtpm: Swtpm
):
    with persistent(swtpm, COUNTED):
        make(home)
        with agent(home, "key.tpm", **home.askpass("nobody asked")) as daemon:
            home.run("ssh-add", "-T", "key.pub", **daemon.env)
    assert prompts(home) == []
    assert lockout(swtpm).failures == 0
