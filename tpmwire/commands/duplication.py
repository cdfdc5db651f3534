"""Moving objects to another parent.  [Part 3, 13]

A duplicate without any wrapper is a TPM2B_SENSITIVE in clear, so none is shown.
"""

from tpmwire.commands.base import DUP, USER, Command, Response
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle, secret
from tpmwire.types.algorithms import TPM2B_ENCRYPTED_SECRET, TPMT_SYM_DEF_OBJECT
from tpmwire.types.interface import TPMI_DH_OBJECT
from tpmwire.types.objects import TPM2B_PRIVATE, TPM2B_PUBLIC
from tpmwire.types.structures import TPM2B_DATA, TPM2B_NAME


class DuplicateResponse(Response):
    """The private part for the new parent, and the inner key if the TPM chose it."""

    encryptionKeyOut: TPM2B_DATA = secret()
    duplicate: TPM2B_PRIVATE = secret()
    outSymSeed: TPM2B_ENCRYPTED_SECRET


class Duplicate(Command[DuplicateResponse], code=TPM_CC.Duplicate):
    """Wrap an object for another parent, or for none, which leaves it in clear.  [Part 3, 13.1]"""

    objectHandle: TPMI_DH_OBJECT = handle(auth=DUP)
    newParentHandle: TPMI_DH_OBJECT = handle()

    encryptionKeyIn: TPM2B_DATA = secret(b"")
    symmetricAlg: TPMT_SYM_DEF_OBJECT


class RewrapResponse(Response):
    """The duplicate, wrapped for the new parent."""

    outDuplicate: TPM2B_PRIVATE = secret()
    outSymSeed: TPM2B_ENCRYPTED_SECRET


class Rewrap(Command[RewrapResponse], code=TPM_CC.Rewrap):
    """Change the outer wrapper of a duplicate, whose inside stays closed.  [Part 3, 13.2]"""

    oldParent: TPMI_DH_OBJECT = handle(auth=USER)
    newParent: TPMI_DH_OBJECT = handle()

    inDuplicate: TPM2B_PRIVATE = secret()
    name: TPM2B_NAME
    inSymSeed: TPM2B_ENCRYPTED_SECRET


class ImportResponse(Response):
    """The private part, encrypted for its new parent, to be loaded with TPM2_Load."""

    outPrivate: TPM2B_PRIVATE


class Import(Command[ImportResponse], code=TPM_CC.Import):
    """Take a duplicate in under its new parent.  [Part 3, 13.3]"""

    parentHandle: TPMI_DH_OBJECT = handle(auth=USER)

    encryptionKey: TPM2B_DATA = secret(b"")
    objectPublic: TPM2B_PUBLIC
    duplicate: TPM2B_PRIVATE = secret()
    inSymSeed: TPM2B_ENCRYPTED_SECRET
    symmetricAlg: TPMT_SYM_DEF_OBJECT
