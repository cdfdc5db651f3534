"""tpmwire inspect: what a key file says of its key, in words, as JSON, and before its TPM."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Swtpm, forgive, left_loaded, start_swtpm
from softkeys import cipher, key_of, parent_of
from ssh_fixtures import Home, need
from test_keyfile_policy import AUTH_VALUE_PEM, AUTHORIZE_PEM

from tpmwire import policy, templates
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.authorization import Entity
from tpmwire.client import Tpm
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_RH
from tpmwire.importable import make_importable
from tpmwire.keyfile import KeyFile
from tpmwire.names import object_name
from tpmwire.policy import Policy
from tpmwire.policy.bodies import write_policy
from tpmwire.showing.keyfile import ways_out
from tpmwire.softkeys import public_of
from tpmwire.transport import connect

OTHERS = (AUTH_VALUE_PEM, AUTHORIZE_PEM)
ALG = TPM_ALG.SHA256
FREE = TPMA_OBJECT.sign | TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sensitiveDataOrigin
FIXED = TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent
NAME = b"\x00\x0b" + bytes(range(32))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home without a TPM."""
    return Home(tmp_path, f"swtpm:path={tmp_path}/nowhere")


@pytest.fixture
def live(tmp_path: Path, swtpm: Swtpm) -> Iterator[Home]:
    """A home with a TPM in which a test has to leave nothing loaded."""
    yield Home(tmp_path, swtpm.conf)
    with Tpm(connect(swtpm.conf)) as tpm:
        forgive(tpm)
    assert left_loaded(swtpm) == ()


def sections(printed: str) -> dict[str, list[str]]:
    """What is printed: titles, and the lines beside each of them."""
    found: dict[str, list[str]] = {}
    title = ""
    for line in printed.splitlines():
        title = line[:20].strip() or title
        found.setdefault(title, []).append(line[20:])
    return found


def told(home: Home, file: KeyFile | str) -> tuple[dict[str, str], dict[str, Any]]:
    """What is told of a file, in words and as data."""
    home.write("key.tpm", file if isinstance(file, str) else file.to_pem())
    words = sections(home.run("tpmwire", "inspect", "key.tpm"))
    data = json.loads(home.run("tpmwire", "inspect", "--json", "key.tpm"))
    return {title: " ".join(lines) for title, lines in words.items()}, data


def a_file(attributes: TPMA_OBJECT, *steps: policy.CommandCode | Any, **changes: Any) -> KeyFile:
    """A key file with these attributes and this policy, which no TPM has made."""
    told_policy = Policy(*steps)
    public = public_of(key_of("P-256"), attributes)
    if steps:
        public = public.replace(authPolicy=told_policy.digest(ALG))
    file = KeyFile(public=public, private=bytes(80), **changes)
    return file.with_policy(*write_policy(told_policy, hash_alg=ALG)) if steps else file


# --- where it comes from, and where it goes ----------------------------------------------------


def test_a_key_of_ours_is_told_as_what_it_is(live: Home):
    need("ssh-keygen", "tpm2_loadexternal")
    live.run("tpmwire-keygen", "-q", "-f", "key", "-N", "1234")
    words = sections(live.run("tpmwire", "inspect", "key.tpm"))
    fingerprint = live.run("ssh-keygen", "-l", "-f", "key.pub").split()[1]
    assert words["SSH key"] == [f"ecdsa-sha2-nistp256 {fingerprint}"]
    assert words["key"] == ["ECC NIST_P256 signing key"]
    assert words["origin"] == ["made in its TPM, and never anywhere else"]
    assert words["moves"] == ["never: it is bound to one TPM and one parent"]
    assert words["PIN"] == ["wanted"]
    assert words["wrong PINs"][0].startswith("are counted")
    assert words["policy"] == ["none"]
    assert words["parent"][0] == "the primary key of the owner hierarchy, ECC"
    public = KeyFile.from_pem((live.path / "key.tpm").read_bytes()).public
    (live.path / "pub").write_bytes(len(public.pack()).to_bytes(2, "big") + public.pack())
    live.run("tpm2_loadexternal", "-Q", "-u", "pub", "-C", "n", "-c", "external", "-n", "name")
    live.run("tpm2_flushcontext", "-t")
    assert words["Name"] == [(live.path / "name").read_bytes().hex()]
    live.run("tpm2_createprimary", "-Q", "-G", "ecc256:null:aes128cfb", "-c", "srk",
             *("-a", "userwithauth|restricted|decrypt|fixedtpm|fixedparent|"
                     "sensitivedataorigin|noda"))  # fmt: skip
    live.run("tpm2_flushcontext", "-t")
    live.run("tpm2_readpublic", "-Q", "-c", "srk", "-n", "srk.name")
    live.run("tpm2_flushcontext", "-t")
    name = (live.path / "srk.name").read_bytes().hex()
    assert words["parent"][1] == f"with the Name {name}"


