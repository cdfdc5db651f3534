"""Completion in real shells, and man pages as real programs format them."""

import argparse
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from ssh_fixtures import need

from tpmwire.scripts.completion import PROGRAMS, SHELLS, outline_of
from tpmwire.scripts.main import SUBCOMMANDS, main
from tpmwire.usage.manual import manual, page_name
from tpmwire.usage.outline import Outline, outline

PATIENCE = 30.0
every_shell = pytest.mark.parametrize("shell", SHELLS)
every_program = pytest.mark.parametrize("program", PROGRAMS)

OUTLINES = {program: outline_of(program) for program in PROGRAMS}
PAGES = {
    page.program: page for program in OUTLINES.values() for page in (program, *program.subcommands)
}


class Shell:
    """A shell in which only what is typed matters: each program prints its arguments."""

    def __init__(self, name: str, directory: Path, scripts: dict[str, str]) -> None:
        need(name)
        self.name, self._directory = name, directory
        for program, script in scripts.items():
            (directory / f"{program}.script").write_text(script)
        for file in ("only.tpm", "directory/inside", "bin/onlycommand"):
            (directory / file).parent.mkdir(exist_ok=True)
            (directory / file).write_text("")
        (directory / "bin/onlycommand").chmod(0o700)
        self._programs = scripts
        self._env = {
            "PATH": f"{directory}/bin:/usr/bin:/bin",
            "HOME": str(directory),
            "ZDOTDIR": str(directory),
            "TERM": "dumb",
            "XDG_CONFIG_HOME": str(directory),
            "XDG_DATA_HOME": str(directory),
        }

    def completed(self, line: str) -> str:
        """The command line after the Tab key, if there is one way to go on."""
        if self.name == "fish":
            start, _, last = line.rpartition(" ")
            found = [candidate for candidate in self._fish(line) if candidate.startswith(last)]
            return f"{start} {found[0]}" if len(found) == 1 else line
        return re.findall(r"RAN<(.*)>", self.screen(line))[0]

    def _fish(self, line: str) -> list[str]:
        sources = "; ".join(f"source {program}.script" for program in self._programs)
        command = ["fish", "--no-config", "-c", f"{sources}; complete -C {shlex.quote(line)}"]
        done = subprocess.run(
            command, cwd=self._directory, env=self._env, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return [found.partition("\t")[0] for found in done.stdout.splitlines()]

    def screen(self, line: str) -> str:
        """What is on a terminal after a line and Tab, then Enter, was typed."""
        self._write_rc()
        shell = ["bash", "--rcfile", ".zshrc", "-i"] if self.name == "bash" else ["zsh", "-i"]
        master, slave = os.openpty()
        termios.tcsetwinsize(slave, (50, 200))
        process = subprocess.Popen(
            ["setsid", "--ctty", *shell],
            **{"stdin": slave, "stdout": slave, "stderr": slave},
            cwd=self._directory,
            env=self._env,
        )
        os.close(slave)
        try:
            wait_for(master, r"READY> ")
            os.write(master, f"{line}\t".encode())
            time.sleep(0.3)
            os.write(master, b"\r")
            return wait_for(master, r"RAN<(.*)>")
        finally:
            os.close(master)
            process.kill()
            process.wait()

    def _write_rc(self) -> None:
        lines = ["PS1='READY> '"]
        if self.name == "zsh":
            lines += ["autoload -U compinit", "compinit -u -D", "unsetopt zle_bracketed_paste"]
        lines += [f"source ./{program}.script" for program in self._programs]
        lines += [
            f"{program}() {{ printf 'RAN<%s>\\n' \"{program} $*\"; }}" for program in self._programs
        ]
        (self._directory / ".zshrc").write_text("\n".join((*lines, "")))


def wait_for(terminal: int, pattern: str) -> str:
    """Read from a terminal until the pattern is there."""
    seen, end = "", time.monotonic() + PATIENCE
    while not re.search(pattern, seen):
        ready = select.select([terminal], [], [], max(end - time.monotonic(), 0))[0]
        assert ready, seen
        seen += os.read(terminal, 4096).decode(errors="replace")
    return seen


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    scripts = {program: SHELLS[request.param](OUTLINES[program]) for program in PROGRAMS}
    return Shell(request.param, tmp_path, scripts)


COMPLETED = {
    "tpmwire deco": "tpmwire decode",
    "tpmwire sign --form": "tpmwire sign --format",
    "tpmwire sign --format ss": "tpmwire sign --format sshsig",
    "tpmwire sign --format=ra": "tpmwire sign --format=raw",
    "tpmwire sign -k onl": "tpmwire sign -k only.tpm",
    "tpmwire doctor --key-dir di": "tpmwire doctor --key-dir directory/",
    "tpmwire info --tpm emb": "tpmwire info --tpm embedded:",
    "tpmwire info --tpm swtpm:path=x --js": "tpmwire info --tpm swtpm:path=x --json",
    "tpmwire sign --format=raw --pin-": "tpmwire sign --format=raw --pin-file",
    "tpmwire decode onl": "tpmwire decode only.tpm",
    "tpmwire completion z": "tpmwire completion zsh",
    "tpmwire completion zsh tpmwire-k": "tpmwire completion zsh tpmwire-keygen",
    "tpmwire record --out x -- onlyc": "tpmwire record --out x -- onlycommand",
    "tpmwire-agent onl": "tpmwire-agent only.tpm",
    "tpmwire-agent --key-d": "tpmwire-agent --key-dir",
    "tpmwire-keygen -t rs": "tpmwire-keygen -t rsa",
}


@pytest.mark.parametrize("line", COMPLETED)
def test_what_can_mean_one_thing_only_is_completed(shell: Shell, line: str):
    completed = shell.completed(line)
    # zsh takes the slash away that it has put behind a directory, if nothing comes after it.
    assert completed in (COMPLETED[line], COMPLETED[line].removesuffix("/"))


NOT_COMPLETED = [
    "tpmwire zz",
    "tpmwire sign -n onl",
    "tpmwire sign --format x",
    "tpmwire info --out",
    "tpmwire doctor onl",
    "tpmwire completion bash bas",
]


@pytest.mark.parametrize("line", NOT_COMPLETED)
def test_what_means_nothing_is_not(shell: Shell, line: str):
    assert shell.completed(line) == line


NASTY = "it's [odd]: `touch pwned` $(touch pwned) \\ \"quoted\" %% ~ ^ | ; & 100 {a,b}\n.TH 'x"


def nasty() -> Outline:
    parser = argparse.ArgumentParser(prog="tpmwire", description=NASTY.replace("%%", "%"))
    parser.add_argument("--name-of-it", metavar="ODD:'[x]", help=NASTY)
    below = parser.add_subparsers()
    below.add_parser("subordinate", help=NASTY.replace("%%", "%")).add_argument("--one", help=NASTY)
    return outline(parser)


@every_shell
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("tpmwire --nam", "tpmwire --name-of-it"),
        ("tpmwire sub", "tpmwire subordinate"),
        ("tpmwire subordinate --o", "tpmwire subordinate --one"),
        ("tpmwire subordinate --one onl", "tpmwire subordinate --one onl"),
        ("tpmwire --name-of-it onl", "tpmwire --name-of-it onl"),
    ],
)
def test_no_help_breaks_out_of_the_completion(shell: str, line: str, wanted: str, tmp_path: Path):
    assert Shell(shell, tmp_path, {"tpmwire": SHELLS[shell](nasty())}).completed(line) == wanted
    assert not (tmp_path / "pwned").exists()


