"""tpmwire verify: check a signature of a file, without a TPM."""

import argparse

from tpmwire import detached, softkeys
from tpmwire.errors import AttestationError, DecodeError, Error
from tpmwire.keyfile import LABEL, KeyFile
from tpmwire.pem import read_public_key
from tpmwire.scripts import streams
from tpmwire.scripts.console import FAILED, UsageError, UserError, say
from tpmwire.scripts.sign import HASHES, default_hash
from tpmwire.signatures import verify_digest
from tpmwire.ssh import sshsig
from tpmwire.ssh.fingerprints import PublishedKey
from tpmwire.ssh.keys import key_type, public_blob
from tpmwire.ssh.publickeys import PublicKey, SignatureError, read_key
from tpmwire.types.objects import TPMT_PUBLIC

PROGRAM = "tpmwire verify"

EPILOG = """\
examples:
  tpmwire verify -k work.pub -s release.tar.sig -f release.tar
  tpmwire verify -k work.pub -s release.tar.sshsig -n file <release.tar
  openssl dgst -sha256 -sign key.pem -out a.sig a && tpmwire verify -k public.pem -s a.sig -f a

KEY is a line as in a .pub file, a public key in PEM (openssl pkey -pubout), or a key file of
tpmwire-keygen, whose public part is taken. Which format the signature has is found out. Without
--hash the curve of an ECDSA key tells the hash, and for RSA it is sha256; an sshsig has it in it.

exit codes: 0 the signature is good, 1 it is not, or nothing could be checked, 2 wrong usage
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser.description = "Check a signature of a file, without a TPM."
    parser.epilog = EPILOG
    parser.set_defaults(run=verify)
    add = parser.add_argument
    add("-k", dest="key", required=True, metavar="KEY", help="whose signature it should be")
    add("-s", dest="signature", required=True, metavar="FILE", help="the signature")
    add(
        "-f",
        dest="file",
        default=streams.STANDARD,
        metavar="FILE",
        help="the file that was signed, - for standard input (the default)",
    )
    add("-n", dest="namespace", metavar="NAMESPACE", help="what an sshsig has to be for")
    add("--hash", choices=HASHES, help="the hash that was signed, unless it is an sshsig")
    add("-q", dest="quiet", action="store_true", help="say nothing of a good signature")


def verify(options: argparse.Namespace) -> int:
    """Check what the command line names; the exit code."""
    streams.check_inputs(options.key, options.signature, options.file)
    signature = streams.read_small(options.signature)
    key = read_public(options.key)
    check = _check_sshsig if sshsig.is_armored(signature) else _check_detached
    try:
        check(options, key, signature)
    except (AttestationError, DecodeError) as error:
        return _bad(error.reason)
    except SignatureError as error:
        return _bad(str(error))
    if not options.quiet:
        print("good signature")
    return 0


def _bad(reason: str) -> int:
    say(f"{PROGRAM}: BAD signature: {reason}")
    return FAILED


def read_public(path: str) -> PublicKey:
    """Read a public key of any form; UserError if it is none."""
    text = streams.read_small(path)
    try:
        return read_key(_blob(text))
    except Error as error:
        raise UserError(f"{path}: {error}") from None


def _blob(text: bytes) -> bytes:
    if f"-----BEGIN {LABEL}-----".encode() in text:
        return public_blob(KeyFile.from_pem(text).public)
    if b"-----BEGIN " in text:
        return public_blob(softkeys.public_of(read_public_key(text)))
    return _only_line(text.decode("utf-8", "replace"))


def _only_line(text: str) -> bytes:
    """Read the only public key of a .pub file; more would leave open which is meant."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1:
        raise DecodeError(f"one public key wanted, not {len(lines)}")
    return PublishedKey.read(lines[0]).blob


def _check_sshsig(options: argparse.Namespace, key: PublicKey, signature: bytes) -> None:
    if options.namespace is None:
        raise UsageError("an sshsig is for some purpose: tell with -n which it has to be")
    if options.hash is not None:
        raise UsageError("an sshsig tells its hash by itself")
    found = sshsig.read_armored(signature)
    sshsig.verify_sshsig(
        *(found, key, options.namespace),
        lambda alg: streams.digest_of(PROGRAM, options.file, alg),
    )


def _check_detached(options: argparse.Namespace, key: PublicKey, signature: bytes) -> None:
    if options.namespace is not None:
        raise UsageError("this signature is no sshsig, so it is for no namespace")
    public = _area(key)
    alg = default_hash(public) if options.hash is None else HASHES[options.hash]
    digest = streams.digest_of(PROGRAM, options.file, alg)
    verify_digest(public, digest, detached.read(public, signature, alg))


def _area(key: PublicKey) -> TPMT_PUBLIC:
    if key.plain is None:
        raise UserError(f"a key of type {key_type(key.blob)} cannot be used for this")
    return softkeys.public_of(key.plain)
