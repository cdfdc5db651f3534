"""What a class with annotations becomes."""

from typing import Annotated, Any, ClassVar

import construct
import pytest

from tpmwire.constants import TPM_ALG
from tpmwire.errors import DecodeError, EncodeError
from tpmwire.structure import Structure, by, secret, union, wire_of
from tpmwire.types import UINT8, UINT16
from tpmwire.wire import Buffer, Counted, Sized

EITHER = Annotated[int | bytes | None, union({1: UINT16, 2: Annotated[bytes, Buffer()], 3: None})]


class Point(Structure):
    """Two numbers."""

    x: UINT8
    y: UINT8 = 7


class Inner(Structure):
    kind: UINT8
    what: EITHER = by("kind", default=None)
    hidden: Annotated[bytes, Buffer(secret=True)] = b""


class Outer(Structure):
    count: ClassVar[int] = 3

    points: Annotated[tuple[Point, ...], Counted(wire_of(Point))] = ()
    inner: Annotated[Inner | None, Sized(Inner.schema, optional=True)] = None


def test_fields_come_in_order_with_defaults():
    assert Point(x=1).pack() == b"\x01\x07"
    assert Point(y=2, x=1).pack() == b"\x01\x02"
    assert [field.name for field in Outer.schema.fields] == ["points", "inner"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "Point: missing x$"),
        ({"x": 1, "z": 2, "w": 3}, "Point: unknown w, z$"),
        ({"X": 1}, "Point: unknown X; missing x$"),
    ],
)
def test_each_unknown_and_missing_field_is_named(values: dict[str, int], message: str):
    with pytest.raises(TypeError, match=message):
        Point(**values)


def test_only_keywords_are_taken():
    with pytest.raises(TypeError):
        Point(1, 2)


def test_a_value_never_changes():
    point = Point(x=1)
    with pytest.raises(AttributeError, match=r"replace\(x=...\) copies it"):
        point.x = 2
    with pytest.raises(AttributeError):
        point.z = 2
    with pytest.raises(AttributeError):
        del point.x
    assert point == Point(x=1)


def test_replace_copies():
    point = Point(x=1)
    assert point.replace(x=2) == Point(x=2)
    assert point.x == 1
    with pytest.raises(TypeError, match="unknown z"):
        point.replace(z=1)


def test_values_are_equal_by_class_and_fields():
    class Other(Structure):
        x: UINT8
        y: UINT8

    assert Point(x=1) == Point(x=1, y=7)
    assert hash(Point(x=1)) == hash(Point(x=1, y=7))
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != Other(x=1, y=7)
    assert len({Point(x=1), Point(x=1, y=7), Point(x=2)}) == 2


def test_a_repr_shows_all_but_secrets():
    shown = repr(Outer(points=(Point(x=1),), inner=Inner(kind=3, hidden=b"secret")))
    assert shown == (
        "Outer(points=(Point(x=1, y=7),), inner=Inner(kind=3, what=None, "
        "hidden=<6 octets, secret>))"
    )


def test_a_secret_union_is_not_shown_whatever_it_holds():
    class Hiding(Structure):
        kind: UINT8
        what: EITHER = by("kind", default=None, secret=True)

    assert repr(Hiding(kind=1, what=4711)) == "Hiding(kind=1, what=<int, secret>)"
    assert repr(Hiding(kind=2, what=b"4711")) == "Hiding(kind=2, what=<4 octets, secret>)"


def test_a_field_can_be_declared_secret_whatever_its_type():
    class Hiding(Structure):
        number: UINT8 = secret()
        octets: Annotated[bytes, Buffer()] = secret(b"")
        point: Point = secret(Point(x=1))

    hiding = Hiding(number=77, octets=b"4711")
    assert repr(hiding) == (
        "Hiding(number=<int, secret>, octets=<4 octets, secret>, point=<Point, secret>)"
    )
    assert Hiding.unpack(hiding.pack()) == hiding
    with pytest.raises(TypeError, match=r"Hiding: missing number$"):
        Hiding()


def test_octets_left_over_are_a_decode_error():
    with pytest.raises(DecodeError, match=r"^Point: 1 octets left over \(at octet 2\)$"):
        Point.unpack(b"\1\2\3")


