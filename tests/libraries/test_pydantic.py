"""Pydantic's models as values: classes that a compiled core has validated, and their instances."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

T = TypeVar("T")


class Address(BaseModel):
    street: str
    number: int = Field(gt=0)


class Person(BaseModel):
    name: str
    home: Address
    others: list[Address] = []

    @field_validator("name")
    @classmethod
    def _has_a_name(cls, value: str) -> str:
        if not value:
            raise ValueError("nameless")
        return value


class Box(BaseModel, Generic[T]):
    content: T


def local_model() -> type[BaseModel]:
    """A class that no worker can import."""

    class Local(BaseModel):
        number: int = Field(ge=0)
        address: Address | None = None

        def doubled(self) -> int:
            return 2 * self.number

    return Local


ADDRESS = Address(street="a", number=1)
INSTANCES = [
    ADDRESS,
    Person(name="n", home=ADDRESS, others=[ADDRESS]),
    Box[int](content=3),
    Box[Address](content=ADDRESS),
]


@pytest.mark.parametrize("value", INSTANCES, ids=repr)
def test_an_instance_comes_back_equal_and_of_its_class(ray: Any, value: BaseModel) -> None:
    @ray.remote
    def echo(given: Any) -> tuple[Any, str]:
        return given, given.model_dump_json()

    back, text = ray.get(echo.remote(value))
    assert back == value and type(back) is type(value) and text == value.model_dump_json()
    assert ray.get(ray.put([value, value])) == [value, value]


def test_a_class_is_an_argument_and_a_result(ray: Any) -> None:
    @ray.remote
    def make(kind: type[BaseModel], **fields: Any) -> Any:
        return kind, kind(**fields)

    kind, made = ray.get(make.remote(Address, street="b", number=2))
    assert kind is Address and made == Address(street="b", number=2)


def test_a_class_defined_in_a_function(ray: Any) -> None:
    model = local_model()

    @ray.remote
    def use(kind: Any, given: Any) -> tuple[Any, Any, bool]:
        assert isinstance(given, kind)
        return kind(number=given.doubled()), kind.model_fields["number"].is_required(), True

    made, required, _ = ray.get(use.remote(model, model(number=4, address=ADDRESS)))
    assert isinstance(made, model) and made.number == 8 and required


def test_a_class_defined_in_a_task(ray: Any) -> None:
    made = ray.get(ray.remote(lambda: local_model()(number=3)).remote())
    assert made.doubled() == 6 and made.model_dump() == {"number": 3, "address": None}
    with pytest.raises(ValidationError):
        type(made)(number=-1)


def test_validation_fails_in_the_worker_as_here(ray: Any) -> None:
    with pytest.raises(ValidationError) as here:
        Person(name="", home={"street": "a", "number": 0})

    @ray.remote
    def make() -> Person:
        return Person(name="", home={"street": "a", "number": 0})

    with pytest.raises(Exception, match="2 validation errors for Person") as there:
        ray.get(make.remote())
    assert isinstance(there.value, ray.exceptions.RayTaskError)
    assert str(here.value) in str(there.value)


def test_an_actor_keeps_models(ray: Any) -> None:
    @ray.remote
    class Register:
        def __init__(self, kind: type[BaseModel], first: BaseModel) -> None:
            self.kind, self.all = kind, [first]

        def add(self, **fields: Any) -> list[BaseModel]:
            self.all.append(self.kind(**fields))
            return self.all

    register = Register.remote(Address, ADDRESS)
    assert ray.get(register.add.remote(street="b", number=2)) == [
        ADDRESS,
        Address(street="b", number=2),
    ]
