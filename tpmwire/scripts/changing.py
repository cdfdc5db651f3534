"""Changing the PIN of a key."""

import argparse
import contextlib
import os
from dataclasses import dataclass, field

import tpmwire
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.constants import TPM_CC, TPM_RC
from tpmwire.digests import digest_size
from tpmwire.errors import KeyFileError, TpmError
from tpmwire.keyfile import LEGACY_LOADABLE, LOADABLE, KeyFile
from tpmwire.lockout import Lockout
from tpmwire.parents import load, open_parent
from tpmwire.scripts import console, files, parentage, pins, prompts, storing
from tpmwire.scripts.console import UsageError, UserError

_LAST_TRY = "one more wrong PIN locks the TPM"
_NEW = pins.Questions("Enter new PIN (empty for no PIN): ", "Enter same PIN again: ")


@dataclass(frozen=True)
class Change:
    """The PINs of a key, before and after."""

    old: bytes = field(repr=False)
    new: bytes = field(repr=False)


def run(options: argparse.Namespace) -> int:
    """Change the PIN of a key as the command line says."""
    path = storing.chosen(options)
    key = storing.read(path)
    _check(key)
    asked = options.new_pin is None or (options.old_pin is None and not key.empty_auth)
    if asked and not prompts.can_ask_pin():
        raise UsageError("nobody to ask for PINs: give them with -P and -N, or by files")
    files.check_directory(os.path.realpath(path))
    change = _change(options, key)
    if change.new and key.empty_auth:
        _check_use(key)
    changed = parentage.under(
        key.parent, options, lambda auth: _changed(options, key, change, auth)
    )
    storing.rewrite(path, changed)
    if not options.quiet:
        console.report(options.program, _news(path, change, changed))
    return 0


def change_pin(tpm: Tpm, key: KeyFile, change: Change, parent_auth: bytes | None = None) -> KeyFile:
    """Have the TPM make a private part with another PIN, and see whether it can load that."""
    parent = open_parent(
        *(tpm, key.parent), rsa=key.rsa_parent, auth=parent_auth, name=key.parent_name
    )
    with parent:
        name = key.parent_name
        with load(tpm, parent, key.private, key.public, auth=change.old, parent_name=name) as old:
            private = old.change_auth(parent, change.new)
        parent.load(private, key.public).flush()
    return key.replace(private=private, empty_auth=not change.new)


def _changed(
    options: argparse.Namespace, key: KeyFile, change: Change, parent_auth: bytes | None
) -> KeyFile:
    with tpmwire.open(options.tpm) as tpm:
        try:
            return change_pin(tpm, key, change, parent_auth)
        except TpmError as error:
            wrong = error.code in (TPM_RC.AUTH_FAIL, TPM_RC.BAD_AUTH)
            if not wrong or error.command != TPM_CC.ObjectChangeAuth.name:
                raise
            told = f"; {error.help}" if error.help else ""
            raise UserError(f"the old PIN is wrong, and nothing was changed{told}") from None


def _check(key: KeyFile) -> None:
    if key.kind not in (LOADABLE, LEGACY_LOADABLE):
        raise KeyFileError(f"a key file of kind {key.kind} cannot be loaded as it is")
    if key.public.objectAttributes & TPMA_OBJECT.adminWithPolicy:
        raise UserError("the policy of this key does not let its PIN be changed this way")


def _check_use(key: KeyFile) -> None:
    """See that a PIN would be asked for, when there was none before."""
    asked = {body.code for body in key.policy} & {TPM_CC.PolicyAuthValue, TPM_CC.PolicyPassword}
    if not key.public.objectAttributes & TPMA_OBJECT.userWithAuth and not asked:
        raise UserError("the policy of this key asks for no PIN, so that one would protect nothing")


def _change(options: argparse.Namespace, key: KeyFile) -> Change:
    """Find out both PINs; what is given is looked at before anybody is asked for the rest."""
    warning = _warning(options, key)
    limit = digest_size(key.public.nameAlg)
    old = None if options.old_pin is None else options.old_pin()
    new = None if options.new_pin is None else pins.check(options.new_pin(), limit)
    old = b"" if key.empty_auth else _old_pin(options, warning, old)
    return Change(old, pins.ask_new(limit, _NEW) if new is None else new)


def _old_pin(options: argparse.Namespace, warning: str, given: bytes | None) -> bytes:
    if given is None:
        pin = prompts.ask_pin(f"Enter old PIN{f' ({warning})' if warning else ''}: ")
        if not pin and warning:
            raise UserError("no PIN was given, and the last try is not spent on that")
        return pin
    if warning:
        console.say(f"{options.program}: {warning}")
    return given


def _warning(options: argparse.Namespace, key: KeyFile) -> str:
    """Warn of a last try; UserError if the TPM is locked, so that none is worth a question.

    The TPM is opened for it in any case, so that a missing one is told before any question.
    """
    with contextlib.suppress(KeyError), tpmwire.open(options.tpm) as tpm:
        if key.public.objectAttributes & TPMA_OBJECT.noDA:
            return ""
        state = Lockout.read(tpm.execute)
        if not state.tries_left:
            raise UserError(f"the TPM is locked because of wrong PINs; {state.wait}")
        return _LAST_TRY if state.tries_left == 1 else ""
    return ""


def _news(path: str, change: Change, key: KeyFile) -> str:
    news = [f"The PIN of {path} was {'changed' if change.new else 'removed'}."]
    protected = not key.public.objectAttributes & TPMA_OBJECT.noDA
    if change.new and not protected:
        news.append(
            "Wrong PINs are not counted, as the key was made without one: it can be guessed."
            " A new key with a PIN is better."
        )
    if not change.new and protected:
        news.append("The key still does not sign while the TPM is locked by other wrong PINs.")
    if change.old:
        news.append("An old copy of the file still opens with the old PIN: destroy all copies.")
    else:
        news.append("An old copy of the file still opens without a PIN: destroy all copies.")
    return "\n".join(news)