def test_an_imported_key_is_told_as_what_it_is(live: Home):
    need("ssh-keygen")
    live.run("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", "id")
    live.run("tpmwire-keygen", "-q", "-i", "id", "-N", "")
    words = sections(live.run("tpmwire", "inspect", "--load", "id.tpm"))
    assert words["origin"] == ["it came from outside: there may be copies of it"]
    assert words["moves"] == ["never: it has no policy, and without one nothing lets it go"]
    assert words["PIN"] == ["none: whoever has the file and the TPM uses it"]
    assert words["in this TPM"] == ["it loads"]


def test_keygen_has_it_too(home: Home):
    home.write("key.tpm", AUTH_VALUE_PEM)
    ours = home.run("tpmwire", "inspect", "--json", "key.tpm")
    assert home.run("tpmwire-keygen", "inspect", "--json", "key.tpm") == ours


ORIGINS = {
    FREE | FIXED: "made in its TPM, and never anywhere else",
    FREE: "made in a TPM, as it says: of a key that can move nothing proves that",
    TPMA_OBJECT.sign: "it came from outside: there may be copies of it",
    FREE | TPMA_OBJECT.fixedParent: "made in a TPM, as it says: of a key that can move nothing "
    "proves that",
}


@pytest.mark.parametrize("attributes", ORIGINS, ids=str)
def test_where_a_key_comes_from(home: Home, attributes: TPMA_OBJECT):
    words, data = told(home, a_file(attributes))
    assert words["origin"] == ORIGINS[attributes]
    assert data["made_in_tpm"] == bool(attributes & TPMA_OBJECT.sensitiveDataOrigin)
    assert data["fixed_tpm"] == bool(attributes & TPMA_OBJECT.fixedTPM)
    assert data["fixed_parent"] == bool(attributes & TPMA_OBJECT.fixedParent)


DUPLICATE = policy.CommandCode(TPM_CC.Duplicate)
SELECT = policy.DuplicationSelect(NAME)
OWNER = policy.Secret(Entity.permanent(TPM_RH.OWNER))
SIGN = policy.CommandCode(TPM_CC.Sign)
ANYWHERE = "to any parent, and out of every TPM, in clear"
FREELY = f"{ANYWHERE}, by whoever can load it"
ONLY_THERE = f"to the parent {NAME.hex()} and no other, by whoever can load it"
OWNER_GIVES = "the secret of TPM_RH_OWNER is given"
MOVES: dict[str, tuple[tuple[Any, ...], str, list[str | None]]] = {
    "none": ((), "never: it has no policy, and without one nothing lets it go", []),
    "anyone": ((DUPLICATE,), FREELY, [None]),
    "owner": ((OWNER, DUPLICATE), f"{ANYWHERE}, if {OWNER_GIVES}", [None]),
    "sign": ((SIGN,), "never: its policy does not allow it", []),
    "PIN": ((policy.AuthValue(),), "never: its policy does not allow it", []),
}


@pytest.mark.parametrize("case", MOVES)
def test_where_a_key_may_go(home: Home, case: str):
    steps, expected, names = MOVES[case]
    words, data = told(home, a_file(FREE, *steps))
    assert words["moves"] == expected
    assert data["moves_to"] == names


