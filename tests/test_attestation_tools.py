"""Attestations made by tpm2-tools, verified by us; and their verdict on quotes beside ours."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Swtpm
from programs import attempt, needs_tools, tool

from tpmwire.attestation import (
    Proven,
    verify_certify,
    verify_certify_creation,
    verify_command_audit,
    verify_get_time,
    verify_nv_certify,
    verify_quote,
    verify_session_audit,
)
from tpmwire.attester import Attester
from tpmwire.constants import TPM_ALG, TPM_CC
from tpmwire.errors import AttestationError
from tpmwire.names import object_name
from tpmwire.types import TPMS_ATTEST, TPMS_CREATION_DATA, TPMT_PUBLIC, TPMT_SIGNATURE

pytestmark = needs_tools

OWN = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth"
NONCE = b"\xa5\x01nonce"
ENDORSEMENT, OWNER = bytes.fromhex("4000000b"), bytes.fromhex("40000001")


@dataclass
class Tools:
    """tpm2-tools on a swtpm, an attestation key, and a key to be certified, in a directory."""

    swtpm: Swtpm
    directory: Path
    attester: Attester

    def __call__(self, name: str, *options: str | Path | int) -> str:
        return tool(self.swtpm, name, *options)

    def path(self, name: str) -> Path:
        return self.directory / name

    def signed(self) -> list[str | Path | int]:
        """Options for what is to be signed, and where to put that."""
        return ["-g", "sha256", "-q", NONCE.hex(), *self.kept("-o")]

    def kept(self, signature: str, attest: str = "--attestation") -> list[str | Path | int]:
        return ["-f", "tss", signature, self.path("sig"), attest, self.path("attest")]

    def check(self, verify: Callable[..., Proven], **expected: Any) -> Proven:
        """Verify what the last command has written."""
        signature = TPMT_SIGNATURE.unpack(self.path("sig").read_bytes())
        return verify(self.path("attest").read_bytes(), signature, self.attester, NONCE, **expected)


def public_in(path: Path) -> TPMT_PUBLIC:
    return TPMT_PUBLIC.unpack(path.read_bytes()[2:])


def make_key(swtpm: Swtpm, directory: Path, scheme: str) -> TPMT_PUBLIC:
    """Make a restricted signing key in the endorsement hierarchy: `ak` and its parts."""
    options = ["-C", "e", "-G", scheme, "-a", f"{OWN}|restricted|sign", "-c", directory / "ak"]
    tool(swtpm, "createprimary", "-Q", *options)
    tool(swtpm, "readpublic", "-Q", "-c", directory / "ak", "-f", "tss", "-o", directory / "ak.pub")
    tool(swtpm, "readpublic", "-Q", "-c", directory / "ak", "-f", "pem", "-o", directory / "ak.pem")
    return public_in(directory / "ak.pub")


@pytest.fixture(scope="module")
def tools(swtpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> Tools:
    directory = tmp_path_factory.mktemp("tools")
    public = make_key(swtpm, directory, "ecc256:ecdsa-sha256:null")
    made = Tools(swtpm, directory, Attester(public))
    new = ["-u", made.path("key.pub"), "-r", made.path("key.priv")]
    made("createprimary", "-Q", "-c", made.path("srk"))
    creation = ["--creation-data", made.path("data"), "-d", made.path("hash"), "-t"]
    made("create", "-Q", "-C", made.path("srk"), "-G", "ecc", *new, *creation, made.path("ticket"))
    made("load", "-Q", "-C", made.path("srk"), *new, "-c", made.path("key"))
    return made


def test_a_quote_is_verified(tools: Tools):
    quote = ["-m", tools.path("attest"), "-s", tools.path("sig"), "-f", "tss"]
    tools("pcrextend", "16:sha256=" + "5a" * 32)
    tools("quote", "-c", tools.path("ak"), "-l", "sha256:0,16+sha1:3", "-q", NONCE.hex(), *quote)
    value = hashlib.sha256(bytes(32) + b"\x5a" * 32).digest()
    pcrs = {TPM_ALG.SHA1: {3: bytes(20)}, TPM_ALG.SHA256: {0: bytes(32), 16: value}}
    assert tools.check(verify_quote, pcrs=pcrs)
    tools("pcrreset", "16")


def test_a_certified_key_is_verified(tools: Tools):
    # This tool asks for no data of its own, so it is the answer to an empty nonce.
    options = ["-c", tools.path("key"), "-C", tools.path("ak"), "-g", "sha256"]
    tools("certify", *options, "-f", "tss", "-s", tools.path("sig"), "-o", tools.path("attest"))
    name = object_name(public_in(tools.path("key.pub")))
    attest = TPMS_ATTEST.unpack(tools.path("attest").read_bytes())
    signature = TPMT_SIGNATURE.unpack(tools.path("sig").read_bytes())
    octets = tools.path("attest").read_bytes()
    assert verify_certify(octets, signature, tools.attester, attest.extraData, name=name)
    with pytest.raises(AttestationError, match=r"^extraData"):
        tools.check(verify_certify, name=name)


def test_a_certified_creation_is_verified(tools: Tools):
    keys = ["-C", tools.path("ak"), "-c", tools.path("key")]
    tools(
        "certifycreation", *keys, "-d", tools.path("hash"), "-t", tools.path("ticket"),
        *tools.signed(),
    )  # fmt: skip
    name = object_name(public_in(tools.path("key.pub")))
    data = tools.path("data").read_bytes()
    creation = TPMS_CREATION_DATA.unpack(data[2:])
    assert tools.check(verify_certify_creation, name=name, creation=creation)
    other = creation.replace(outsideInfo=b"other")
    with pytest.raises(AttestationError, match=r"^creationHash: of other circumstances"):
        tools.check(verify_certify_creation, name=name, creation=other)


def test_a_certified_index_is_verified(tools: Tools):
    index = "0x1800002"
    attributes = ["-s", 8, "-a", "authread|authwrite|ownerread|ownerwrite"]
    tools("nvdefine", "-Q", index, *attributes)
    try:
        tools.path("contents").write_bytes(b"contents")
        tools("nvwrite", "-Q", index, "-i", tools.path("contents"))
        printed = tools("nvreadpublic", index)
        name = bytes.fromhex(printed.split("name: ")[1].split()[0])
        where = ["-C", tools.path("ak"), "-c", index, "--size", 6, "--offset", 2]
        tools("nvcertify", *where, *tools.signed(), index)
    finally:
        tools("nvundefine", index)
    assert tools.check(verify_nv_certify, name=name, contents=b"ntents", offset=2)


def test_a_time_is_verified(tools: Tools):
    options = ["-g", "sha256", "-q", NONCE.hex(), *tools.kept("-o")]
    tools("gettime", "-c", tools.path("ak"), *options)
    assert tools.check(verify_get_time)


def audited(alg: TPM_ALG, printed: str) -> bytes:
    """The audit digest of one GetRandom of eight octets, that were printed in hex."""
    code, hash_of = TPM_CC.GetRandom.to_bytes(4, "big"), getattr(hashlib, alg.name.lower())
    cp_hash = hash_of(code + bytes.fromhex("0008")).digest()
    rp_hash = hash_of(bytes(4) + code + bytes.fromhex("0008" + printed.strip())).digest()
    return bytes(hash_of(bytes(len(cp_hash)) + cp_hash + rp_hash).digest())


def test_an_audited_session_is_verified(tools: Tools):
    session = tools.path("session")
    tools("startauthsession", "-Q", "--audit-session", "-S", session)
    printed = tools("getrandom", "-S", session, "--hex", 8)
    options = ["-c", tools.path("ak"), "-g", "sha256", "-q", NONCE.hex(), "-S", session]
    kept = ["-f", "tss", "-s", tools.path("sig"), "-m", tools.path("attest")]
    tools("getsessionauditdigest", *options, *kept)
    tools("flushcontext", session)
    digest = audited(TPM_ALG.SHA256, printed)
    assert tools.check(verify_session_audit, audit_digest=digest)


def test_audited_commands_are_verified(tools: Tools):
    tools("setcommandauditstatus", "TPM2_CC_GetRandom")
    options = ["-c", tools.path("ak"), "-g", "sha256", "-q", NONCE.hex()]
    kept = ["-f", "tss", "-s", tools.path("sig"), "-m", tools.path("attest")]
    try:
        tools("getcommandauditdigest", *options, *kept)
        printed = tools("getrandom", "--hex", 8)
        tools("getcommandauditdigest", *options, *kept)
    finally:
        tools("setcommandauditstatus", "TPM2_CC_GetRandom", "--clear-list")
    attest = TPMS_ATTEST.unpack(tools.path("attest").read_bytes())
    alg = attest.attested.digestAlg
    expected = audited(alg, printed)
    commands = (TPM_CC.SetCommandCodeAuditStatus, TPM_CC.GetRandom)
    assert tools.check(verify_command_audit, alg=alg, commands=commands, audit_digest=expected)


# --- tpm2_checkquote beside ours ---------------------------------------------------------------

SCHEMES = ["ecc256:ecdsa-sha256", "ecc384:ecdsa-sha384", "rsa2048:rsassa-sha256"]


@pytest.fixture(params=SCHEMES)
def quoted(request: Any, swtpm: Swtpm, tmp_path: Path) -> tuple[Tools, TPMS_ATTEST]:
    """A quote with the values of its PCRs, as tpm2_quote writes them."""
    attester = Attester(make_key(swtpm, tmp_path, f"{request.param}:null"))
    tools = Tools(swtpm, tmp_path, attester)
    hash_alg = request.param[-6:]
    written = ["-m", tools.path("attest"), "-s", tools.path("sig"), "-o", tools.path("pcrs")]
    options = ["-l", "sha256:0,10", "-q", NONCE.hex(), "-f", "tss", "-g", hash_alg]
    tools("quote", "-c", tools.path("ak"), *options, *written)
    return tools, TPMS_ATTEST.unpack(tools.path("attest").read_bytes())


def theirs(tools: Tools, nonce: bytes = NONCE) -> bool:
    """The verdict of tpm2_checkquote."""
    files = ["-u", tools.path("ak.pem"), "-m", tools.path("attest"), "-s", tools.path("sig")]
    options = ["-f", tools.path("pcrs"), "-g", scheme_hash(tools), "-q", nonce.hex()]
    return attempt(tools.swtpm, "checkquote", *files, *options).returncode == 0


def scheme_hash(tools: Tools) -> str:
    details = tools.attester.public.parameters.scheme.details
    return str(details.hashAlg.name.lower())


def ours(tools: Tools, **changes: Any) -> str:
    """What our verdict refuses, or nothing."""
    pcrs = {TPM_ALG.SHA256: {0: bytes(32), 10: bytes(32)}}
    octets, nonce = tools.path("attest").read_bytes(), changes.pop("nonce", NONCE)
    try:
        signature = TPMT_SIGNATURE.unpack(tools.path("sig").read_bytes())
        verify_quote(octets, signature, tools.attester, nonce, **{"pcrs": pcrs, **changes})
    except AttestationError as error:
        return error.path
    return ""


def test_both_accept_a_quote_and_refuse_what_is_wrong_with_it(quoted: tuple[Tools, TPMS_ATTEST]):
    tools, attest = quoted
    assert (theirs(tools), ours(tools)) == (True, "")
    assert (theirs(tools, b"other"), ours(tools, nonce=b"other")) == (False, "extraData")

    octets, signature = tools.path("attest").read_bytes(), tools.path("sig").read_bytes()
    tools.path("attest").write_bytes(attest.replace(firmwareVersion=1).pack())
    assert (theirs(tools), ours(tools)) == (False, "signature")
    tools.path("attest").write_bytes(octets)
    tools.path("sig").write_bytes(signature[:-1] + bytes([signature[-1] ^ 1]))
    assert (theirs(tools), ours(tools)) == (False, "signature")
    tools.path("sig").write_bytes(signature)
    assert (theirs(tools), ours(tools)) == (True, "")

    values = tools.path("pcrs").read_bytes()
    wrong = {TPM_ALG.SHA256: {0: b"\1" + bytes(31), 10: bytes(32)}}
    place = values.index(b"\x20\0" + bytes(32)) + 2  # a size in the order of this machine, a value
    tools.path("pcrs").write_bytes(values[:place] + b"\1" + values[place + 1 :])
    assert (theirs(tools), ours(tools, pcrs=wrong)) == (False, "pcrDigest")


def test_both_refuse_a_quote_of_another_key(quoted: tuple[Tools, TPMS_ATTEST], tmp_path: Path):
    tools, _ = quoted
    assert (theirs(tools), ours(tools)) == (True, "")
    other = tmp_path / "other"
    other.mkdir()
    options = ["-C", "o", "-G", "ecc256:ecdsa-sha256:null", "-a", f"{OWN}|restricted|sign"]
    tools("createprimary", "-Q", *options, "-c", other / "ak")
    for form, suffix in (("pem", "ak.pem"), ("tss", "ak.pub")):
        tools("readpublic", "-Q", "-c", other / "ak", "-f", form, "-o", other / suffix)
    for name in ("attest", "sig", "pcrs"):
        (other / name).write_bytes(tools.path(name).read_bytes())
    changed = replace(tools, directory=other, attester=Attester(public_in(other / "ak.pub")))
    assert (theirs(changed), ours(changed)) == (False, "signature")
