"""tpmwire-keygen -l and -y say without a TPM what OpenSSH's ssh-keygen says of the same key."""

import json
from pathlib import Path

import pytest
from conftest import Swtpm
from keygen_fixtures import PIN, keyfile, new_home
from ssh_fixtures import Home, need
from terminal import Terminal

from tpmwire.errors import DecodeError
from tpmwire.ssh.fingerprints import PublishedKey

KINDS = {
    "p256": (),
    "p384": ("-b", "384"),
    "p521": ("-b", "521"),
    "rsa": ("-t", "rsa"),
}
OTHERS = [
    (("-t", "ed25519"), "with  two blanks"),
    (("-t", "rsa", "-b", "1024"), "ada"),
    (("-t", "rsa", "-b", "3000"), "ada"),
    (("-t", "ecdsa", "-b", "521"), "ada"),
]
LOOKS = [(), ("-E", "md5"), ("-E", "sha256"), ("-v",), ("-v", "-E", "md5")]
every_look = pytest.mark.parametrize("look", LOOKS, ids=" ".join)


@pytest.fixture(scope="module")
def home(swtpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with keys of all kinds, from where no TPM can be reached."""
    need("ssh-keygen")
    home = new_home(tmp_path_factory.mktemp("keys"), swtpm.conf)
    for kind, options in KINDS.items():
        pin = PIN if kind == "p256" else ""
        home.run("tpmwire-keygen", "-q", "-f", kind, "-N", pin, "-C", f"my {kind}", *options)
    home.env["TPMWIRE_TCTI"] = "device:/dev/none"
    return home


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ["", ".tpm", ".pub"])
@every_look
def test_a_fingerprint_is_that_of_ssh_keygen(
    home: Home, kind: str, ending: str, look: tuple[str, ...]
):
    theirs = home.run("ssh-keygen", "-l", "-f", f"{kind}.pub", *look)
    assert home.run("tpmwire-keygen", "-l", "-f", f"{kind}{ending}", *look) == theirs


@pytest.mark.parametrize("kind", KINDS)
def test_the_public_key_is_the_line_of_the_public_file(home: Home, kind: str):
    line = (home.path / f"{kind}.pub").read_text()
    for ending in ("", ".tpm", ".pub"):
        assert home.run("tpmwire-keygen", "-y", "-f", f"{kind}{ending}") == line


@pytest.fixture(scope="module")
def others(home: Home) -> str:
    """A file of many keys that were not made by a TPM, and one that was."""
    lines = "# a comment\n\nno key\nssh-rsa AAAA\nssh-rsa AAAAB3NzaC1yc2EAAAA= broken\n"
    for number, (options, comment) in enumerate(OTHERS):
        home.run("ssh-keygen", "-q", *options, "-N", "", "-f", f"o{number}", "-C", comment)
        lines += (home.path / f"o{number}.pub").read_text()
    last = (home.path / "p256.pub").read_text()
    home.write("keys", lines + f'restrict,command="ls ssh-rsa -l" {last}')
    return "keys"


@every_look
def test_keys_that_no_tpm_has_are_shown_as_ssh_keygen_shows_them(
    home: Home, others: str, look: tuple[str, ...]
):
    theirs = home.run("ssh-keygen", "-l", "-f", others, *look)
    assert home.run("tpmwire-keygen", "-l", "-f", others, *look) == theirs
    assert theirs.count("SHA256" if "md5" not in look else "MD5:") >= len(OTHERS)


def test_a_picture_of_every_digest_is_that_of_ssh_keygen(home: Home):
    """Forty keys lead the bishop into all corners, and often to the same place."""
    for number in range(40):
        home.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"e{number}", "-C", "")
    text = "".join((home.path / f"e{number}.pub").read_text() for number in range(40))
    home.write("many", text)
    theirs = home.run("ssh-keygen", "-lv", "-f", "many")
    keys = [PublishedKey.read(line) for line in text.splitlines()]
    assert "".join(f"{key.line()}\n{key.picture()}\n" for key in keys) == theirs


def test_the_comment_is_that_of_the_public_file_or_the_description(home: Home, tmp_path: Path):
    described = keyfile(home, "p256").replace(description="described")
    path = home.write("lonely.tpm", described.to_pem())
    assert " described (ECDSA)" in home.run("tpmwire-keygen", "-l", "-f", path)
    path.write_text(described.replace(description=None).to_pem())
    assert " no comment (ECDSA)" in home.run("tpmwire-keygen", "-l", "-f", path)
    words = home.run("tpmwire-keygen", "-y", "-f", path).split(" ")
    assert words[1].strip() == (home.path / "p256.pub").read_text().split()[1]
    assert len(words) == 2


def test_programs_are_told_the_same_as_json(home: Home):
    (told,) = json.loads(home.run("tpmwire-keygen", "-l", "--json", "-E", "md5", "-f", "rsa"))
    line = home.run("ssh-keygen", "-l", "-E", "md5", "-f", "rsa.pub").strip()
    assert line == "{bits} {fingerprint} {comment} ({type})".format(**told)
    assert f"{told['public_key']} my rsa\n" == (home.path / "rsa.pub").read_text()


@pytest.mark.parametrize("verb", ["-l", "-y"])
def test_what_has_no_public_key_is_told(home: Home, verb: str):
    home.write("text", "Lorem ipsum\n")
    said = home.refuses("tpmwire-keygen", verb, "-f", "text")
    assert said == "tpmwire-keygen: text: neither a key file nor a file of public keys\n"
    said = home.refuses("tpmwire-keygen", verb, "-f", "none")
    assert said == "tpmwire-keygen: none.tpm: No such file or directory\n"
    home.write("broken.tpm", "-----BEGIN TSS2 PRIVATE KEY-----\nAAAA\n")
    assert "broken.tpm: " in home.refuses("tpmwire-keygen", verb, "-f", "broken")


def test_a_key_that_ssh_has_no_use_for_has_no_fingerprint(home: Home):
    file = keyfile(home, "rsa")
    parameters = file.public.parameters.replace(keyBits=3072)
    home.write("odd.tpm", file.replace(public=file.public.replace(parameters=parameters)).to_pem())
    assert "SSH has no use for" in home.refuses("tpmwire-keygen", "-l", "-f", "odd")


def test_the_file_is_asked_for_without_a_name(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play(f"""
            $ tpmwire-keygen -l
            Enter file in which the key is ({home.path}/.ssh/id_tpm_ecdsa): <p384>
            384 SHA256:[...] my p384 (ECDSA)
        """)


@pytest.mark.parametrize(
    "line",
    ["", "ssh-rsa", "ssh-rsa AAAA", "ssh-ed25519 AAAAB3NzaC1yc2E=", "ssh-dss AAAAB3NzaC1kc3M= x"],
)
def test_a_line_without_a_key_is_none(line: str):
    with pytest.raises(DecodeError):
        PublishedKey.read(line)