@pytest.mark.parametrize("case", ["anyone", "owner"])
def test_a_policy_that_others_give_their_keys_is_known_by_its_digest(home: Home, case: str):
    steps, expected, names = MOVES[case]
    words, data = told(home, a_file(FREE, *steps).with_policy(()))
    assert words["moves"] == expected
    assert words["policy"].endswith("the file does not tell it, but the digest is that of this")
    assert (data["moves_to"], data["policy_problem"]) == (names, None)


BRANCH = Policy(SIGN, policy.AuthValue())
WAYS: dict[str, tuple[Policy, list[str]]] = {
    "one parent": (Policy(SELECT), [ONLY_THERE]),
    "or": (Policy(policy.Or(BRANCH, Policy(SELECT))), [ONLY_THERE]),
    "behind or": (Policy(policy.Or(BRANCH, Policy(OWNER)), SELECT), [
        f"to the parent {NAME.hex()} and no other, if the command is Sign; "
        "the PIN of the object is proved",
        f"to the parent {NAME.hex()} and no other, if {OWNER_GIVES}",
    ]),
    "both": (Policy(policy.Or(Policy(DUPLICATE), Policy(SELECT))), [FREELY, ONLY_THERE]),
    "neither": (Policy(policy.Or(BRANCH, Policy(OWNER))), []),
    "nothing": (Policy(), []),
}  # fmt: skip


@pytest.mark.parametrize("case", WAYS)
def test_the_ways_out_of_a_policy_are_those_that_say_so(case: str):
    found, expected = WAYS[case]
    assert [way.explain() for way in ways_out(found) or []] == expected


def test_nothing_is_known_of_the_ways_that_others_may_approve():
    authority = templates.ECC_SIGN.replace(unique=public_of(key_of("P-256", 1)).unique)
    assert ways_out(Policy(policy.Authorize(authority))) is None
    assert ways_out(Policy(policy.Or(BRANCH, Policy(policy.Authorize(authority))))) is None


def test_of_a_policy_that_others_may_change_nothing_is_promised(home: Home):
    authority = templates.ECC_SIGN.replace(unique=public_of(key_of("P-256", 1)).unique)
    words, data = told(home, a_file(FREE, policy.Authorize(authority)))
    assert words["moves"].startswith("perhaps")
    assert data["moves_to"] is None


def test_a_policy_that_the_file_does_not_tell_is_unknown(home: Home):
    file = a_file(FREE, policy.PhysicalPresence(), DUPLICATE)
    silent, data = told(home, file.with_policy(()))
    assert silent["moves"].startswith("perhaps: that depends on its policy")
    assert file.public.authPolicy.hex() in silent["policy"]
    assert data["moves_to"] is None


def test_a_policy_that_is_not_the_key_s_is_told_to_be_none(home: Home):
    file = a_file(FREE, policy.PhysicalPresence(), DUPLICATE)
    other = file.with_policy(*write_policy(Policy(SIGN), hash_alg=ALG))
    words, data = told(home, other)
    assert "this is NOT the policy of the key" in words["policy"]
    assert words["moves"].startswith("perhaps")
    assert data["policy_problem"]


def test_a_fixed_key_moves_nowhere_whatever_its_policy(home: Home):
    words, data = told(home, a_file(FREE | FIXED, DUPLICATE))
    assert words["moves"] == "never: it is bound to one TPM and one parent"
    assert data["moves_to"] == []


# --- PIN, parent, kind -------------------------------------------------------------------------


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("empty", [False, True])
def test_what_a_wrong_pin_does(home: Home, empty: bool, counted: bool):
    attributes = FREE if counted else FREE | TPMA_OBJECT.noDA
    words, data = told(home, a_file(attributes, empty_auth=empty))
    assert words["PIN"].startswith("none" if empty else "wanted")
    if not counted:
        assert words["wrong PINs"].startswith("are not counted")
    else:
        assert words["wrong PINs"].startswith("of other keys stop" if empty else "are counted")
    assert (data["pin"], data["counts_wrong_pins"]) == (not empty, counted)


