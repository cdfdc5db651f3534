"""The TSS's ESAPI, through tpm2-pytss, with a record of what it says to the TPM."""

import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import tpm2_pytss as tss
from tpm2_pytss.types import TPM2B_SIMPLE_OBJECT

from capturing.entries import Entry, command_of, response_fields


class Recorded:
    """An ESAPI whose calls make entries; it knows the passwords that it was told."""

    def __init__(self, tpm: Any) -> None:
        self._tpm = tpm
        self.versions = f"(tpm2-pytss {metadata.version('tpm2-pytss')}, {tpm.version})"
        self._esapi = tss.ESAPI(tpm.conf)
        self.entries: list[Entry] = []
        self.auth: dict[str, str] = {}  # the password of each entity, by its Name
        self.keys: dict[str, str] = {}  # the private key of each that came from outside

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            try:
                result = getattr(self._esapi, method)(*args, **named)
            except tss.TSS2_Exception as error:
                print(f"failed: ESAPI.{method}: {error}", file=sys.stderr)
                self._record(method)
                raise
            self._record(method, result)
            return result

        return call

    def refused(self, method: str, *args: Any, **named: Any) -> None:
        """Make a call that has to fail."""
        try:
            getattr(self._esapi, method)(*args, **named)
            print(f"succeeded: ESAPI.{method}", file=sys.stderr)
        except tss.TSS2_Exception:
            pass
        self._record(method)

    def tell_password(self, handle: Any, password: bytes) -> None:
        """Let it authorize with a password from now on."""
        self._esapi.tr_set_auth(handle, password)
        self.auth[bytes(self._esapi.tr_get_name(handle)).hex()] = password.decode()

    def close(self) -> None:
        """Give the TPM free."""
        self._esapi.close()
        self._tpm.exchanges()

    def _record(self, method: str, result: Any = None) -> None:
        for sent, received in self._tpm.exchanges():
            command = command_of(sent)
            own = command.replace("_", "").lower() == method.replace("_", "")
            entry = Entry(command, f"ESAPI.{method} {self.versions}", sent, received, own)
            if own and result is not None and entry.succeeded:  # not one that was tried again
                entry.fields = _fields_of(command, result)
            if command == "StartAuthSession" and result is not None:
                entry.fields["nonceTPM"] = bytes(self._esapi.trsess_get_nonce_tpm(result)).hex()
            self.entries.append(entry)


def _fields_of(command: str, result: Any) -> dict[str, Any]:
    """Read a response's parameters off what the ESAPI returned, which has their order."""
    values = result if isinstance(result, tuple) else (result,)
    values = [value for value in values if not isinstance(value, tss.ESYS_TR)]
    found: dict[str, Any] = {}
    for name, value in zip(response_fields(command), values, strict=False):
        found |= _plain(name, value)
    return found


def _plain(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, TPM2B_SIMPLE_OBJECT):
        return {name: bytes(value).hex()}
    if isinstance(value, int):
        return {name: int(value)}
    if isinstance(value, tss.TPM2B_ECC_POINT):
        return _plain(f"{name}.x", value.point.x) | _plain(f"{name}.y", value.point.y)
    if isinstance(value, tss.TPMT_TK_HASHCHECK | tss.TPMT_TK_CREATION | tss.TPMT_TK_VERIFIED):
        return _plain(f"{name}.tag", value.tag) | _plain(f"{name}.digest", value.digest)
    return {}


def record(scenario: Callable[[Recorded, Path], None], tpm: Any) -> Recorded:
    """Work through a scenario and return the record."""
    tpm.restart()
    esapi = Recorded(tpm)
    try:
        esapi.startup(tss.TPM2_SU.CLEAR)
        scenario(esapi, tpm.work)
    except tss.TSS2_Exception:
        pass  # it is told
    finally:
        esapi.close()
    return esapi


def capture(scenario: Callable[[Recorded, Path], None], tpm: Any) -> Iterator[Entry]:
    """Work through a scenario and yield an entry for each exchange."""
    yield from record(scenario, tpm).entries
