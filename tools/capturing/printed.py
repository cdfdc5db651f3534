"""What a program of tpm2-tools printed or wrote about a response: the fields to compare with."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Fields = dict[str, Any]

HMAC, RSA = b"\0\x05", (b"\0\x14", b"\0\x16")  # algorithms, as they begin a TPMT_SIGNATURE
RSA_SIZES = (128, 256, 384)
DER_SEQUENCE = 0x30


def fields_of(command: str, words: list[str], printed: str, work: Path) -> Fields:
    """Read them; `words` are the program and its arguments, `printed` its standard output."""
    found = PRINTED[command](printed, words) if command in PRINTED else {}
    for field, option, read in FILES.get(command, []):
        if option in words:
            found |= read(field, (work / words[words.index(option) + 1]).read_bytes())
    return {field: value for field, value in found.items() if value not in (None, "", [])}


def _octets(field: str, content: bytes) -> Fields:
    return {field: content.hex()}


def _sized(field: str, content: bytes) -> Fields:
    return {field: content[2 : 2 + int.from_bytes(content[:2])].hex()}


def _number(field: str, content: bytes) -> Fields:
    return {field: int.from_bytes(content)}


def _point(field: str, content: bytes) -> Fields:
    x = content[4 : 4 + int.from_bytes(content[2:4])]
    return {f"{field}.x": x.hex(), f"{field}.y": content[6 + len(x) :].hex()}


def _ticket(field: str, content: bytes) -> Fields:
    found = {f"{field}.tag": int.from_bytes(content[:2])}
    found[f"{field}.hierarchy"] = int.from_bytes(content[2:6])
    return found | _sized(f"{field}.digest", content[6:])


def _credential(field: str, content: bytes) -> Fields:
    rest = content[8:]  # a magic number and a version
    blob = 2 + int.from_bytes(rest[:2])
    return _sized("credentialBlob", rest) | _sized("secret", rest[blob:])


def _curve(field: str, content: bytes) -> Fields:
    found = {f"{field}.curveID": int.from_bytes(content[:2])}
    found[f"{field}.keySize"] = int.from_bytes(content[2:4])
    rest = content[10:]  # a scheme with a hash algorithm, and one without
    for name in ("p", "a", "b", "gX", "gY", "n", "h"):
        found |= _sized(f"{field}.{name}", rest)
        rest = rest[2 + int.from_bytes(rest[:2]) :]
    return found


def _signature(field: str, content: bytes) -> Fields:
    """Read a TPMT_SIGNATURE, or what `-f plain` makes of it."""
    if len(content) in RSA_SIZES:
        return {f"{field}.signature.sig": content.hex()}
    if content[0] == DER_SEQUENCE:
        first, second = content[4:][: content[3]], content[4 + content[3] + 2 :]
        size = max(len(number.lstrip(b"\0")) for number in (first, second)) + 15 & ~15
        padded = [number.lstrip(b"\0").rjust(size, b"\0").hex() for number in (first, second)]
        return {
            f"{field}.signature.signatureR": padded[0],
            f"{field}.signature.signatureS": padded[1],
        }
    found: Fields = {f"{field}.sigAlg": int.from_bytes(content[:2])}
    if content[:2] == HMAC:
        return found | {f"{field}.signature.digest": content[4:].hex()}
    found[f"{field}.signature.hash"] = int.from_bytes(content[2:4])
    if content[:2] in RSA:
        return found | _sized(f"{field}.signature.sig", content[4:])
    second = content[6 + int.from_bytes(content[4:6]) :]
    found |= _sized(f"{field}.signature.signatureR", content[4:])
    return found | _sized(f"{field}.signature.signatureS", second)


# Which option names the file that a field of the response is written to, and how it stands there.
_CREATED = [("creationHash", "-d", _sized), ("creationTicket", "-t", _ticket)]
_AUTHORIZED = [("timeout", "--timeout", _octets), ("policyTicket", "--ticket", _ticket)]
FILES: dict[str, list[tuple[str, str, Callable[[str, bytes], Fields]]]] = {
    "ActivateCredential": [("certInfo", "-o", _octets)],
    "Certify": [("certifyInfo", "-o", _octets), ("signature", "-s", _signature)],
    "CertifyCreation": [("certifyInfo", "--attestation", _octets), ("signature", "-o", _signature)],
    "Commit": [
        ("K", "--eccpoint-K", _point),
        ("L", "--eccpoint-L", _point),
        ("E", "-u", _point),
        ("counter", "-t", _number),
    ],
    "Create": [("outPrivate", "-r", _sized), *_CREATED],
    "CreateLoaded": [("outPrivate", "-r", _sized)],
    "CreatePrimary": _CREATED,
    "Duplicate": [
        ("encryptionKeyOut", "-o", _octets),
        ("duplicate", "-r", _sized),
        ("outSymSeed", "-s", _sized),
    ],
    "ECDH_KeyGen": [("zPoint", "-o", _point), ("pubPoint", "-u", _point)],
    "ECDH_ZGen": [("outPoint", "-o", _point)],
    "ECC_Parameters": [("parameters", "-o", _curve)],
    "EC_Ephemeral": [("Q", "-u", _point), ("counter", "-t", _number)],
    "EncryptDecrypt2": [("outData", "-o", _octets)],
    "GetCommandAuditDigest": [("auditInfo", "-m", _octets), ("signature", "-s", _signature)],
    "GetSessionAuditDigest": [("auditInfo", "-m", _octets), ("signature", "-s", _signature)],
    "GetTime": [("timeInfo", "--attestation", _octets), ("signature", "-o", _signature)],
    "HMAC": [("outHMAC", "-o", _octets)],
    "Hash": [("outHash", "-o", _octets), ("validation", "-t", _ticket)],
    "Import": [("outPrivate", "-r", _sized)],
    "MakeCredential": [("", "-o", _credential)],
    "NV_Certify": [("certifyInfo", "--attestation", _octets), ("signature", "-o", _signature)],
    "NV_Read": [("data", "-o", _octets)],
    "ObjectChangeAuth": [("outPrivate", "-r", _sized)],
    "PolicyGetDigest": [("policyDigest", "-o", _octets)],
    "PolicySecret": _AUTHORIZED,
    "PolicySigned": _AUTHORIZED,
    "Quote": [("quoted", "-m", _octets), ("signature", "-s", _signature)],
    "RSA_Decrypt": [("message", "-o", _octets)],
    "RSA_Encrypt": [("outData", "-o", _octets)],
    "SequenceComplete": [("result", "-o", _octets), ("validation", "-t", _ticket)],
    "Sign": [("signature", "-o", _signature)],
    "Unseal": [("outData", "-o", _octets)],
    "VerifySignature": [("validation", "-t", _ticket)],
    "ZGen_2Phase": [("outZ1", "--output-Z1", _point), ("outZ2", "--output-Z2", _point)],
}


def _public(printed: str, words: list[str]) -> Fields:
    """Read a public area."""
    found: Fields = {}
    for key, field in {
        "name-alg": "nameAlg",
        "attributes": "objectAttributes",
        "type": "type",
    }.items():
        if value := re.search(rf"^{key}:\n(?:  .*\n)*?  raw: (0x[0-9a-f]+)$", printed, re.M):
            found[f"outPublic.{field}"] = int(value[1], 16)
    for key, field in {"x": "unique.x", "y": "unique.y", "rsa": "unique"}.items():
        found[f"outPublic.{field}"] = _hex_after(key, printed)
    return found | _name(printed, words)


def _name(printed: str, words: list[str]) -> Fields:
    names = {"name": "name", "qualifiedName": "qualified name"}
    return {field: _hex_after(key, printed) for field, key in names.items()}


def _hex_after(key: str, printed: str) -> str | None:
    found = re.search(rf"^ *{key}: ([0-9a-f]+)$", printed, re.M)
    return found and found[1]


def _number_after(key: str, printed: str) -> int | None:
    found = re.search(rf"^ *{key}: (\w+)$", printed, re.M)
    return found and int(found[1], 0)


def _capabilities(printed: str, words: list[str]) -> Fields:
    patterns = {
        "algorithms": (".alg", r"^  value: +(0x\w+)"),
        "ecc-curves": ("", r": (0x\w+)$"),
        "handles": ("", r"^- (0x\w+)$"),
    }
    group = words[-1] if words[-1] in patterns else words[-1].partition("-")[0]
    if group not in patterns:
        return {}
    field, pattern = patterns[group]
    return {
        f"capabilityData.data.*{field}": [int(v, 16) for v in re.findall(pattern, printed, re.M)]
    }


def _clock(printed: str, words: list[str]) -> Fields:
    found: Fields = {"currentTime.time": _number_after("time", printed)}
    names = {"clock": "clock", "resetCount": "reset_count", "restartCount": "restart_count"}
    for field, key in names.items():
        found[f"currentTime.clockInfo.{field}"] = _number_after(key, printed)
    return found


def _nv_public(printed: str, words: list[str]) -> Fields:
    found: Fields = {"nvName": _hex_after("name", printed)}
    if index := re.match(r"0x\w+", printed):
        found["nvPublic.nvIndex"] = int(index[0], 16)
    values = re.findall(r"^    value: (0x\w+)$", printed, re.M)
    names = ("nvPublic.nameAlg", "nvPublic.attributes")
    found |= {name: int(value, 16) for name, value in zip(names, values, strict=False)}
    return found | {"nvPublic.dataSize": _number_after("size", printed)}


def _digests(field: str) -> Callable[[str, list[str]], Fields]:
    def read(printed: str, words: list[str]) -> Fields:
        return {f"{field}.*.digest": re.findall(r"^\w+: ([0-9a-f]+)$", printed, re.M)}

    return read


def _pcrs(printed: str, words: list[str]) -> Fields:
    values = re.findall(r"^ +\d+ *: 0x([0-9A-F]+)$", printed, re.M)
    return {"pcrValues.*": [value.lower() for value in values]}


# What a program prints.
PRINTED: dict[str, Callable[[str, list[str]], Fields]] = {
    "Create": _public,
    "CreateLoaded": _public,
    "CreatePrimary": _public,
    "EventSequenceComplete": _digests("results"),
    "GetCapability": _capabilities,
    "GetRandom": lambda printed, words: {"randomBytes": printed.strip()},
    "Load": _name,
    "LoadExternal": _name,
    "NV_ReadPublic": _nv_public,
    "PCR_Event": _digests("digests"),
    "PCR_Read": _pcrs,
    "ReadClock": _clock,
    "ReadPublic": _public,
}
