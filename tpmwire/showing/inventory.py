"""What a TPM is and holds, in words for people and as plain data for programs."""

import enum
from collections.abc import Iterator
from typing import Any

from tpmwire.attributes import TPMA_OBJECT, TPMA_PERMANENT, TPMA_STARTUP_CLEAR
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_ECC, TPM_PT, TPM_RH
from tpmwire.inventory import (
    VENDORS,
    Inventory,
    NvIndex,
    PersistentObject,
    command_code,
)
from tpmwire.lockout import Lockout
from tpmwire.showing.data import Data, named
from tpmwire.showing.words import command_name, flag_words, pcr_numbers, pcr_words
from tpmwire.types.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC

# Where the TCG wants certain things to be.  [Registry of Reserved TPM 2.0 Handles and Localities;
# EK Credential Profile, 2.2]
WELL_KNOWN = {
    0x81000001: "storage root key",
    0x81010001: "endorsement key",
    0x81010002: "endorsement key",
    0x01C00002: "endorsement certificate, RSA 2048",
    0x01C0000A: "endorsement certificate, ECC P-256",
    0x01C00012: "endorsement certificate, RSA 2048",
    0x01C00014: "endorsement certificate, ECC P-256",
    0x01C00016: "endorsement certificate, ECC P-384",
    0x01C00018: "endorsement certificate, ECC P-521",
    0x01C0001A: "endorsement certificate, ECC SM2",
    0x01C0001C: "endorsement certificate, RSA 3072",
    0x01C0001E: "endorsement certificate, RSA 4096",
}

# The handle of each, the bit that tells whether it is enabled, that of its password.
_HIERARCHIES: dict[str, tuple[int, TPMA_STARTUP_CLEAR | None, TPMA_PERMANENT | None]] = {
    "owner": (TPM_RH.OWNER, TPMA_STARTUP_CLEAR.shEnable, TPMA_PERMANENT.ownerAuthSet),
    "endorsement": (
        TPM_RH.ENDORSEMENT,
        TPMA_STARTUP_CLEAR.ehEnable,
        TPMA_PERMANENT.endorsementAuthSet,
    ),
    "platform": (TPM_RH.PLATFORM, TPMA_STARTUP_CLEAR.phEnable, None),
    "lockout": (TPM_RH.LOCKOUT, None, TPMA_PERMANENT.lockoutAuthSet),
}
_PROPERTIES = frozenset(TPM_PT)
_BELOW = "  "
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def inventory_lines(inventory: Inventory) -> Iterator[tuple[str, list[str]]]:
    """Write an inventory: titles, and the lines below each of them."""
    told = inventory.properties
    yield "TPM", [_family(inventory)]
    yield "manufacturer", [_manufacturer(inventory)]
    yield "model", [inventory.model or "not told"]
    yield "firmware", ["{} (0x{:08x} 0x{:08x})".format(_version(inventory), *inventory.firmware)]
    yield "hierarchies", [_hierarchy(inventory, name) for name in _HIERARCHIES]
    yield "guessing", lockout_lines(inventory.lockout)
    if room := _room(told):
        yield "room left for", [room]
    yield (
        "PCR banks",
        [f"{_name(bank.hash, TPM_ALG)}: {pcr_words(bank.pcrSelect)}" for bank in inventory.banks],
    )
    yield "persistent objects", [line for each in inventory.objects for line in _object(each)]
    yield "NV indices", [line for each in inventory.indices for line in _index(each)]
    for title, names in (
        ("algorithms", [_name(each.alg, TPM_ALG) for each in inventory.algorithms]),
        ("curves", [_name(curve, TPM_ECC) for curve in inventory.curves]),
        ("commands", [command_name(command_code(each)) for each in inventory.commands]),
    ):
        yield title, [f"{len(names)}: {', '.join(names)}"] if names else []


def lockout_lines(lockout: Lockout) -> list[str]:
    """Say how the protection against guessing stands."""
    if lockout.interval == 0 and not lockout.locked:
        return ["the protection is off: any number of wrong tries is allowed"]
    interval = duration_words(lockout.interval)
    if lockout.locked:
        again = f"one more try within {interval}" if lockout.interval else "no more tries"
        first = f"LOCKED after {lockout.failures} wrong tries: {again}; keys with noDA still work"
    elif lockout.failures:
        tries = f"{lockout.tries_left} of {lockout.most_failures} tries left"
        first = f"not locked: {tries}, the next one comes back within {interval}"
    else:
        first = f"not locked: all {lockout.most_failures} tries left"
    lasting = f"one wrong try is forgiven every {interval}" if lockout.interval else ""
    recovery = (
        f"for {duration_words(lockout.recovery)}" if lockout.recovery else "until the next restart"
    )
    return [first, *filter(None, [lasting]), f"a wrong lockout password is refused {recovery}"]


def duration_words(seconds: int) -> str:
    """Say how long that is: 2 h, 16 min 40 s."""
    parts = []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts) or "0 s"


def public_words(public: TPMT_PUBLIC) -> str:
    """Say what kind of object a public area is of."""
    parameters, kind = public.parameters, _name(public.type, TPM_ALG)
    if isinstance(parameters, TPMS_RSA_PARMS):
        kind += f" {parameters.keyBits}"
    elif isinstance(parameters, TPMS_ECC_PARMS):
        kind += f" {_name(parameters.curveID, TPM_ECC)}"
    return f"{kind} {_use(public)}"


