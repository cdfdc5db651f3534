"""What the code says of a command, type or constant, as texts for the places that tables.py has.

What is written in an annotation counts, not what it stands for: many names are one object.
"""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

from tables import Description, Row, tabled_constants

import tpmwire.commands
import tpmwire.types
from tpmwire import attributes, constants, types, wire
from tpmwire.commands import COMMANDS, Command
from tpmwire.structure import Record, Structure, wire_of


def written_in(module: Any) -> Iterator[tuple[str, Any]]:
    """Find what is assigned or declared as a class at the top of a module."""
    for node in ast.parse(inspect.getsource(module)).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.ClassDef(name=name):
                yield name, node


def modules(package: Any) -> list[Any]:
    names = [f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__)]
    return [importlib.import_module(name) for name in names]


WRITTEN = {
    name: node
    for module in [*modules(tpmwire.types), *modules(tpmwire.commands), constants, attributes]
    for name, node in written_in(module)
}


def annotations(cls: type[Structure]) -> dict[str, str]:
    """Read the annotations of a class as they are written."""
    return {
        node.target.id: ast.unparse(node.annotation)
        for node in WRITTEN[cls.__name__].body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def calls(node: ast.AST, function: str) -> list[ast.Call]:
    """Find the calls of a function in an expression."""
    found = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
    return [call for call in found if ast.unparse(call.func) == function]


def declared_command(name: str) -> Description:
    cls = getattr(tpmwire.commands, name.removeprefix("TPM2_"), None)
    if not (isinstance(cls, type) and issubclass(cls, Command)) or COMMANDS[cls.CC] is not cls:
        return {name: "absent"}
    authorized = [field for field in cls.schema.fields if field.role]
    assert tuple(authorized) == cls.schema.fields[: len(cls.ROLES)]
    return {
        f"{name}.code": f"0x{cls.CC:08X}",
        f"{name}.handles": fields(cls, is_handle=True),
        f"{name}.roles": "; ".join(role.value for role in cls.ROLES),
        f"{name}.authorized": str(len(authorized)),
        f"{name}.parameters": fields(cls, is_handle=False),
        f"{name}.encryptable": "2" if cls.AREAS.encryptable else "0",
        f"{name}.response.handles": fields(cls.RESPONSE, is_handle=True),
        f"{name}.response.parameters": fields(cls.RESPONSE, is_handle=False),
        f"{name}.response.encryptable": "2" if cls.RESPONSE.AREAS.encryptable else "0",
        f"{name}.cHandles": str(cls.AREAS.handle_size // 4),
        f"{name}.rHandle": str(cls.RESPONSE.AREAS.handle_size // 4),
    }


def fields(cls: type[Structure], *, is_handle: bool) -> str:
    names = annotations(cls)
    chosen = [field.name for field in cls.schema.fields if field.is_handle == is_handle]
    return "; ".join(f"{name}:{names[name]}" for name in chosen)


def declared_type(name: str, kind: str) -> Description:
    found = getattr(types, name, getattr(constants, name, getattr(attributes, name, None)))
    if found is None:
        return {name: "absent"}
    match kind:
        case "constant" | "attributes":
            return {name: declared_word(wire_of(found))}
        case "alias":
            return {name: written_alias(name, found)}
        case "interface":
            return {name: wire_text(wire_of(found))}
    if isinstance(WRITTEN[name], ast.ClassDef):
        return dict(declared_structure(name, found))
    return dict(declared_wire(name, wire_of(found)))


def declared_word(subcon: Any) -> str:
    kind = "attributes" if isinstance(subcon, wire.Attributes) else "constant"
    return f"{kind} of {subcon.width} octets{', signed' if subcon.signed else ''}"


def declared_structure(name: str, cls: type[Structure]) -> Iterator[tuple[str, str]]:
    yield name, f"structure of {', '.join(field.name for field in cls.schema.fields)}"
    for field in cls.schema.fields:
        selector = f" by {field.selector}" if field.selector else ""
        yield f"{name}.{field.name}", annotations(cls)[field.name] + selector


def written_alias(name: str, found: Any) -> str:
    subcon = wire_of(found)
    if type(subcon) is wire.Integer and not isinstance(WRITTEN[name], ast.Name):
        return wire_text(subcon)
    return ast.unparse(WRITTEN[name])


def declared_wire(name: str, subcon: Any) -> Iterator[tuple[str, str]]:
    match subcon:
        case wire.Union():
            yield name, "union"
            yield from written_cases(name, subcon)
        case wire.Counted():
            (call,) = calls(WRITTEN[name], "Counted")
            (element,) = calls(call, "wire_of")
            yield name, f"list of {ast.unparse(element.args[0])}"
            yield f"{name} limit", "none" if subcon.limit == 0xFFFFFFFF else str(subcon.limit)
        case wire.Sized():
            optional = "optional " if subcon.optional else ""
            yield name, f"{optional}sized {subcon.subcon.cls.__name__}"
        case wire.Buffer(prefix=2):
            yield name, "octets"
            yield f"{name} limit", "none" if subcon.limit == 0xFFFF else str(subcon.limit)
        case wire.Empty():
            yield name, "structure of "
        case _:
            yield name, ast.unparse(WRITTEN[name])


def written_cases(name: str, union: wire.Union) -> Iterator[tuple[str, str]]:
    """Read the cases of a union; those that are computed, not written, by what they have become."""
    (call,) = calls(WRITTEN[name], "union")
    text = {}
    if isinstance(call.args[0], ast.Dict):
        keys = [ast.unparse(key).split(".") for key in call.args[0].keys if key]
        numbers = [getattr(getattr(constants, cls), member) for cls, member in keys]
        text = dict(zip(numbers, map(ast.unparse, call.args[0].values), strict=True))
    for number, case in union.cases.items():
        yield f"{name}[{number:#06x}]", text.get(number) or wire_text(case)


def wire_text(subcon: Any) -> str:
    """Say what a construct is that has no name of its own."""
    match subcon:
        case wire.Enumeration():
            return str(subcon.members.__name__)
        case wire.Handle():
            return "handle"
        case wire.Integer():
            return f"{subcon.width} octets, signed" if subcon.signed else f"{subcon.width} octets"
        case wire.Octets():
            return f"BYTE[{subcon.size}]"
        case wire.YesNo():
            return "yes or no"
        case wire.Empty():
            return "None"
        case Record():
            return str(subcon.cls.__name__)
    return type(subcon).__name__


def declared_constants(name: str, rows: list[Row]) -> Description:
    namespace = attributes if hasattr(attributes, name) else constants
    cls = getattr(namespace, name, getattr(types, name, None))
    if cls is None or not isinstance(cls, type):
        return dict.fromkeys(tabled_constants(name, rows), "absent")
    places = {f"{name}.{member}": f"{value:#x}" for member, value in cls.__members__.items()}
    for row in rows:
        if "shift=" in row["notes"] and row["name"] not in cls.__members__:
            places[f"{name}.{row['name']}"] = f"{number_bits(cls, row['name']):#x}"
    return places


def number_bits(cls: Any, name: str) -> int:
    """Find the bits of an attribute word that a property reads as a number, in order."""
    width = wire_of(cls).width * 8
    bits = {getattr(cls(1 << bit), name): 1 << bit for bit in range(width)}
    bits.pop(0, None)
    assert sorted(bits) == [1 << place for place in range(len(bits))]
    return sum(bits.values())
