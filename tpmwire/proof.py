"""What can be proven of a storage parent in another TPM: by an attestation key, by the EK.

The parent is certified by an attestation key beside it, which proves something to who trusts that
key.  To all others the endorsement key does: who makes a credential for it and the parent's Name
gets the secret back only from the TPM that has both [Part 1, 24].  The Name stands for the whole
public area, so that the parent then has the attributes that it claims; the manufacturer's
certificate says that the endorsement key is in a TPM.
"""

import secrets
from dataclasses import dataclass

from tpmwire.attestation import verify_certify
from tpmwire.attester import Attester
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.authorization import Entity
from tpmwire.client import Tpm
from tpmwire.commands.attestation import Certify
from tpmwire.commands.object import ActivateCredential
from tpmwire.constants import TPM_ALG, TPM_ECC, TPM_RH, TPM_SE
from tpmwire.duplication import Credential, make_credential
from tpmwire.errors import AttestationError
from tpmwire.names import object_name
from tpmwire.objects import LoadedObject
from tpmwire.policy import Policy, Secret
from tpmwire.templates import AES_128_CFB, ecc_public, ecc_sign, rsa_public
from tpmwire.types.algorithms import (
    TPMS_ECC_POINT,
    TPMS_SCHEME_HASH,
    TPMT_ECC_SCHEME,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
)
from tpmwire.types.objects import TPMS_ECC_PARMS, TPMT_PUBLIC

NONCE = b"tpmwire parent"
"""Stands where a nonce would: a certification in a file is of some time, and proves no other."""

_EK = (
    TPMA_OBJECT.fixedTPM
    | TPMA_OBJECT.fixedParent
    | TPMA_OBJECT.sensitiveDataOrigin
    | TPMA_OBJECT.adminWithPolicy
    | TPMA_OBJECT.restricted
    | TPMA_OBJECT.decrypt
)
_EK_DIGEST = Policy(Secret(Entity.permanent(TPM_RH.ENDORSEMENT))).digest(TPM_ALG.SHA256)

EK_TEMPLATES = {
    "ecc": ecc_public(TPM_ECC.NIST_P256, _EK, AES_128_CFB).replace(
        authPolicy=_EK_DIGEST, unique=TPMS_ECC_POINT(x=bytes(32), y=bytes(32))
    ),
    "rsa": rsa_public(2048, _EK, AES_128_CFB).replace(authPolicy=_EK_DIGEST, unique=bytes(256)),
}
"""The default templates of endorsement keys.  [TCG EK Credential Profile 2.5, B.3.3, B.3.4]"""

_ECDSA = TPMT_ECC_SCHEME(scheme=TPM_ALG.ECDSA, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256))
_PLAIN = ecc_sign()
_PARMS: TPMS_ECC_PARMS = _PLAIN.parameters  # type: ignore[assignment]
AK_TEMPLATE = _PLAIN.replace(
    objectAttributes=_PLAIN.objectAttributes | TPMA_OBJECT.restricted | TPMA_OBJECT.noDA,
    parameters=_PARMS.replace(scheme=_ECDSA),
)


@dataclass(frozen=True)
class Certification:
    """What an attestation key says of a parent."""

    key: TPMT_PUBLIC
    octets: bytes
    signature: TPMT_SIGNATURE


def certify(tpm: Tpm, parent: LoadedObject, endorsement_auth: bytes = b"") -> Certification:
    """Certify a parent by the attestation key that this TPM has in its endorsement hierarchy."""
    scheme = TPMT_SIG_SCHEME(scheme=TPM_ALG.NULL)
    with tpm.create_primary(AK_TEMPLATE, TPM_RH.ENDORSEMENT, endorsement_auth) as key:
        command = Certify(
            objectHandle=parent, signHandle=key, qualifyingData=NONCE, inScheme=scheme
        )
        made = tpm.execute_protected(command, parent)
        return Certification(key.public, made.certifyInfo, made.signature)


def check_certification(parent: TPMT_PUBLIC, made: Certification) -> bytes:
    """Check what an attestation key says of a parent; the Name of that key, whose word it is.

    AttestationError tells what is wrong.
    """
    name = object_name(parent)
    verify_certify(made.octets, made.signature, Attester(made.key), NONCE, name=name)
    return object_name(made.key)


def check_attributes(parent: TPMT_PUBLIC) -> None:
    """Check that keys under such a parent are in its TPM and nowhere else; AttestationError."""
    wanted = TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt | TPMA_OBJECT.fixedTPM
    missing = wanted & ~parent.objectAttributes
    if missing:
        names = ", ".join(str(bit.name) for bit in wanted if bit & missing)
        raise AttestationError(f"lacks {names}", "parent.objectAttributes")


def endorsement_key(tpm: Tpm, kind: str, auth: bytes = b"") -> LoadedObject:
    """Make the endorsement key of a default template, to be used as a context manager."""
    return tpm.create_primary(EK_TEMPLATES[kind], TPM_RH.ENDORSEMENT, auth)


def challenge(ek: TPMT_PUBLIC, parent: TPMT_PUBLIC) -> tuple[Credential, bytes]:
    """Make a challenge that only the TPM with both keys can answer, and the answer."""
    answer = secrets.token_bytes(32)
    return make_credential(ek, object_name(parent), answer), answer


def activate_credential(
    tpm: Tpm, ek: LoadedObject, key: LoadedObject, made: Credential, auth: bytes = b""
) -> bytes:
    """Open a credential for a key by the endorsement key, whose policy wants `auth`.

    That is the password of the endorsement hierarchy.  TpmError if it is not for both of these.
    [Part 3, 12.5]
    """
    policy = Policy(Secret(Entity.permanent(TPM_RH.ENDORSEMENT, auth), salt_key=key.salt_key))
    command = ActivateCredential(
        activateHandle=key,
        keyHandle=ek,
        credentialBlob=made.id_object,
        secret=made.encrypted_secret,
    )
    with (
        tpm.session(salt_key=key.salt_key) as session,
        tpm.session(TPM_SE.POLICY, salt_key=key.salt_key) as by_policy,
    ):
        policy.satisfy(tpm, by_policy)
        uses = session.use(encrypt=True, last=True), by_policy.use(last=True)
        return tpm.execute(command, *uses).certInfo