def test_a_key_that_a_pin_does_not_open_is_told_so(home: Home):
    words, data = told(home, a_file(TPMA_OBJECT.sign, policy.AuthValue(), empty_auth=True))
    assert words["PIN"] == "it is used by its policy only"
    assert words["policy"] == "the PIN of the object is proved"
    assert data["pin_suffices"] is False


@pytest.mark.parametrize(
    ("parent", "words"),
    [
        (TPM_RH.OWNER, "the primary key of the owner hierarchy, ECC"),
        (TPM_RH.ENDORSEMENT, "the primary key of the endorsement hierarchy, ECC"),
        (TPM_RH.NULL, "the primary key of the null hierarchy, ECC"),
        (0x81000001, "the persistent key 0x81000001"),
        (0x40000010, "0x40000010, which is no place for a parent"),
    ],
)
def test_a_parent_is_told_by_its_place(home: Home, parent: int, words: str):
    found, data = told(home, a_file(FREE, parent=parent))
    assert found["parent"] == f"{words} of which the file does not tell the Name"
    assert (data["parent"], data["parent_name"]) == (parent, None)


def test_a_wrapped_key_names_the_parent_that_it_is_for(home: Home):
    parent = parent_of(key_of("P-256", 1), cipher())
    words, data = told(home, make_importable(key_of("RSA-2048"), parent))
    assert words["file"].startswith("importable")
    assert object_name(parent).hex() in words["parent"]
    assert data["kind"] == "2.23.133.10.1.4"
    assert words["key"] == "RSA 2048 signing key"


def test_a_key_that_ssh_has_no_use_for_is_told_all_the_same(home: Home):
    public = public_of(key_of("P-224"))
    words, data = told(home, KeyFile(public=public, private=bytes(8), description="ada\x1b[2J"))
    assert words["SSH key"] == "SSH has no use for it"
    assert words["description"] == "ada?[2J"
    assert data["ssh"] is None


# --- the files of others -----------------------------------------------------------------------


@pytest.mark.parametrize("pem", OTHERS, ids=range(len(OTHERS)))
def test_files_of_openssl_tpm2_engine_are_told(home: Home, pem: str):
    words, data = told(home, pem)
    assert data["name"] == object_name(KeyFile.from_pem(pem).public).hex() == words["Name"]
    assert (data["policy"], data["policy_problem"]) != (None, None)
    assert data["public"]["type"]["name"] in ("TPM_ALG_ECC", "TPM_ALG_RSA", "TPM_ALG_KEYEDHASH")


def test_a_key_of_tpm2_openssl_is_told_and_loads(live: Home):
    need("openssl")
    live.run("openssl", "genpkey", "-provider", "tpm2", "-provider", "default", "-algorithm", "EC",
             "-pkeyopt", "group:P-256", "-out", "key.tpm")  # fmt: skip
    words = sections(live.run("tpmwire", "inspect", "--load", "key.tpm"))
    assert words["in this TPM"] == ["it loads"]
    assert words["parent"][1] == "of which the file does not tell the Name"


def test_a_key_of_tpm2_tools_is_told_and_loads(live: Home):
    need("tpm2_encodeobject")
    live.run("tpm2_createprimary", "-Q", "-G", "ecc", "-c", "srk",
             *("-a", "userwithauth|restricted|decrypt|fixedtpm|fixedparent|"
                     "sensitivedataorigin|noda"))  # fmt: skip
    live.run("tpm2_flushcontext", "-t")
    live.run("tpm2_create", "-Q", "-C", "srk", "-G", "ecc256", "-r", "priv", "-u", "pub")
    live.run("tpm2_flushcontext", "-t")
    live.run("tpm2_encodeobject", "-C", "0x40000001", "-u", "pub", "-r", "priv", "-o", "key.tpm")
    live.run("tpm2_flushcontext", "-t")
    live.run("tpm2_flushcontext", "-l")  # it leaves a session behind
    live.run("tpmwire", "inspect", "--load", "key.tpm")