def test_a_cut_value_is_a_decode_error_that_names_the_field():
    with pytest.raises(DecodeError, match=r"^Point\.y: 1 octets wanted, 0 left"):
        Point.unpack(b"\1")


@pytest.mark.parametrize(
    ("octets", "path"),
    [
        ("00", "Outer.points"),
        ("00000002 0102 03", "Outer.points[1].y"),
        ("00000000 0001 01", "Outer.inner.what"),
        ("00000000 0001 09", "Outer.inner.what"),
        ("00000000 0005 03 0003 6162", "Outer.inner.hidden"),
        ("00000000 0004 03 0000 00", "Outer.inner"),
    ],
)
def test_a_decode_error_names_the_place(octets: str, path: str):
    with pytest.raises(DecodeError) as caught:
        Outer.unpack(bytes.fromhex(octets))
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Outer(points=(Point(x=1), Point(x=256))), "Outer.points[1].x"),
        (Outer(points=(Point(x=1), "no")), "Outer.points[1]"),
        (Outer(inner=Inner(kind=1, what=b"no")), "Outer.inner.what"),
        (Outer(inner=Inner(kind=1)), "Outer.inner.what"),
        (Outer(inner=Inner(kind=3, what=1)), "Outer.inner.what"),
        (Outer(inner=Point(x=1)), "Outer.inner"),
    ],
)
def test_an_encode_error_names_the_place(value: Outer, path: str):
    with pytest.raises(EncodeError) as caught:
        value.pack()
    assert caught.value.path == path
    assert isinstance(caught.value, ValueError)


def test_errors_hide_what_construct_raised():
    with pytest.raises(DecodeError) as caught:
        Point.unpack(b"")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_no_secret_stands_in_an_encode_error():
    with pytest.raises(EncodeError) as caught:
        Inner(kind=3, hidden="my secret").pack()
    assert "my secret" not in str(caught.value)


def test_a_series_of_values_is_read_to_the_end():
    assert Point.unpack_series(b"") == ()
    assert Point.unpack_series(b"\1\2\3\4") == (Point(x=1, y=2), Point(x=3, y=4))
    with pytest.raises(DecodeError):
        Point.unpack_series(b"\1\2\3")


def test_a_field_that_hides_an_attribute_of_its_base_is_refused():
    with pytest.raises(TypeError, match=r"Bad\.pack hides"):
        type("Bad", (Structure,), {"__annotations__": {"pack": UINT8}})


@pytest.mark.parametrize("annotation", [int, Annotated[int, "no construct"], list[int], None])
def test_an_annotation_without_a_wire_format_is_refused(annotation: Any):
    with pytest.raises(TypeError, match="has no wire format"):
        wire_of(annotation)


def test_an_enumeration_and_a_structure_are_their_own_annotations():
    class Uses(Structure):
        alg: TPM_ALG
        point: Point

    value = Uses.unpack(b"\x00\x0b\1\2")
    assert value == Uses(alg=TPM_ALG.SHA256, point=Point(x=1, y=2))
    assert value.alg is TPM_ALG.SHA256


def test_a_construct_of_constructs_own_reads_the_fields_before_it():
    class Counts(Structure):
        size: UINT8
        body: Annotated[bytes, construct.Bytes(construct.this.size)]

    assert Counts.unpack(b"\2ab") == Counts(size=2, body=b"ab")
    assert Counts(size=2, body=b"ab").pack() == b"\2ab"
    with pytest.raises(DecodeError, match=r"Counts\.body"):
        Counts.unpack(b"\3ab")


def test_two_fields_can_be_selected_by_different_selectors():
    class Two(Structure):
        first: UINT8
        second: UINT8
        a: EITHER = by("first")
        b: EITHER = by("second")

    assert Two(first=1, second=2, a=5, b=b"x").pack() == b"\1\2\0\5\0\1x"
    assert Two.unpack(b"\2\1\0\1x\0\5") == Two(first=2, second=1, a=b"x", b=5)


def test_a_default_is_no_attribute_of_the_class():
    assert not hasattr(Point, "y")