def test_zsh_shows_the_whole_of_a_description(tmp_path: Path):
    scripts = {"tpmwire": SHELLS["zsh"](nasty())}
    screen = Shell("zsh", tmp_path, scripts).screen("tpmwire --")
    (option,) = (each for each in nasty().options if "--name-of-it" in each.flags)
    assert len(option.brief) > 40
    assert f"--name-of-it  -- {option.brief}" in screen


def told_by_help(program: str) -> set[str]:
    """The options that --help of a program, such as 'tpmwire sign', tells."""
    name, *rest = program.split()
    module = PROGRAMS[name]
    command = [sys.executable, "-m", f"tpmwire.scripts.{module}", *rest, "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    lines = (line.strip().partition("  ")[0] for line in text.splitlines())
    return set().union(
        *(
            re.findall(r"(?<!\S)--?[A-Za-z][\w-]*", line.replace(",", " "))
            for line in lines
            if line[:1] == "-"
        )
    )


@pytest.mark.parametrize("program", PAGES)
def test_each_option_of_each_program_is_offered(program: str, tmp_path: Path):
    wanted = told_by_help(program)
    assert {"-h", "--help"} <= wanted
    name = program.split()[0]
    (tmp_path / "script").write_text(SHELLS["bash"](OUTLINES[name]))
    words = [*program.split(), "-"]
    ask = (
        f"source ./script; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        f'_{name.replace("-", "_")}; echo "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == wanted
    if shutil.which("fish"):
        fish = Shell("fish", tmp_path, {name: SHELLS["fish"](OUTLINES[name])})
        assert set(fish._fish(f"{program} -") + fish._fish(f"{program} --")) == wanted


def test_all_subcommands_are_offered():
    listed = {each.name for each in OUTLINES["tpmwire"].subcommands}
    assert listed == set(SUBCOMMANDS)


# --- the subcommand ---------------------------------------------------------------------------


@every_shell
def test_the_subcommand_prints_what_the_shell_takes_for_all_programs(
    shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    every = Shell(shell, tmp_path, {"tpmwire": script, "tpmwire-agent": "", "tpmwire-keygen": ""})
    assert every.completed("tpmwire-agent --key-d") == "tpmwire-agent --key-dir"
    assert every.completed("tpmwire deco") == "tpmwire decode"


@every_shell
@every_program
def test_the_subcommand_prints_it_for_one_program(
    shell: str, program: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["completion", shell, program]) == 0
    assert capsys.readouterr().out == SHELLS[shell](OUTLINES[program])


def test_a_file_in_the_path_of_functions_is_loaded_by_zsh_when_it_is_first_needed(tmp_path: Path):
    shell = Shell("zsh", tmp_path, {"tpmwire-keygen": ""})
    (tmp_path / "_tpmwire-keygen").write_text(SHELLS["zsh"](OUTLINES["tpmwire-keygen"]))
    shell._env["FPATH"] = (
        f"{tmp_path}:"
        + subprocess.run(
            ["zsh", "-fc", "print $FPATH"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    assert shell.completed("tpmwire-keygen -t rs") == "tpmwire-keygen -t rsa"


@pytest.mark.parametrize("options", [(), ("tcsh",), ("bash", "ssh")])
def test_other_shells_and_programs_are_wrong_usage(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    assert main(["completion", *options]) == 2
    assert capsys.readouterr().out == ""


# --- man pages --------------------------------------------------------------------------------


def page(of: Outline) -> str:
    return manual(of, "1.2.3", ("ssh(1)",))


def formatted(text: str, tmp_path: Path) -> str:
    """The page as `man` shows it, in one line."""
    need("man")
    file = tmp_path / "page.1"
    file.write_text(text)
    done = subprocess.run(
        ["man", "-E", "ascii", "--warnings", "-l", file],
        env=os.environ | {"MANWIDTH": "1000", "MAN_KEEP_FORMATTING": "", "GROFF_NO_SGR": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return " ".join(re.sub(".\b", "", done.stdout).split())


@pytest.mark.parametrize("program", PAGES)
def test_a_page_has_all_that_the_help_has(program: str, tmp_path: Path):
    of = PAGES[program]
    shown = formatted(page(of), tmp_path)
    assert page_name(of).upper() + "(1)" in shown
    for argument in of.arguments:
        assert " ".join(argument.help.split()) in shown
        assert ", ".join(argument.flags) in shown
    assert " ".join(of.description.split()) in shown
    epilog = re.sub(r"^[a-z ]+: ?", "", of.epilog, flags=re.M)
    # Sections come in another order, and codes in lines of their own; but nothing is lost.
    lost = [
        word
        for line in epilog.splitlines()
        for word in line.split()
        if word.rstrip(",;") not in shown
    ]
    assert lost == []


@pytest.mark.parametrize("program", PAGES)
def test_another_formatter_finds_nothing_wrong_with_a_page(program: str, tmp_path: Path):
    need("mandoc")
    (tmp_path / "page.1").write_text(page(PAGES[program]))
    lint = ["mandoc", "-T", "lint", "-W", "warning", "page.1"]
    done = subprocess.run(lint, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    complaints = (done.stdout + done.stderr).splitlines()
    # The date would be that of the making, and each making give another page.
    assert [line for line in complaints if "missing date" not in line] == []
    assert complaints


def test_whatever_a_help_says_the_page_shows_it(tmp_path: Path):
    shown = formatted(page(nasty()), tmp_path)
    text = " ".join(NASTY.replace("%%", "%").split())
    assert shown.count(text) >= 3
    assert "ODD:'[x]" in shown


def test_no_line_of_a_page_is_taken_for_a_request(tmp_path: Path):
    text = " ".join(f".TH{number}" for number in range(100))
    parser = argparse.ArgumentParser(
        prog="tpmwire one",
        description=text,
        epilog=f"examples:\n  .TH lost\n  'TH lost too\n\n{text}\n\nexit codes: 0 {text}\n",
    )
    parser.add_argument("--one", help=text)
    shown = formatted(page(outline(parser)), tmp_path)
    assert shown.count(text) == 5
    assert ".TH lost 'TH lost too" in shown


def test_exit_codes_are_a_section_and_examples_stand_as_they_are(tmp_path: Path):
    parser = argparse.ArgumentParser(
        prog="tpmwire one",
        description="Do.",
        epilog="examples:\n  one  two\n\nAnd\nmore:\n  this  one\nAnd less.\n\n"
        "exit codes: 0 done, or not; 1 failed, 2 no\n",
    )
    text = page(outline(parser))
    assert ".SH EXAMPLES\n.nf\none  two\n.fi" in text
    assert ".SH EXIT STATUS\n.TP\n.B 0\ndone, or not\n.TP\n.B 1\nfailed\n.TP\n.B 2\nno\n" in text
    assert (
        ".SH DESCRIPTION\nDo.\n.PP\nAnd more:\n.PP\n.nf\nthis  one\n.fi\n.PP\nAnd less.\n" in text
    )
    assert "TPMWIRE-ONE(1)" in formatted(text, tmp_path)


def test_options_stand_under_the_titles_of_their_groups():
    parser = argparse.ArgumentParser(prog="tpmwire one", description="Do.")
    parser.add_argument_group("what to do").add_argument("--late", help="last")
    parser.add_argument("--early", help="first")
    one = outline(parser)
    assert [(option.flags, option.group) for option in one.options] == [
        (("-h", "--help"), ""),
        (("--late",), "what to do"),
        (("--early",), ""),
    ]
    lines = page(one).splitlines()
    titles = [line for line in lines if line.startswith(".S")]
    assert titles[-3:] == [".SH OPTIONS", ".SS What to do", ".SH SEE ALSO"]
    assert lines.index("first") < lines.index(".SS What to do") < lines.index("last")


def test_options_that_rule_each_other_out_are_in_the_synopsis():
    parser = argparse.ArgumentParser(prog="tpmwire one", description="Do.")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-a", action="store_true")
    group.add_argument("--bee", metavar="FILE", help=argparse.SUPPRESS)
    group.add_argument("--see", metavar="FILE")
    one = outline(parser)
    assert one.usage == "tpmwire one [-h] [-a | --see FILE]"
    assert "[\\fB\\-a\\fP | \\fB\\-\\-see\\fP \\fIFILE\\fP]" in page(one)
    assert "--bee" not in SHELLS["bash"](one) + SHELLS["zsh"](one) + SHELLS["fish"](one)
