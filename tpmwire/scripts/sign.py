"""tpmwire sign: sign a file with a key in the TPM."""

import argparse

import tpmwire
from tpmwire import detached
from tpmwire.constants import TPM_ALG
from tpmwire.errors import Error
from tpmwire.keyfile import KeyFile
from tpmwire.scripts import console, pins, prompts, streams
from tpmwire.scripts.console import UsageError, UserError
from tpmwire.ssh import sshsig
from tpmwire.ssh.keypolicy import ways
from tpmwire.ssh.keys import CURVES, RSA_SHA2_256, RSA_SHA2_512, SignatureAlgorithm
from tpmwire.ssh.occasion import Occasion
from tpmwire.ssh.pins import Ask
from tpmwire.ssh.tpmkey import TpmKey
from tpmwire.types.objects import TPMS_ECC_PARMS, TPMT_PUBLIC

PROGRAM = "tpmwire sign"

EPILOG = """\
examples:
  tpmwire sign -k work.tpm -f release.tar -o release.tar.sig
  openssl dgst -sha256 -verify work.pem -signature release.tar.sig release.tar
  tpmwire sign -k work.tpm -f release.tar -n file >release.tar.sshsig
  ssh-keygen -Y check-novalidate -n file -s release.tar.sshsig <release.tar

formats:
  asn1     r and s of ECDSA in DER, as OpenSSL has it; RSA (PKCS #1 v1.5) as it is
  raw      r and s of ECDSA side by side; RSA as it is
  sshsig   as ssh-keygen -Y makes and git takes it, for the purpose that -n tells

Without --hash the curve of an ECDSA key tells the hash; for RSA it is sha256, for sshsig sha512.

exit codes: 0 signed, 1 failed, 2 wrong usage
"""

HASHES = {"sha256": TPM_ALG.SHA256, "sha384": TPM_ALG.SHA384, "sha512": TPM_ALG.SHA512}
FORMATS = ("asn1", "raw", "sshsig")

_RSA_FLAGS = {TPM_ALG.SHA256: RSA_SHA2_256, TPM_ALG.SHA512: RSA_SHA2_512}


def register(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser.description = "Sign a file with a key in the TPM."
    parser.epilog = EPILOG
    parser.set_defaults(run=sign)
    add = parser.add_argument
    add("-k", dest="key", required=True, metavar="KEY", help="the key file, made by tpmwire-keygen")
    add(
        "-f",
        dest="file",
        default=streams.STANDARD,
        metavar="FILE",
        help="the file to sign, - for standard input (the default)",
    )
    add(
        "-o",
        dest="output",
        default=streams.STANDARD,
        metavar="FILE",
        help="where to write the signature, - for standard output (the default)",
    )
    add("--format", choices=FORMATS, help="asn1 by default, with -n sshsig")
    add("-n", dest="namespace", metavar="NAMESPACE", help="what an sshsig is for: file, git, ...")
    add("--hash", choices=HASHES, help="the hash to sign; sha256 or sha512 for sshsig")
    add(
        "--pin-file",
        metavar="FILE",
        help="a file with the PIN as its first line, such as /dev/fd/3; else it is asked for",
    )
    add("--tpm", type=console.conf, metavar="CONF", help=console.TPM_HELP)


def sign(options: argparse.Namespace) -> int:
    """Sign what the command line names; the exit code."""
    form = chosen_format(options.format, options.namespace)
    streams.check_inputs(options.key, options.file)
    streams.check_apart(options.output, options.key, options.file)
    if form != "sshsig":
        streams.check_output(options.output)
    console.warn_of_emulator(PROGRAM, options.tpm)
    key = _key(options)
    alg = _hash(key.keyfile.public, form, options.hash)
    digest = streams.digest_of(PROGRAM, options.file, alg)
    if options.file == streams.STANDARD:
        streams.give_the_terminal_back()
    if form == "sshsig":
        signature = _sshsig(key, options.namespace, alg, digest)
    else:
        signature = _detached(key, form, alg, digest)
    streams.write_output(options.output, signature)
    return 0


def chosen_format(form: str | None, namespace: str | None) -> str:
    """Tell the format, and find out whether it fits the namespace; UsageError if not."""
    if form not in (None, "sshsig") and namespace is not None:
        raise UsageError(f"a namespace is for sshsig, not for {form}")
    if form == "sshsig" and namespace is None:
        raise UsageError("an sshsig is for some purpose: name it with -n, such as -n file")
    if namespace == "":
        raise UsageError("the namespace is empty")
    return form or ("asn1" if namespace is None else "sshsig")


def default_hash(public: TPMT_PUBLIC) -> TPM_ALG:
    """Choose the hash for a key that signs digests: that of its curve, else SHA-256."""
    if isinstance(public.parameters, TPMS_ECC_PARMS):
        return CURVES[public.parameters.curveID].hash
    return TPM_ALG.SHA256


def _hash(public: TPMT_PUBLIC, form: str, name: str | None) -> TPM_ALG:
    if form != "sshsig":
        return default_hash(public) if name is None else HASHES[name]
    alg = HASHES[name or "sha512"]
    if alg not in sshsig.HASHES:
        raise UsageError(f"an sshsig is over sha256 or sha512, not over {name}")
    return alg


def _key(options: argparse.Namespace) -> TpmKey:
    try:
        keyfile = KeyFile.from_pem(streams.read_small(options.key))
        ask = _ask if options.pin_file is None else _pin_of(options.pin_file, keyfile)
        return TpmKey(keyfile, options.key, lambda: tpmwire.open(options.tpm), ask)
    except UserError:
        raise
    except Error as error:
        raise UserError(f"{options.key}: {error}") from None


def _ask(question: str, _: Occasion) -> bytes:
    return prompts.ask_pin(question)


def _pin_of(path: str, keyfile: KeyFile) -> Ask:
    """Answer the only question with the PIN in a file."""
    if path == streams.STANDARD:
        raise UsageError("standard input is for the data; give the PIN another way")
    if keyfile.has_policy and any(way.others for way in ways(keyfile)):
        raise UsageError("the policy of the key wants more than a PIN, so --pin-file is not enough")
    pin = pins.first_line(path)
    return lambda _, occasion: pin


def _detached(key: TpmKey, form: str, alg: TPM_ALG, digest: bytes) -> bytes:
    public = key.keyfile.public
    ecc = isinstance(public.parameters, TPMS_ECC_PARMS)
    scheme = TPM_ALG.ECDSA if ecc else TPM_ALG.RSASSA
    made = key.sign_digest(SignatureAlgorithm(b"", scheme, alg), digest)
    return detached.raw(public, made) if form == "raw" else detached.asn1(made)


def _sshsig(key: TpmKey, namespace: str, alg: TPM_ALG, digest: bytes) -> bytes:
    ecc = isinstance(key.keyfile.public.parameters, TPMS_ECC_PARMS)
    data = sshsig.signed_data(namespace, alg, digest)
    signature = key.sign(data, 0 if ecc else _RSA_FLAGS[alg])
    return sshsig.armored(key.blob, namespace, alg, signature).encode("ascii")
