"""Scenarios for the ESAPI: what tpm2-tools has no word for, and sessions of all kinds."""

import subprocess
from pathlib import Path
from typing import Any

import tpm2_pytss as tss
from tpm2_pytss import ESYS_TR, TPM2_ALG, TPM2_CAP, TPM2_CC, TPM2_SE

from capturing.recorded import Recorded

SIGNS = "userwithauth|sensitivedataorigin|sign"
HOLDS = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt"
STAYS, EXCLUDES, RESETS, DECRYPTS, ENCRYPTS, AUDITS = 0x01, 0x02, 0x04, 0x20, 0x40, 0x80
TEXT = b"To be, or not to be, that is the question"


def _primary(esapi: Recorded, kind: str, attributes: str, auth: bytes = b"") -> Any:
    public = tss.TPM2B_PUBLIC.parse(kind, objectAttributes=attributes)
    sensitive = tss.TPM2B_SENSITIVE_CREATE(tss.TPMS_SENSITIVE_CREATE(userAuth=auth))
    key = esapi.create_primary(sensitive, public)[0]
    esapi.tell_password(key, auth)
    return key


def _session(
    esapi: Recorded,
    kind: str = "HMAC",
    attributes: int = 1,
    key: Any = ESYS_TR.NONE,
    bind: Any = ESYS_TR.NONE,
    xor: Any = None,
) -> Any:
    """Start a session that encrypts with AES, or with XOR and this hash algorithm."""
    cipher = tss.TPMT_SYM_DEF(algorithm=TPM2_ALG.XOR if xor else TPM2_ALG.AES)
    if xor:
        cipher.keyBits.exclusiveOr = xor
    else:
        cipher.keyBits.aes, cipher.mode.aes = 128, TPM2_ALG.CFB
    kind = getattr(TPM2_SE, kind)
    handle = esapi.start_auth_session(key, bind, kind, cipher, TPM2_ALG.SHA256)
    esapi.trsess_set_attributes(handle, attributes)
    return handle


def _from_outside(esapi: Recorded, work: Path) -> Any:
    """Load a key that OpenSSL makes, so that what is encrypted for it can be read later."""
    make = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -outform DER"
    subprocess.run([*make.split(), "-out", work / "key"], check=True)
    content = (work / "key").read_bytes()
    uses = tss.TPMA_OBJECT.DECRYPT | tss.TPMA_OBJECT.USERWITHAUTH
    public = tss.TPM2B_PUBLIC.from_pem(content, objectAttributes=uses)
    key = esapi.load_external(public, tss.TPM2B_SENSITIVE.from_pem(content))
    esapi.keys[bytes(public.get_name()).hex()] = content.hex()
    return key


def sequences(esapi: Recorded, work: Path) -> None:
    """Hashes and HMACs of what comes in parts."""
    sequence = esapi.hash_sequence_start(b"pin", TPM2_ALG.SHA256)
    esapi.refused("sequence_update", sequence, TEXT[:10])
    esapi.tell_password(sequence, b"pin")
    esapi.sequence_update(sequence, TEXT[:10])
    esapi.sequence_update(sequence, b"")
    esapi.refused("event_sequence_complete", ESYS_TR.PCR10, sequence, b"")
    esapi.sequence_complete(sequence, TEXT[10:], ESYS_TR.OWNER)
    esapi.refused("hash_sequence_start", b"", TPM2_ALG.AES)

    sequence = esapi.hash_sequence_start(b"", TPM2_ALG.NULL)
    esapi.sequence_update(sequence, TEXT[:20])
    esapi.refused("sequence_complete", sequence, b"", ESYS_TR.NULL)
    esapi.event_sequence_complete(ESYS_TR.PCR10, sequence, TEXT[20:])
    sequence = esapi.hash_sequence_start(b"", TPM2_ALG.NULL)
    esapi.event_sequence_complete(ESYS_TR.NULL, sequence, TEXT)

    key = _primary(esapi, "hmac:sha384", SIGNS, b"keypin")
    sequence = esapi.hmac_start(key, b"pin", TPM2_ALG.NULL)
    esapi.tell_password(sequence, b"pin")
    esapi.sequence_update(sequence, TEXT[:30])
    esapi.sequence_complete(sequence, TEXT[30:], ESYS_TR.NULL)
    esapi.refused("hmac_start", key, b"pin", TPM2_ALG.SHA1)
    esapi.hmac(key, TEXT, TPM2_ALG.SHA384)


