"""The architecture: which module may import which, and what each may touch."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import tpmwire

ROOT = Path(tpmwire.__file__).parent

# A room is a module or a whole package; it may import only from rooms in earlier lines.
RANKS = (
    {"constants", "attributes"},
    {"errors"},
    {"wire"},
    {"structure"},
    {"types"},
    {"commands"},
    {"digests"},
    {"names", "crypto", "templates", "masking", "traces", "roca", "bodies"},
    {"softkeys", "signatures", "detached", "wrapped", "preamble"},
    {"attester", "pem"},
    {"authorization"},
    {"session", "lockout"},
    {"exchange", "objects"},
    {"duplication", "attestation", "parentfile"},
    {"policy"},
    {"transport"},
    {"embedded", "recording"},
    {"client"},
    {"tpmwire"},  # the package's own __init__, which imports the client when that is first used
    {"parents", "keyfile", "inventory"},
    {"importable", "movable"},
    {"moving", "proof", "endorsement"},
    {"exfiltration"},
    {"ssh", "showing", "diagnosis", "usage"},
    {"scripts"},
)

# The imports that go up, late, inside a function: a conf string may name the embedded TPM, which is
# a socket transport itself, or a recording, which is around another transport.
UPWARD = {("tpmwire.transport", f"tpmwire.{above}") for above in ("embedded", "recording")}

IO = {
    *("asyncio", "fcntl", "os", "select", "shutil", "signal", "socket", "subprocess", "tempfile"),
    *("builtins.input", "builtins.open", "builtins.print"),
}
MAY_DO_IO = {
    "transport",
    "embedded",
    "recording",
    "ssh.server",
    "ssh.activation",
    "ssh.upstream",
    "scripts",
}

PATHS = sorted(ROOT.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): ast.parse(path.read_text()) for path in PATHS}
every_module = pytest.mark.parametrize("name", MODULES)


def imported(node: ast.AST) -> list[str]:
    """Names of the modules that a statement imports; a function's name stands for its module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    assert node.level == 0, "imports are absolute"
    module = node.module or ""
    below = [f"{module}.{alias.name}" for alias in node.names]
    return [name if name in MODULES else module for name in below]


@cache
def imports(tree: ast.AST, *, deferred: bool) -> set[str]:
    """What is imported when the module is, or `deferred`, inside of its functions."""
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    return {
        name
        for node in ast.walk(tree)
        if (id(node) in inside) == deferred
        for name in imported(node)
    }


def all_imports(name: str) -> set[str]:
    return imports(MODULES[name], deferred=False) | imports(MODULES[name], deferred=True)


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] == "tpmwire"}


def room(name: str) -> str:
    return (name + ".").split(".")[1] or "tpmwire"


def rank(name: str) -> int:
    return next(level for level, rooms in enumerate(RANKS) if room(name) in rooms)


def test_every_module_has_a_rank_and_every_rank_a_module():
    assert {room(name) for name in MODULES} == set().union(*RANKS)
    assert sum(map(len, RANKS)) == len(set().union(*RANKS))


@every_module
def test_imports_run_one_way(name: str):
    for target in ours(imports(MODULES[name], deferred=False)):
        inside = room(target) == room(name)
        assert inside or rank(target) < rank(name), f"{name} imports {target}"


def test_imports_inside_functions_run_the_same_way_but_for_two():
    late = {
        (name, target)
        for name, tree in MODULES.items()
        for target in ours(imports(tree, deferred=True))
    }
    assert ("tpmwire", "tpmwire.client") in late
    assert {(name, target) for name, target in late if rank(target) >= rank(name)} == UPWARD


@pytest.mark.parametrize(
    "package", ["types", "commands", "traces", "showing", "diagnosis", "ssh", "scripts"]
)
def test_the_modules_of_a_package_import_each_other_one_way(package: str):
    members = {name for name in MODULES if room(name) == package}
    assert len(members) > 2
    graph = {name: all_imports(name) & members for name in members}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle: {error.args[1]}")


def importers(package: str) -> set[str]:
    return {
        name
        for name in MODULES
        if any(target.split(".")[0] == package for target in all_imports(name))
    }


@pytest.mark.parametrize(
    ("package", "modules"),
    [
        ("construct", {"wire", "structure"}),
        (
            "cryptography",
            {
                *("keyfile", "crypto", "softkeys", "signatures", "detached", "pem", "endorsement"),
                "ssh/publickeys",
            },
        ),
    ],
)
def test_a_package_stays_in_the_modules_that_contributing_names(package: str, modules: set[str]):
    text = " ".join((ROOT.parent / "CONTRIBUTING.rst").read_text().split())
    said = re.search(rf"``{package}`` (?:is imported )?only in ([^;.]+)[;.]", text)
    assert said
    assert set(re.findall(r"``([\w/]+)``", said[1])) == modules
    assert importers(package) == {f"tpmwire.{module.replace('/', '.')}" for module in modules}


