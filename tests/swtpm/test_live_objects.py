"""Objects: made, loaded, moved, used as credentials, put away.  [Part 3, 12-13, 28]"""

import pytest
from claims import runs
from keys import ECDSA, FREE, ecc_pair, verify
from plain import session, sha256

from tpmwire import templates
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.authorization import PasswordSession
from tpmwire.client import LoadedObject, Tpm
from tpmwire.commands import (
    ActivateCredential,
    ContextLoad,
    ContextSave,
    Create,
    CreateLoaded,
    CreatePrimary,
    Duplicate,
    EvictControl,
    FlushContext,
    Import,
    Load,
    LoadExternal,
    MakeCredential,
    ObjectChangeAuth,
    PolicyCommandCode,
    ReadPublic,
    Rewrap,
    Sign,
    Unseal,
)
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_RH
from tpmwire.errors import TpmError
from tpmwire.names import object_name
from tpmwire.types import (
    TPMS_KEYEDHASH_PARMS,
    TPMS_SENSITIVE_CREATE,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_SYM_DEF_OBJECT,
)

DATA = b"To be, or not to be"
SEALED = TPMT_PUBLIC(
    type=TPM_ALG.KEYEDHASH,
    nameAlg=TPM_ALG.SHA256,
    objectAttributes=TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent | TPMA_OBJECT.userWithAuth,
    parameters=TPMS_KEYEDHASH_PARMS(scheme=TPMT_KEYEDHASH_SCHEME(scheme=TPM_ALG.NULL)),
    unique=b"",
)
NO_CIPHER = TPMT_SYM_DEF_OBJECT(algorithm=TPM_ALG.NULL)
PERSISTENT = 0x81000001


def signs(tpm: Tpm, key: LoadedObject, public: TPMT_PUBLIC) -> None:
    """Check that a loaded key has the private part of `public`."""
    verify(public, key.sign(sha256(DATA), ECDSA), DATA)


@runs(CreatePrimary, Create, Load, ReadPublic, Sign, FlushContext)
def test_a_key_made_under_a_parent_signs_and_is_named_by_its_public_area(tpm: Tpm):
    with tpm.create_primary(templates.ECC_SRK) as parent:
        made = parent.create(templates.ECC_SIGN)
        with parent.load(made.outPrivate, made.outPublic) as key:
            read = tpm.execute(ReadPublic(objectHandle=key))
            assert read.outPublic == made.outPublic
            assert read.name == b"\x00\x0b" + sha256(made.outPublic.pack())
            above = tpm.execute(ReadPublic(objectHandle=parent)).qualifiedName
            assert above == b"\x00\x0b" + sha256(TPM_RH.OWNER.to_bytes(4, "big"), parent.name)
            assert read.qualifiedName == b"\x00\x0b" + sha256(above, read.name)
            signs(tpm, key, made.outPublic)


@runs(Create, Load, Unseal)
def test_sealed_data_comes_out_for_its_pin_only(tpm: Tpm):
    with tpm.create_primary(templates.ECC_SRK) as parent:
        sealed = SEALED.replace(objectAttributes=SEALED.objectAttributes | TPMA_OBJECT.noDA)
        made = parent.create(sealed, auth=b"pin", data=DATA)
        with parent.load(made.outPrivate, made.outPublic) as item:
            assert tpm.execute(Unseal(itemHandle=item), PasswordSession(b"pin")).outData == DATA
            with pytest.raises(TpmError, match=r"TPM_RC_BAD_AUTH \(session 1\) from Unseal"):
                tpm.execute(Unseal(itemHandle=item), PasswordSession(b"pin2"))


@runs(LoadExternal, Sign)
def test_a_key_from_outside_signs_as_its_owner_would(tpm: Tpm):
    pair = ecc_pair(TPMA_OBJECT.sign)
    with pair.load(tpm) as key:
        signs(tpm, key, pair.public)


@runs(ObjectChangeAuth)
def test_a_changed_pin_works_and_the_old_one_does_not(tpm: Tpm):
    template = templates.without_lockout(templates.ECC_SIGN)
    with tpm.create_primary(templates.ECC_SRK) as parent:
        made = parent.create(template, auth=b"old")
        with parent.load(made.outPrivate, made.outPublic, auth=b"old") as key:
            change = ObjectChangeAuth(objectHandle=key, parentHandle=parent, newAuth=b"new")
            changed = tpm.execute(change, PasswordSession(b"old")).outPrivate
        with parent.load(changed, made.outPublic, auth=b"new") as key:
            signs(tpm, key, made.outPublic)
            with pytest.raises(TpmError, match="TPM_RC_BAD_AUTH"):
                tpm.execute(Sign(keyHandle=key, digest=sha256(DATA)), PasswordSession(b"old"))


@runs(CreateLoaded)
def test_a_key_is_made_and_loaded_in_one_go(tpm: Tpm):
    with tpm.create_primary(templates.ECC_SRK) as parent:
        command = CreateLoaded(
            parentHandle=parent,
            inSensitive=TPMS_SENSITIVE_CREATE(userAuth=b"pin"),
            inPublic=templates.ECC_SIGN.pack(),
        )
        made = tpm.execute(command)
        with tpm.adopt(made.objectHandle, made.outPublic, made.name, b"pin") as key:
            signs(tpm, key, made.outPublic)
        with parent.load(made.outPrivate, made.outPublic, auth=b"pin") as key:
            signs(tpm, key, made.outPublic)


