"""tpmwire duplicate: wrap a key of this TPM for a parent in another one."""

import argparse

import tpmwire
from tpmwire.errors import KeyFileError, PolicyError
from tpmwire.movable import ways_to
from tpmwire.moving import Auths, Sent, duplicate_file, may_move
from tpmwire.names import object_name
from tpmwire.scripts import console, entitling, files, leaving, transit
from tpmwire.scripts.console import UserError
from tpmwire.templates import AES_128_CFB, NO_CIPHER

PROGRAM = "tpmwire duplicate"

EPILOG = """\
examples:
  tpmwire-keygen -f work --backup-to b.parent      a key that may go to the parent in b.parent
  tpmwire duplicate work.tpm --to b.parent -o work-b.tpm
  tpmwire import work-b.tpm -f work --transit-key work-b.tpm.transit     on the other machine

The file has two wrappers. The outer one is opened by the new parent alone; the key of the inner one
is written to a second file, FILE.transit, which has to go another way: whoever gets both, and has
the new parent's private key, has the key. Destroy it when the key has been imported.
Other tools import a key with --no-inner-wrapper only: their format has no place for a second one.

The PIN goes with the key. The public key stays what it was.

exit codes: 0 written, 1 failed or refused, 2 wrong usage
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser.description = "Wrap a key of this TPM for a parent in another one."
    parser.epilog = EPILOG
    parser.set_defaults(run=duplicate)
    parser.add_argument("key", metavar="KEY", help="the key file, made to be movable there")
    transit.add_output(parser)
    inner = parser.add_mutually_exclusive_group()
    told = "where to write the key of the inner wrapper; default is FILE.transit"
    inner.add_argument("--transit-key", metavar="FILE", help=told)
    told = "the outer wrapper only, as other tools want it"
    inner.add_argument("--no-inner-wrapper", dest="plain", action="store_true", help=told)
    entitling.add_options(parser)
    transit.add_tpm(parser)


def duplicate(options: argparse.Namespace) -> int:
    """Wrap the key; the exit code."""
    keyfile, parent = transit.read(options.key), leaving.read(options.to)
    try:
        way = ways_to(may_move(keyfile), object_name(parent))[0]
    except (KeyFileError, PolicyError) as error:
        raise UserError(f"{options.key}: {error}") from None
    files.check_directory(options.output)
    place = transit.place_of(options, parent)
    inner = NO_CIPHER if options.plain else AES_128_CFB

    def work(auths: Auths) -> Sent:
        with tpmwire.open(options.tpm) as tpm:
            return duplicate_file(tpm, keyfile, parent, place, auths=auths, inner=inner)

    sent = entitling.authorized(options, keyfile, way, work)
    transit.save(options, sent)
    console.report(PROGRAM, _news(options, sent, object_name(parent)))
    return 0


def _news(options: argparse.Namespace, sent: Sent, name: bytes) -> str:
    news = [f"The key, wrapped for the parent {name.hex()}, has been saved in {options.output}"]
    if sent.inner_key:
        news.append(
            f"The key of its inner wrapper has been saved in {transit.key_path(options)}: "
            "send it another way"
        )
    return "\n".join(news)