def test_there_are_no_other_packages():
    known = {*sys.stdlib_module_names, "tpmwire", "construct", "cryptography"}
    assert {target.split(".")[0] for name in MODULES for target in all_imports(name)} <= known


def builtin_calls(tree: ast.Module) -> Iterator[str]:
    """Names of builtins that are called, unless the module has a function of that name."""
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    for func in calls:
        if isinstance(func, ast.Name) and func.id not in own:
            yield f"builtins.{func.id}"


@every_module
def test_input_and_output_is_for_transports_the_agent_socket_and_scripts(name: str):
    inner = name.removeprefix("tpmwire.")
    touched = IO & (all_imports(name) | set(builtin_calls(MODULES[name])))
    assert not touched or inner in MAY_DO_IO or room(name) in MAY_DO_IO, touched


def test_who_may_do_input_and_output_does_it():
    doing = {name for name in MODULES if IO & all_imports(name)}
    assert {"tpmwire.transport", "tpmwire.embedded", "tpmwire.ssh.server"} <= doing
    assert any(room(name) == "scripts" for name in doing)


def loaded_by(statement: str) -> set[str]:
    """Modules that a fresh interpreter has after a statement."""
    program = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_next_to_nothing():
    loaded = loaded_by("import tpmwire")
    assert {name for name in loaded if name.startswith("tpmwire")} == {
        "tpmwire",
        "tpmwire.constants",
        "tpmwire.errors",
    }
    assert not loaded & {"construct", "cryptography", "asyncio", "socket", "subprocess"}


PURE = ("crypto", "session", "exchange", "objects", "policy", "duplication", "attestation")
REACHES_A_TPM = {"asyncio", "socket", "subprocess", "tpmwire.transport"}


@pytest.mark.parametrize("module", PURE)
def test_what_is_between_values_and_a_transport_loads_nothing_that_could_reach_a_tpm(module: str):
    loaded = loaded_by(f"import tpmwire.{module}")
    assert f"tpmwire.{module}" in loaded
    assert not loaded & REACHES_A_TPM


@pytest.mark.parametrize("module", ["commands", "types", "templates", "names", "digests"])
def test_what_only_turns_values_into_octets_does_not_load_the_cryptography_either(module: str):
    loaded = loaded_by(f"import tpmwire.{module}")
    assert f"tpmwire.{module}" in loaded
    assert not loaded & {"cryptography", *REACHES_A_TPM}


def test_an_agent_and_a_keygen_do_without_asyncio():
    loaded = loaded_by("import tpmwire.scripts.agent, tpmwire.scripts.keygen")
    assert "tpmwire.ssh.server" in loaded
    assert "asyncio" not in loaded


def test_a_key_is_made_without_importing_what_only_other_keys_want():
    loaded = loaded_by("import tpmwire.scripts.keygen; tpmwire.scripts.keygen._parser()")
    assert "tpmwire.scripts.generating" in loaded
    assert not loaded & {"tpmwire.policy", "tpmwire.softkeys", "cryptography.x509", "email"}


@every_module
def test_a_module_tells_its_one_responsibility_in_its_first_line(name: str):
    docstring = ast.get_docstring(MODULES[name])
    assert docstring
    assert len(docstring.splitlines()[0]) <= 100


def public_definitions(tree: ast.Module | ast.ClassDef) -> Iterator[ast.AST]:
    """Public classes and functions, and those inside of public classes."""
    kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node)


@every_module
def test_what_is_public_has_a_docstring(name: str):
    nodes = public_definitions(MODULES[name])
    assert [node.name for node in nodes if not ast.get_docstring(node)] == []


@every_module
def test_no_construct_is_ever_compiled(name: str):
    # construct's compiler drops the length checks, and with them the promise of `wire`.
    calls = [node.func for node in ast.walk(MODULES[name]) if isinstance(node, ast.Call)]
    methods = [ast.unparse(func) for func in calls if isinstance(func, ast.Attribute)]
    assert [m for m in methods if m.endswith(".compile") and m != "re.compile"] == []


@every_module
def test_annotations_of_structures_are_objects_not_strings(name: str):
    future = {
        alias.name
        for node in ast.walk(MODULES[name])
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
        for alias in node.names
    }
    assert "annotations" not in future
