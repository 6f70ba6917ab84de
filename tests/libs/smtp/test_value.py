"""Value objects: they behave as frozen dataclasses do, and mypy alone checks that nothing assigns to them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import field, replace

import pytest

from libs.smtp.value import fast_value


@fast_value(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0
    name: str = field(default="", compare=False)


@fast_value(frozen=True, slots=True, eq=False)
class ByIdentity:
    x: int


@fast_value(frozen=True, slots=True)
class Folded:
    text: str

    def __hash__(self) -> int:
        return hash(self.text.lower())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folded) and self.text.lower() == other.text.lower()


@fast_value(slots=True)
class Counter:
    seen: int = 0


@fast_value
class Bare:
    x: int


def test_equal_fields_are_equal_and_hash_alike() -> None:
    assert Point(1, 2) == Point(1, 2)
    assert Point(1, 2) != Point(2, 1)
    assert {Point(1, 2): "here"}[Point(1, 2, name="not compared")] == "here"


def test_a_class_with_its_own_hash_keeps_it() -> None:
    assert hash(Folded("A")) == hash(Folded("a"))
    assert Folded("A") == Folded("a")


def test_a_class_that_is_compared_by_identity_keeps_this_comparison() -> None:
    one = ByIdentity(1)
    assert one == one
    assert one != ByIdentity(1)
    assert len({one, ByIdentity(1)}) == 2


def test_mutable_values_have_no_hash() -> None:
    counter = Counter()
    counter.seen += 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(counter)


def test_replace_copy_and_pickle_make_equal_values() -> None:
    point = Point(1, 2)
    assert replace(point, y=3) == Point(1, 3)
    assert copy.copy(point) == point
    assert pickle.loads(pickle.dumps(point)) == point
    assert dataclasses.astuple(point) == (1, 2, "")
    assert repr(point).endswith("Point(x=1, y=2, name='')")


def test_a_value_has_slots_and_refuses_attributes_with_other_names() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 1  # type: ignore[attr-defined]
    assert not hasattr(Point(1), "__dict__")


def test_the_decorator_works_without_arguments() -> None:
    assert Bare(1) == Bare(1)


def test_only_the_type_checker_refuses_an_assignment_so_construction_is_fast() -> None:
    """mypy reports unused ignores.

    If mypy did not treat `fast_value` as a frozen dataclass, it would report the ignore below as unused.
    """
    point = Point(1)
    point.x = 2  # type: ignore[misc]
    assert point == Point(2)
    assert "__setattr__" not in Point.__dict__
