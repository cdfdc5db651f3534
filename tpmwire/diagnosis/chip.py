"""The TPM itself: its health, its lockout, and the key that is parent to others."""

from collections.abc import Iterator

from tpmwire import roca
from tpmwire.attributes import TPMA_PERMANENT, TPMA_STARTUP_CLEAR
from tpmwire.client import Tpm
from tpmwire.commands.testing import GetTestResult
from tpmwire.constants import TPM_RC
from tpmwire.diagnosis.finding import Finding, fine, note, problem, warning
from tpmwire.errors import TpmError
from tpmwire.inventory import VENDORS, Inventory, PersistentObject
from tpmwire.objects import is_storage
from tpmwire.parents import PERSISTENT_SRK
from tpmwire.types.objects import TPMS_RSA_PARMS, TPMT_PUBLIC

SUBJECT = "TPM"

RESTART = "switch the machine off and on; if that does not help, the chip or its firmware is broken"

_HEALTHY = (TPM_RC.SUCCESS, TPM_RC.NEEDS_TEST, TPM_RC.TESTING)
_PERSIST = (
    "tpm2_createprimary -C o -G ecc -c srk.ctx && tpm2_evictcontrol -C o -c srk.ctx "
    f"{PERSISTENT_SRK:#x}; keys that are made from then on have it as parent"
)
_UPDATE = "update the TPM's firmware by the vendor of the machine; then make new keys"


def check_health(tpm: Tpm) -> Iterator[Finding]:
    """Ask the TPM how its self-test went; one that failed answers hardly anything else."""
    try:
        code = tpm.execute(GetTestResult()).testResult
    except TpmError as error:
        yield problem(SUBJECT, f"it does not tell how its self-test went: {error}", RESTART)
        return
    if code not in _HEALTHY:
        name = f"TPM_RC_{code.name}" if isinstance(code, TPM_RC) else f"{code:#x}"
        yield problem(SUBJECT, f"it is in failure mode: the self-test ended with {name}", RESTART)


RESTART = "switch the machine off and on; if that does not help, the chip or its firmware is broken"


def check_identity(inventory: Inventory) -> Iterator[Finding]:
    """Tell which TPM it is, and whether it makes weak keys."""
    firmware, letters = inventory.firmware[0], inventory.manufacturer
    version = f"firmware {firmware >> 16}.{firmware & 0xFFFF}"
    name = " ".join(filter(None, (VENDORS.get(letters, letters), inventory.model, version)))
    if roca.is_affected(letters, firmware):
        yield problem(
            SUBJECT, f"{name}: it makes RSA keys that can be computed (CVE-2017-15361)", _UPDATE
        )
    else:
        yield fine(SUBJECT, f"{name} answers")
    for one in inventory.objects:
        yield from _check_modulus(one)


def is_weak(public: TPMT_PUBLIC) -> bool:
    """Tell whether a key is an RSA key whose private part can be computed."""
    if not isinstance(public.parameters, TPMS_RSA_PARMS) or not isinstance(public.unique, bytes):
        return False
    return roca.is_weak(int.from_bytes(public.unique, "big"))


def _check_modulus(one: PersistentObject) -> Iterator[Finding]:
    if one.public is not None and is_weak(one.public):
        yield problem(
            *(SUBJECT, f"the key at {one.handle:#010x} can be computed (CVE-2017-15361)"),
            f"{_UPDATE}, also those that it is parent to",
        )


def check_lockout(inventory: Inventory) -> Iterator[Finding]:
    """Tell how many wrong PINs are left, and what happens to them."""
    state = inventory.lockout
    if state.locked or not state.tries_left:
        yield problem(
            *(SUBJECT, f"it is locked because of wrong PINs: {state.wait}"),
            "wait, or 'tpm2_dictionarylockout --clear-lockout' with the password of the lockout",
        )
    elif state.failures:
        tries = f"{state.tries_left} of {state.most_failures} tries left"
        text = f"wrong PINs were given: {tries}, {state.wait}"
        if state.tries_left == 1:
            yield warning(SUBJECT, text, "wait, or give none but the right PIN: another locks it")
        else:
            yield note(SUBJECT, text)
    else:
        yield fine(SUBJECT, f"not locked, {state.most_failures} wrong PINs lock it")
    if not state.interval:
        yield warning(
            *(SUBJECT, "it forgives no wrong PIN by itself"),
            "'tpm2_dictionarylockout --setup-parameters' sets after how long it does",
        )
    if not inventory.permanent & TPMA_PERMANENT.lockoutAuthSet:
        yield note(
            *(SUBJECT, "the lockout has no password: who may use the TPM can go on guessing PINs"),
            "tpm2_changeauth -c lockout file:FILE; only who knows it can clear a lockout then",
        )


def check_parent(inventory: Inventory, seconds: float | None) -> Iterator[Finding]:
    """Look for a storage root key; `seconds` is how long it takes to make one, if that is known."""
    srk = next((one for one in inventory.objects if one.handle == PERSISTENT_SRK), None)
    if srk is not None and srk.public is not None and is_storage(srk.public):
        yield fine(SUBJECT, f"a storage key is at {PERSISTENT_SRK:#010x}")
        return
    cost = "" if seconds is None else f", which takes {seconds * 1000:.0f} ms here"
    yield note(
        *(SUBJECT, f"no storage key at {PERSISTENT_SRK:#010x}: one is made for each use{cost}"),
        _PERSIST,
    )
    if inventory.permanent & TPMA_PERMANENT.ownerAuthSet:
        yield warning(
            *(SUBJECT, "the owner has a password, which is wanted to make a storage key"), _PERSIST
        )
    if not inventory.startup_clear & TPMA_STARTUP_CLEAR.shEnable:
        yield problem(
            *(SUBJECT, "the owner hierarchy is disabled, so no key of it works"),
            "enable it in the firmware set-up",
        )
