"""tpmwire parent: show another machine a storage parent, and find out what is proven of one."""

import argparse
import hmac

import tpmwire
from tpmwire import proof
from tpmwire.endorsement import check_certificate, read_certificate, read_roots
from tpmwire.errors import AttestationError, KeyFileError
from tpmwire.names import object_name
from tpmwire.parents import default_parent, open_parent
from tpmwire.scripts import console, files, parentage, pins, streams, transit
from tpmwire.scripts.console import UsageError, UserError
from tpmwire.scripts.parentproof import Challenge, Proof

PROGRAM = "tpmwire parent"
UNPROVEN = 3

EPILOG = """\
what to do:
  export FILE       on the other machine: write its parent to FILE, certified by an attestation key,
                    and the endorsement key
  verify FILE       without a TPM: tell what FILE proves of the parent, and what it does not
  challenge FILE    without a TPM: write a challenge to -o OUTPUT, and what the answer has to be to
                    --expect WANTED, which stays here
  answer CHALLENGE  on the other machine: write the answer to -o OUTPUT; no other TPM can

examples:
  tpmwire parent export b.parent                                      on machine B
  tpmwire parent challenge b.parent -o b.challenge --expect b.wanted  here
  tpmwire parent answer b.challenge -o b.answer                       on machine B
  tpmwire parent verify b.parent --expect b.wanted --answer b.answer --roots roots.pem

The right answer proves that the parent is in the TPM that has the endorsement key of FILE, with the
attributes that it tells. Whether that key is in a real TPM only its manufacturer says: FILE has the
certificate, if the TPM has one, which --roots follows to those that you trust. Without one,
--endorsement NAME tells that you know the key. Nobody is asked whether a certificate was revoked.

exit codes: 0 done, and proven; 1 failed, or something is wrong; 2 wrong usage; 3 verify: nothing is
wrong, but it is not proven that the parent is in a TPM
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser.description = "Show another machine a storage parent; find out what is proven of one."
    parser.epilog = EPILOG
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("what", metavar="WHAT", choices=tuple(_VERBS), help="export, verify, challenge or answer")
    add("file", metavar="FILE", help="a parent, or with answer a challenge")
    add("-o", dest="output", metavar="OUTPUT", help="the file to write")
    add("--expect", metavar="WANTED", help="what the answer has to be; kept secret until it comes")
    add("--answer", metavar="ANSWER", help="with verify: the answer that came")
    told = "with verify: the Name of an endorsement key that is known to be in a TPM"
    add("--endorsement", type=bytes.fromhex, metavar="NAME", help=told)
    told = "with verify: certificates of manufacturers that you trust, up to a root, in PEM"
    add("--roots", metavar="FILE", help=told)
    told = "with export: which endorsement key (ecc)"
    add("--ek", choices=tuple(proof.EK_TEMPLATES), default="ecc", help=told)
    told = "the first line of FILE is the password of the endorsement hierarchy"
    add("--endorsement-auth", type=pins.from_file, metavar="FILE", help=told)
    parentage.add_options(parser)
    transit.add_tpm(parser)


def run(options: argparse.Namespace) -> int:
    """Do what the command line says; the exit code."""
    return _VERBS[options.what](options)


def _auth(options: argparse.Namespace) -> bytes:
    return options.endorsement_auth() if options.endorsement_auth else b""


def _export(options: argparse.Namespace) -> int:
    files.check_directory(options.file)
    console.warn_of_emulator(PROGRAM, options.tpm)
    auth = _auth(options)
    with tpmwire.open(options.tpm) as tpm:
        handle = default_parent(tpm) if options.parent is None else options.parent

    def work(parent_auth: bytes | None) -> Proof:
        with tpmwire.open(options.tpm) as tpm:
            with proof.endorsement_key(tpm, options.ek, auth) as key:
                ek = key.public
            with open_parent(tpm, handle, auth=parent_auth) as parent:
                made = proof.certify(tpm, parent, auth)
                certificate = read_certificate(tpm, options.ek)
                return Proof(parent.public, handle, made, ek, options.ek, certificate)

    made = parentage.under(handle, options, work)
    files.write_together([(options.file, made.write(), 0o644)])
    console.report(PROGRAM, "\n".join(_names(made)))
    return 0


def _names(told: Proof) -> list[str]:
    return [
        f"parent:           {object_name(told.parent).hex()}",
        f"attestation key:  {object_name(told.certification.key).hex()}",
        f"endorsement key:  {object_name(told.ek).hex()}",
    ]


def _challenge(options: argparse.Namespace) -> int:
    _want(options, "output", "expect")
    told = Proof.read(options.file)
    made, answer = proof.challenge(told.ek, told.parent)
    sent = Challenge(made, told.handle, told.ek_kind).write()
    wanted = f"{object_name(told.parent).hex()} {object_name(told.ek).hex()} {answer.hex()}\n"
    files.write_together([(options.output, sent, 0o644), (options.expect, wanted, 0o600)])
    return 0


def _answer(options: argparse.Namespace) -> int:
    _want(options, "output")
    asked, auth = Challenge.read(options.file), _auth(options)
    if asked.ek_kind not in proof.EK_TEMPLATES:
        raise UsageError(f"{options.file}: no endorsement key is of the kind {asked.ek_kind!r}")
    files.check_directory(options.output)
    handle = asked.handle if options.parent is None else options.parent

    def work(parent_auth: bytes | None) -> bytes:
        with (
            tpmwire.open(options.tpm) as tpm,
            open_parent(tpm, handle, auth=parent_auth) as parent,
            proof.endorsement_key(tpm, asked.ek_kind, auth) as ek,
        ):
            return proof.activate_credential(tpm, ek, parent, asked.made, auth)

    answer = parentage.under(handle, options, work)
    files.write_together([(options.output, f"{answer.hex()}\n", 0o600)])
    return 0


def _verify(options: argparse.Namespace) -> int:
    if bool(options.expect) != bool(options.answer):
        raise UsageError("--expect and --answer go together")
    told = Proof.read(options.file)
    proof.check_attributes(told.parent)
    proof.check_certification(told.parent, told.certification)
    answered = bool(options.answer)
    if answered:
        _compare(options, told)
    voucher = _voucher(options, told)
    print("\n".join([*_names(told), *_findings(voucher, answered=answered)]))
    return 0 if answered and voucher else UNPROVEN


def _voucher(options: argparse.Namespace, told: Proof) -> str:
    """Tell who says that the endorsement key is in a TPM; nothing if nobody does."""
    if options.endorsement:
        if options.endorsement != object_name(told.ek):
            raise AttestationError("another one than is known to be in a TPM", "endorsement_key")
        return "you, by its Name"
    if not (options.roots and told.certificate):
        return ""
    try:
        roots = read_roots(streams.read_small(options.roots))
    except KeyFileError as error:
        raise UserError(f"{options.roots}: {error}") from None
    return f"a certificate under {check_certificate(told.certificate, told.ek, roots)}"


def _compare(options: argparse.Namespace, told: Proof) -> None:
    wanted = streams.read_small(options.expect).decode("ascii", "replace").split()
    names = [object_name(told.parent).hex(), object_name(told.ek).hex()]
    if wanted[:-1] != names:
        raise AttestationError("of another parent or endorsement key than was challenged", "expect")
    answer = streams.read_small(options.answer).strip()
    if not hmac.compare_digest(answer, wanted[-1].encode()):
        raise AttestationError("is not the right one", "answer")


def _findings(voucher: str, *, answered: bool) -> list[str]:
    """Say what is proven, and what is not."""
    said = [
        "says:             restricted, decrypt, fixedTPM: keys under it stay in its TPM",
        "proven:           the attestation key certifies it; so they are in the same TPM, if that "
        "key is in one",
    ]
    if answered:
        said.append("proven:           it is where the endorsement key is, as it says")
    else:
        said.append("NOT proven:       that it is where the endorsement key is: see challenge")
    if voucher:
        said.append(f"vouched for:      the endorsement key is in a TPM, says {voucher}")
    else:
        said.append("NOT proven:       that the endorsement key is in a TPM, not in a program")
    return said


def _want(options: argparse.Namespace, *names: str) -> None:
    if not all(getattr(options, name) for name in names):
        wanted = {"output": "-o OUTPUT", "expect": "--expect WANTED"}
        raise UsageError(f"{options.what} wants {' and '.join(wanted[name] for name in names)}")


_VERBS = {"export": _export, "verify": _verify, "challenge": _challenge, "answer": _answer}