@runs(MakeCredential, ActivateCredential)
def test_a_credential_opens_for_the_named_key_beside_its_parent_only(tpm: Tpm):
    with (
        # First, as a secret that is loaded wants room for a key to hide it with.
        ecc_pair(TPMA_OBJECT.sign).load(tpm) as other,
        tpm.create_primary(templates.ECC_SRK) as parent,
        tpm.create_primary(templates.ECC_SIGN) as key,
    ):
        made = tpm.execute(MakeCredential(handle=parent, credential=DATA, objectName=key.name))
        command = ActivateCredential(
            activateHandle=key,
            keyHandle=parent,
            credentialBlob=made.credentialBlob,
            secret=made.secret,
        )
        assert tpm.execute(command).certInfo == DATA
        with pytest.raises(TpmError, match="TPM_RC_INTEGRITY"):
            tpm.execute(command.replace(activateHandle=other))


@runs(EvictControl)
def test_a_persistent_object_stays_until_it_is_evicted(tpm: Tpm):
    with tpm.create_primary(templates.ECC_SIGN) as key:
        public = key.public
        evict = EvictControl(
            auth=TPM_RH.OWNER, objectHandle=key.handle, persistentHandle=PERSISTENT
        )
        tpm.execute(evict)
    kept = tpm.persistent(PERSISTENT)
    signs(tpm, kept, public)
    with (
        pytest.raises(TpmError, match="TPM_RC_NV_DEFINED"),
        kept._tpm.create_primary(templates.ECC_SIGN) as again,
    ):
        tpm.execute(evict.replace(objectHandle=again))
    tpm.execute(evict.replace(objectHandle=PERSISTENT))
    with pytest.raises(TpmError, match="TPM_RC_HANDLE"):
        tpm.persistent(PERSISTENT)


@runs(ContextSave, ContextLoad, FlushContext)
def test_a_saved_object_is_loaded_again_but_not_with_a_wound(tpm: Tpm):
    with tpm.create_primary(templates.ECC_SIGN) as key:
        public = key.public
        saved = tpm.execute(ContextSave(saveHandle=key)).context
    assert saved.hierarchy is TPM_RH.OWNER
    handle = tpm.execute(ContextLoad(context=saved)).loadedHandle
    with tpm.adopt(handle, public, object_name(public)) as key:
        signs(tpm, key, public)
    wounded = saved.contextBlob[:-1] + bytes([saved.contextBlob[-1] ^ 1])
    with pytest.raises(TpmError, match=r"TPM_RC_INTEGRITY \(parameter 1\) from ContextLoad"):
        tpm.execute(ContextLoad(context=saved.replace(contextBlob=wounded)))


@runs(Duplicate, Rewrap, Import, Load, PolicyCommandCode)
def test_a_key_goes_from_parent_to_parent_and_is_the_same_at_the_end(tpm: Tpm):
    policy = sha256(
        bytes(32), TPM_CC.PolicyCommandCode.to_bytes(4, "big"), TPM_CC.Duplicate.to_bytes(4, "big")
    )
    template = templates.ECC_SIGN.replace(
        objectAttributes=FREE | TPMA_OBJECT.sensitiveDataOrigin | TPMA_OBJECT.sign,
        authPolicy=policy,
    )
    third = templates.ECC_SRK.replace(authPolicy=bytes(32))  # another template, another key
    with tpm.create_primary(templates.ECC_SRK) as old, tpm.create_primary(third) as new:
        made = old.create(template)
        with old.load(made.outPrivate, made.outPublic) as key, session(tpm) as allowed:
            tpm.execute(PolicyCommandCode(policySession=allowed, code=TPM_CC.Duplicate))
            duplicate = Duplicate(objectHandle=key, newParentHandle=old, symmetricAlg=NO_CIPHER)
            out = tpm.execute(duplicate, allowed)
        rewrap = Rewrap(
            oldParent=old,
            newParent=new,
            inDuplicate=out.duplicate,
            name=object_name(made.outPublic),
            inSymSeed=out.outSymSeed,
        )
        wrapped = tpm.execute(rewrap)
        imported = Import(
            parentHandle=new,
            objectPublic=made.outPublic,
            duplicate=wrapped.outDuplicate,
            inSymSeed=wrapped.outSymSeed,
            symmetricAlg=NO_CIPHER,
        )
        with pytest.raises(TpmError, match="from Import"):
            tpm.execute(imported.replace(parentHandle=old))
        private = tpm.execute(imported).outPrivate
        with new.load(private, made.outPublic) as key:
            signs(tpm, key, made.outPublic)


@runs(Duplicate)
def test_a_duplicate_without_a_wrapper_is_the_secret_in_clear(tpm: Tpm):
    policy = sha256(
        bytes(32), TPM_CC.PolicyCommandCode.to_bytes(4, "big"), TPM_CC.Duplicate.to_bytes(4, "big")
    )
    template = SEALED.replace(objectAttributes=FREE, authPolicy=policy)
    with tpm.create_primary(templates.ECC_SRK) as parent:
        made = parent.create(template, data=DATA)
        with parent.load(made.outPrivate, made.outPublic) as item, session(tpm) as allowed:
            tpm.execute(PolicyCommandCode(policySession=allowed, code=TPM_CC.Duplicate))
            duplicate = Duplicate(
                objectHandle=item, newParentHandle=TPM_RH.NULL, symmetricAlg=NO_CIPHER
            )
            assert DATA in tpm.execute(duplicate, allowed).duplicate
