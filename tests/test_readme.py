"""What README.rst, CONTRIBUTING.rst and CHANGELOG.rst say is so."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import LOADED_OBJECTS, LOADED_SESSIONS, Swtpm, handles

import tpmwire
from tpmwire.client import Tpm
from tpmwire.errors import ConfError, tpm_error
from tpmwire.scripts.main import SUBCOMMANDS
from tpmwire.transport import ENVIRONMENT, connect, parse_conf

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tpmwire"
DOCUMENTS = {name: (ROOT / name).read_text() for name in sorted(os.listdir(ROOT)) if ".rst" in name}
README, CONTRIBUTING = DOCUMENTS["README.rst"], DOCUMENTS["CONTRIBUTING.rst"]
EVERYTHING = "\n".join(DOCUMENTS.values())
PROGRAMS = ("keygen", "agent")


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language, without their indentation."""
    pattern = rf"^( *)\.\. code-block:: {language}\n\n((?:\1 +.*\n|\n)+)"
    return [textwrap.dedent(found[2]) for found in re.finditer(pattern, text, re.M)]


def words(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


PYTHON = blocks(README, "python")
every_document = pytest.mark.parametrize("name", DOCUMENTS)


def run(code: str, conf: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, ENVIRONMENT: conf},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_readme_has_python_with_and_without_a_tpm():
    assert {"tpmwire.open" in code for code in PYTHON} == {True, False}
    assert len(PYTHON) == README.count("import tpmwire") + README.count("assert GetRandom.read")


@pytest.mark.parametrize("code", [c for c in PYTHON if "tpmwire.open" in c])
def test_python_that_opens_a_tpm_prints_octets_and_leaves_nothing_in_it(code: str, swtpm: Swtpm):
    done = run(code, swtpm.conf)
    assert done.stderr == ""
    printed = done.stdout.split()
    assert len(printed) == 2
    assert {len(bytes.fromhex(octets)) for octets in printed} <= {16, 32}
    with Tpm(connect(swtpm.conf)) as tpm:
        assert handles(tpm, LOADED_OBJECTS) == handles(tpm, LOADED_SESSIONS) == ()


@pytest.mark.parametrize("code", [c for c in PYTHON if "tpmwire.open" not in c])
def test_python_that_opens_none_needs_none(code: str, tmp_path: Path):
    done = run(code, f"swtpm:path={tmp_path}/none")
    assert (done.returncode, done.stderr) == (0, "")


def test_python_that_opens_a_tpm_fails_without_one(tmp_path: Path):
    code = next(code for code in PYTHON if "tpmwire.open" in code)
    done = run(code, f"swtpm:path={tmp_path}/none")
    assert done.returncode != 0
    assert "TransportError" in done.stderr


def test_a_refusal_reads_as_the_readme_quotes_it():
    assert f"``{tpm_error(0x98E, 'Sign')}``" in words(README)


def test_each_conf_string_of_the_readme_is_one_and_each_kind_is_in_it():
    shown = re.findall(r"^``(\w+:\S+)`` ", README, re.M)
    for conf in shown:
        assert callable(parse_conf(conf.replace("port=P", "port=2321")))
    with pytest.raises(ConfError) as caught:
        parse_conf("none of them")
    known = str(caught.value).partition("known are ")[2].split(", ")
    assert len(known) > 3
    assert {conf.partition(":")[0] for conf in shown} == set(known)


def options(text: str) -> set[str]:
    """Words of a command line that are options."""
    return set(re.findall(r"(?<!\S)--?[A-Za-z][\w-]*", text))


def known_options(program: str, *subcommand: str) -> set[str]:
    """The options that a script, or a subcommand of it, tells in its --help."""
    command = [sys.executable, "-m", f"tpmwire.scripts.{program}", *subcommand, "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    lines = (line.strip().partition("  ")[0] for line in text.splitlines())
    return set().union(*(options(line.replace(",", " ")) for line in lines if line[:1] == "-"))


def mentioned(program: str) -> list[str]:
    """The command lines of a script in the documents, from after its name."""
    return re.findall(rf"tpmwire-{program}\b([^)#`\n]*)", EVERYTHING)


@pytest.mark.parametrize("program", PROGRAMS)
def test_options_on_command_lines_exist(program: str):
    lines = mentioned(program)
    used = set().union(*map(options, lines))
    assert "--help" in used
    assert used <= known_options(program)


def test_options_in_the_text_exist():
    literals = re.findall(r"``(-[^`]+)``", README)
    used = set().union(*map(options, literals))
    assert used >= {"-t", "-f", "-N", "--tpm"}
    subcommands = (known_options("main", name) for name in SUBCOMMANDS)
    assert used <= set().union(*map(known_options, PROGRAMS), *subcommands)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_each_subcommand_is_in_the_readme_and_its_options_exist(name: str):
    lines = re.findall(rf"tpmwire {name}\b([^)#`|\n]*)", README)
    assert lines
    # What comes after -- is another program's.
    used = set().union(*(options(line.partition(" -- ")[0]) for line in lines))
    assert used <= known_options("main", name)


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_script_is_installed_under_its_name(program: str):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].split("\n")
    assert f"tpmwire-{program} = tpmwire.scripts.{program}:main" in scripts
    assert mentioned(program)


def test_files_that_are_named_exist():
    literals = set(re.findall(r"``((?:tools|tests|\.ci)/[\w./]*)``", EVERYTHING))
    commands = {f"tools/{name}" for name in re.findall(r"\$ tools/(\w+)", EVERYTHING)}
    documents = set(re.findall(r"``(\w+\.rst)``", EVERYTHING))
    assert literals
    assert commands
    assert documents == set(DOCUMENTS) - {"README.rst"}
    missing = [name for name in literals | commands | documents if not (ROOT / name).exists()]
    assert missing == []
    programs = [name for name in literals | commands if name.startswith(("tools/", ".ci/"))]
    assert [name for name in programs if not os.access(ROOT / name, os.X_OK)] == []


def test_the_table_of_modules_is_complete_and_names_nothing_else():
    table = re.search(r"^=+ +=+\n(.+?)^=+ +=+\n", CONTRIBUTING, re.M | re.S)
    assert table
    named = set(re.findall(r"``(\w+(?:\.py|/))``", table[1]))
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    packages = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert modules | packages <= named
    assert [name for name in named if not list(PACKAGE.rglob(name.rstrip("/")))] == []


def test_what_has_to_be_there_first_is_what_the_set_up_asks_for():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = setup["options"]["install_requires"].strip().split("\n")
    packages = [re.match(r"[\w-]+", line)[0] for line in needed]
    assert f"the packages ``{'`` and ``'.join(packages)}``" in words(README)
    oldest = setup["options"]["python_requires"].removeprefix(">=")
    assert f"Python {oldest} or later" in README


def test_the_changelog_begins_with_this_version():
    first = re.search(r"^(\S+) \(.+\)\n-+$", DOCUMENTS["CHANGELOG.rst"], re.M)
    assert first
    assert first[1] == tpmwire.__version__


@every_document
def test_documents_are_valid_restructured_text(name: str):
    program = shutil.which("docutils") or shutil.which("rst2html.py") or shutil.which("rst2html")
    if program is None:
        pytest.skip("docutils is not installed")
    done = subprocess.run(
        [program, "--strict", "--syntax-highlight=none", str(ROOT / name)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