def test_the_der_form_is_read(home: Home):
    file = a_file(FREE)
    (home.path / "key.der").write_bytes(file.to_der())
    data = json.loads(home.run("tpmwire", "inspect", "--json", "key.der"))
    assert data["name"] == object_name(file.public).hex()


# --- before a TPM ------------------------------------------------------------------------------


def load(home: Home, *options: str) -> tuple[int, dict[str, Any]]:
    done = home.attempt("tpmwire", "inspect", "--json", "--load", "key.tpm", *options)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)["load"]


def test_a_key_loads_without_its_pin(live: Home, swtpm: Swtpm):
    live.run("tpmwire-keygen", "-q", "-f", "key", "-N", "1234")
    assert load(live) == (0, {"loads": True, "reason": None})
    live.env["TPMWIRE_TCTI"] = "swtpm:path=nowhere"
    assert load(live, "--tpm", swtpm.conf) == (0, {"loads": True, "reason": None})


def test_a_wrapped_key_is_imported_to_see_whether_it_loads(live: Home):
    live.run("tpmwire-keygen", "-q", "--export-parent", "srk.pub")
    live.run("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", "id")
    live.run("tpmwire-keygen", "-q", "-i", "id", "--wrap-for", "srk.pub", "-f", "key", "-N", "")
    assert load(live) == (0, {"loads": True, "reason": None})
    file = KeyFile.from_pem((live.path / "key.tpm").read_bytes())
    live.write("key.tpm", file.replace(private=bytes(len(file.private))).to_pem())
    code, said = load(live)
    assert (code, said["loads"]) == (1, False)
    assert "not wrapped for this parent" in said["reason"]


def test_without_a_tpm_it_does_not_load(home: Home):
    home.write("key.tpm", a_file(FREE).to_pem())
    code, said = load(home)
    assert (code, said["loads"]) == (1, False)


def test_what_keeps_a_key_from_loading_is_told(live: Home, tmp_path: Path):
    live.run("tpmwire-keygen", "-q", "-f", "key", "-N", "")
    file = KeyFile.from_pem((live.path / "key.tpm").read_bytes())
    live.write(
        "key.tpm", file.replace(private=file.private[:-1] + bytes([file.private[-1] ^ 1])).to_pem()
    )
    assert "the private part is damaged" in load(live)[1]["reason"]
    live.write("key.tpm", file.replace(parent=TPM_RH.ENDORSEMENT).to_pem())
    assert "another key than when it was made" in load(live)[1]["reason"]
    live.write("key.tpm", file.replace(parent=0x81000055).to_pem())
    assert "0x81000055 is not in this TPM" in load(live)[1]["reason"]
    directory = tmp_path / "swtpm"
    directory.mkdir()
    other = start_swtpm(directory)
    try:
        live.write("key.tpm", file.to_pem())
        assert "it is another TPM, or was cleared" in load(live, "--tpm", other.conf)[1]["reason"]
        live.write("key.tpm", file.replace(parent_name=b"").to_pem())
        said = load(live, "--tpm", other.conf)[1]["reason"]
        assert "the blob was not made under this parent" in said
        assert left_loaded(other) == ()
    finally:
        other.process.kill()
        other.process.wait()


# --- what is no key file -----------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "garbage", "0", "-----BEGIN TSS2 PRIVATE KEY-----\n"])
def test_what_is_no_key_file_is_refused(home: Home, content: str):
    home.write("key.tpm", content)
    done = home.attempt("tpmwire", "inspect", "key.tpm")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tpmwire: key.tpm: ")
    assert home.attempt("tpmwire", "inspect", "nowhere").returncode == 1
    assert home.attempt("tpmwire", "inspect").returncode == 2


def test_no_private_octet_is_shown(home: Home):
    file = a_file(FREE).replace(private=bytes(range(0x40, 0x90)))
    home.write("key.tpm", file.to_pem())
    for options in ((), ("--json",)):
        shown = home.run("tpmwire", "inspect", "key.tpm", *options)
        assert bytes(range(0x50, 0x60)).hex() not in shown.lower()