def macs_and_ciphers(esapi: Recorded, work: Path) -> None:
    """TPM2_MAC, which has the code of TPM2_HMAC, and the older TPM2_EncryptDecrypt."""
    key = _primary(esapi, "aes128", SIGNS + "|decrypt", b"pin")
    iv = bytes(range(16))
    cipher, _ = esapi.encrypt_decrypt(key, False, TPM2_ALG.CFB, iv, TEXT)
    esapi.encrypt_decrypt(key, True, TPM2_ALG.CFB, iv, cipher)
    esapi.refused("encrypt_decrypt", key, True, TPM2_ALG.CBC, iv, TEXT)
    esapi.encrypt_decrypt_2(key, False, TPM2_ALG.CFB, iv, TEXT)
    public = tss.TPM2B_PUBLIC.parse("aes128", objectAttributes=SIGNS)
    public.publicArea.parameters.symDetail.sym.mode.sym = 0x3F  # CMAC
    key = esapi.create_primary(tss.TPM2B_SENSITIVE_CREATE(), public)[0]
    esapi.hmac(key, TEXT, TPM2_ALG.NULL)
    sequence = esapi.hmac_start(key, b"", TPM2_ALG.NULL)
    esapi.sequence_update(sequence, TEXT)
    esapi.sequence_complete(sequence, b"", ESYS_TR.NULL)


def refusals(esapi: Recorded, work: Path) -> None:
    """What tpm2-tools would not send: curves and banks that are not there, keys of a wrong kind."""
    for method in ("ecc_parameters", "ec_ephemeral"):
        esapi.refused(method, tss.TPM2_ECC.NONE)
    esapi.ecc_parameters(tss.TPM2_ECC.BN_P256)
    esapi.ec_ephemeral(tss.TPM2_ECC.NIST_P521)
    key = _primary(esapi, "ecc256:ecdh", "userwithauth|sensitivedataorigin|decrypt")
    zero = tss.TPM2B_ECC_POINT(tss.TPMS_ECC_POINT(x=bytes(32), y=bytes(32)))
    esapi.refused("ecdh_zgen", key, zero)
    esapi.ecdh_zgen(key, esapi.ecdh_key_gen(key)[1])
    scheme = tss.TPMT_RSA_DECRYPT(scheme=TPM2_ALG.NULL)
    esapi.refused("rsa_encrypt", key, TEXT, scheme)
    esapi.refused("clear_control", ESYS_TR.LOCKOUT, False)
    esapi.refused("pcr_read", "sm3_256:0")


def platform(esapi: Recorded, work: Path) -> None:
    """What only the platform's firmware does."""
    esapi.set_algorithm_set(1)
    esapi.tell_password(ESYS_TR.PLATFORM, b"wrong")
    esapi.refused("set_algorithm_set", 1)
    esapi.refused("pcr_set_auth_policy", bytes(32), TPM2_ALG.SHA256, ESYS_TR.PCR20)
    esapi.tell_password(ESYS_TR.PLATFORM, b"")
    esapi.pcr_set_auth_value(ESYS_TR.PCR20, b"pin")
    esapi.refused("pcr_set_auth_value", ESYS_TR.PCR0, b"pin")
    esapi.pcr_set_auth_policy(bytes(range(32)), TPM2_ALG.SHA256, ESYS_TR.PCR20)
    esapi.refused("pcr_set_auth_policy", bytes(32), TPM2_ALG.SHA256, ESYS_TR.PCR0)
    commands = tss.TPML_CC([TPM2_CC.Clear, TPM2_CC.ChangeEPS])
    password = ESYS_TR.PASSWORD
    esapi.refused("pp_commands", commands, tss.TPML_CC([]), session1=password)
    esapi.pcr_allocate("sha1:all+sha256:all")
    esapi.get_test_result()
    trial, hmac = _session(esapi, "TRIAL"), _session(esapi)
    methods = ("physical_presence", "password", "auth_value", "restart", "get_digest")
    for method in (f"policy_{method}" for method in methods):
        getattr(esapi, method)(trial)
        esapi.refused(method, hmac)
    for capability, first in {
        TPM2_CAP.PP_COMMANDS: 0x11F,
        TPM2_CAP.AUDIT_COMMANDS: 0x11F,
        TPM2_CAP.PCR_PROPERTIES: 0,
        TPM2_CAP.HANDLES: 0x80000000,
        TPM2_CAP.TPM_PROPERTIES: 0x100,
    }.items():
        esapi.get_capability(capability, first, 20)


def certificates(esapi: Recorded, work: Path) -> None:
    """A certificate that the TPM completes and signs."""
    subprocess.run(["tpm2_certifyX509certutil", "-o", work / "partial"], check=True)
    partial = (work / "partial").read_bytes()
    key = _primary(esapi, "ecc256:ecdsa-sha256:null", SIGNS + "|x509sign", b"pin")
    esapi.certify_x509(key, key, partial)
    esapi.refused("certify_x509", key, key, partial[:-1])