def _use(public: TPMT_PUBLIC) -> str:
    attributes = public.objectAttributes
    restricted = bool(attributes & TPMA_OBJECT.restricted)
    if attributes & TPMA_OBJECT.sign and attributes & TPMA_OBJECT.decrypt:
        return "key for signing and decryption"
    if attributes & TPMA_OBJECT.decrypt:
        return "storage key" if restricted else "decryption key"
    if attributes & TPMA_OBJECT.sign:
        return "attestation key" if restricted else "signing key"
    return "sealed data" if public.type == TPM_ALG.KEYEDHASH else "key"


def _family(inventory: Inventory) -> str:
    told = inventory.properties
    family = inventory.text(TPM_PT.FAMILY_INDICATOR) or "?"
    revision = told.get(TPM_PT.REVISION, 0)
    words = f"{family}, level {told.get(TPM_PT.LEVEL, 0)}, "
    words += f"revision {revision // 100}.{revision % 100:02}"
    date = inventory.specified_on
    return f"{words} of {date.isoformat()}" if date else words


def _manufacturer(inventory: Inventory) -> str:
    letters = inventory.manufacturer
    name = VENDORS.get(letters, "not a registered one")
    return name if name == letters else f"{name} ({letters})"


def _version(inventory: Inventory) -> str:
    first, second = inventory.firmware
    return ".".join(str(word) for number in (first, second) for word in divmod(number, 0x10000))


def _hierarchy(inventory: Inventory, name: str) -> str:
    state = _hierarchy_data(inventory, name)
    words = [] if state["enabled"] is None else ["enabled" if state["enabled"] else "DISABLED"]
    if state["password"] is not None:
        words.append("a password is set" if state["password"] else "no password is set")
    if state["policy"]:
        words.append("a policy is set")
    return f"{name}: {', '.join(words)}"


def _room(told: dict[int, int]) -> str:
    kinds = (
        ("loaded objects", TPM_PT.HR_TRANSIENT_AVAIL),
        ("loaded sessions", TPM_PT.HR_LOADED_AVAIL),
        ("persistent objects", TPM_PT.HR_PERSISTENT_AVAIL),
    )
    return ", ".join(f"{told[name]} {words}" for words, name in kinds if name in told)


def _object(each: PersistentObject) -> Iterator[str]:
    yield _entry(each.handle, public_words(each.public) if each.public else "not told")
    if each.public:
        yield f"{_BELOW}Name {each.name.hex()}"
        yield f"{_BELOW}{flag_words(each.public.objectAttributes)}"


def _index(each: NvIndex) -> Iterator[str]:
    yield _entry(each.handle, f"{each.public.dataSize} octets" if each.public else "not told")
    if each.public:
        yield f"{_BELOW}{flag_words(each.public.attributes)}"


def _entry(handle: int, words: str) -> str:
    note = f" ({WELL_KNOWN[handle]})" if handle in WELL_KNOWN else ""
    return f"{handle:#010x}  {words}{note}"


def _name(value: int, members: type[enum.IntEnum]) -> str:
    try:
        return members(value).name
    except ValueError:
        return f"{value:#06x}"


# --- for programs --------------------------------------------------------------------------------


def inventory_data(inventory: Inventory) -> dict[str, Any]:
    """Turn an inventory into plain data, ready for JSON; values are as in `showing.data`."""
    told, data = inventory.properties, Data()
    date, letters = inventory.specified_on, inventory.manufacturer
    return {
        "family": inventory.text(TPM_PT.FAMILY_INDICATOR),
        "level": told.get(TPM_PT.LEVEL),
        "revision": told.get(TPM_PT.REVISION),
        "date": date.isoformat() if date else None,
        "manufacturer": {"id": letters, "name": VENDORS.get(letters)},
        "model": inventory.model,
        "firmware": list(inventory.firmware),
        "hierarchies": {name: _hierarchy_data(inventory, name) for name in _HIERARCHIES},
        "lockout": inventory.lockout._asdict() | {"tries_left": inventory.lockout.tries_left},
        "properties": {_property(name): value for name, value in told.items()},
        "banks": {_full(bank.hash): pcr_numbers(bank.pcrSelect) for bank in inventory.banks},
        "objects": [_entity(each, data) for each in inventory.objects],
        "indices": [_entity(each, data) for each in inventory.indices],
        "algorithms": [data.structure(each) for each in inventory.algorithms],
        "curves": [named(curve, TPM_ECC) for curve in inventory.curves],
        "commands": [named(command_code(each), TPM_CC) for each in inventory.commands],
    }


def _hierarchy_data(inventory: Inventory, name: str) -> dict[str, bool | None]:
    handle, enabled, authorized = _HIERARCHIES[name]
    policies = {each.handle: each.policyHash.hashAlg for each in inventory.policies}
    return {
        "enabled": None if enabled is None else bool(inventory.startup_clear & enabled),
        "password": None if authorized is None else bool(inventory.permanent & authorized),
        "policy": policies[handle] != TPM_ALG.NULL if handle in policies else None,
    }


def _entity(each: PersistentObject | NvIndex, data: Data) -> dict[str, Any]:
    return {
        "handle": each.handle,
        "public": data.structure(each.public) if each.public else None,
        "name": each.name.hex() or None,
        "note": WELL_KNOWN.get(each.handle),
    }


def _property(name: int) -> str:
    return f"TPM_PT_{TPM_PT(name).name}" if name in _PROPERTIES else f"{name:#x}"


def _full(alg: int) -> str:
    return f"TPM_ALG_{_name(alg, TPM_ALG)}"