def moves(esapi: Recorded, work: Path) -> None:
    """An object's way from one parent to another, wrapped anew on the way."""
    old, new = _primary(esapi, "ecc256", HOLDS), _primary(esapi, "rsa2048", HOLDS)
    trial = _session(esapi, "TRIAL")
    esapi.policy_command_code(trial, TPM2_CC.Duplicate)
    policy = esapi.policy_get_digest(trial)
    esapi.flush_context(trial)
    public = tss.TPM2B_PUBLIC.parse("ecc:ecdsa", objectAttributes=SIGNS, authPolicy=policy)
    private, public, *_ = esapi.create(old, tss.TPM2B_SENSITIVE_CREATE(), public)
    key = esapi.load(old, private, public)
    session = _session(esapi, "POLICY")
    esapi.policy_command_code(session, TPM2_CC.Duplicate)
    no_cipher = tss.TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.NULL)
    _, duplicate, seed = esapi.duplicate(key, old, b"", no_cipher, session1=session)
    name = esapi.tr_get_name(key)
    wrapped, seed2 = esapi.rewrap(old, new, duplicate, name, seed)
    esapi.refused("rewrap", new, old, duplicate, name, seed2)
    esapi.flush_context(key)
    private = esapi.import_(new, b"", public, wrapped, seed2, no_cipher)
    esapi.load(new, private, public)


def contexts(esapi: Recorded, work: Path) -> None:
    """Contexts of an object, a session and a sequence."""
    key = _primary(esapi, "ecc256:ecdsa", SIGNS, b"pin")
    saved = esapi.context_save(key)
    esapi.flush_context(key)
    esapi.flush_context(esapi.context_load(saved))
    session = _session(esapi)
    saved_session = esapi.context_save(session)
    session = esapi.context_load(saved_session)
    esapi.refused("context_load", saved_session)
    esapi.flush_context(session)
    sequence = esapi.hash_sequence_start(b"", TPM2_ALG.SHA1)
    saved = esapi.context_save(sequence)
    esapi.flush_context(sequence)
    sequence = esapi.context_load(saved)
    esapi.sequence_complete(sequence, TEXT, ESYS_TR.NULL)
    saved.sequence += 1
    esapi.refused("context_load", saved)


def several_sessions(esapi: Recorded, work: Path) -> None:
    """Up to three sessions in a command: authorizing, encrypting, auditing."""
    parent = _primary(esapi, "ecc256", HOLDS, b"parentpin")
    unbound = _session(esapi, attributes=STAYS)
    outside = _from_outside(esapi, work)
    bound = _session(esapi, attributes=STAYS | DECRYPTS, key=outside, bind=parent)
    salted = _session(esapi, attributes=STAYS | ENCRYPTS | AUDITS, key=outside, xor=TPM2_ALG.SHA256)
    esapi.flush_context(outside)

    secret = tss.TPM2B_SENSITIVE_CREATE(tss.TPMS_SENSITIVE_CREATE(userAuth=b"pin"))
    public = tss.TPM2B_PUBLIC.parse("ecc256:ecdsa-sha256:null", objectAttributes=SIGNS)
    three = {"session1": unbound, "session2": bound, "session3": salted}
    private, public, *_ = esapi.create(parent, secret, public, **three)
    key = esapi.load(parent, private, public, **three)
    esapi.tell_password(key, b"pin")
    esapi.get_random(20, session1=salted)
    esapi.stir_random(b"entropy", session1=bound)
    esapi.read_public(key, session1=salted)
    esapi.refused("unseal", key, session1=unbound, session2=salted)
    scheme = tss.TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
    esapi.certify(key, key, b"qualifying", scheme, session1=unbound, session2=bound)
    esapi.quote(key, "sha256:0,1", b"qualifying", scheme, session1=unbound, session2=salted)
    esapi.trsess_set_attributes(unbound, STAYS | DECRYPTS | ENCRYPTS)
    esapi.hash(TEXT, TPM2_ALG.SHA256, ESYS_TR.NULL, session1=unbound)
    index = tss.TPMS_NV_PUBLIC(
        nvIndex=0x01000001, nameAlg=TPM2_ALG.SHA256, attributes=0x00040004, dataSize=8
    )
    esapi.nv_define_space(b"nvpin", tss.TPM2B_NV_PUBLIC(index), session1=unbound)

    for session in (unbound, bound, salted):
        esapi.flush_context(session)

    # The last use of a session, which ends it, and an audit that nothing may come between.
    exclusive = _session(esapi, attributes=STAYS | AUDITS | EXCLUDES)
    esapi.get_random(4, session1=exclusive)
    esapi.get_random(4)
    esapi.refused("get_random", 4, session1=exclusive)
    esapi.trsess_set_attributes(exclusive, STAYS | AUDITS | RESETS)
    esapi.get_random(4, session1=exclusive)
    last = _session(esapi, attributes=ENCRYPTS)
    esapi.get_random(8, session1=last)


def presence(esapi: Recorded, work: Path) -> None:
    """Commands that need somebody at the machine."""
    commands, none = tss.TPML_CC([TPM2_CC.Clear, TPM2_CC.ChangeEPS]), tss.TPML_CC([])
    password = ESYS_TR.PASSWORD
    esapi.pp_commands(commands, none, session1=password)
    esapi.get_capability(TPM2_CAP.PP_COMMANDS, 0x11F, 20)
    esapi.pp_commands(none, commands, session1=password)
    esapi.get_capability(TPM2_CAP.PP_COMMANDS, 0x11F, 20)


SCENARIOS = [
    sequences,
    macs_and_ciphers,
    refusals,
    platform,
    certificates,
    moves,
    contexts,
    several_sessions,
    presence,
]
