"""A setting of a job is one field of a model: the option of its command, the key of a night's config, what the job is given.

    epochs: Count | None = setting(
        None, "most times that every event is met, 1 or more; absent: the recipe's own", Option("Most times that …")
    )

is `--epochs`, with the option's help, type and range (jobs/options.py), `epochs` in the config, with this description, and the
attribute `settings.epochs` in the job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from schemas.config_errors import FieldRule, problem_of
from schemas.errors import ConfigError
from schemas.numbers import number_of
from schemas.quotas import PUBLISHED

_NO_FRACTION = "must be between 0 and 1"


def _fraction(value: Any) -> float:
    number = number_of(value)
    if number is None or not 0 <= number <= 1:
        raise PydanticCustomError("fraction", _NO_FRACTION)
    return number


def _number(value: Any) -> Any:
    number = number_of(value)
    if number is None:
        raise PydanticCustomError("number", "a number is needed")
    return number if isinstance(value, str) else value  # in its range or not, it is told as it was given


IS_NUMBER = BeforeValidator(_number)  # of a float: or text of one, as Personalize has them; neither nan nor true
Fraction = Annotated[float, Field(ge=0, le=1), BeforeValidator(_fraction)]  # neither nan nor true is one


class Section(BaseModel):
    """One table of the config; knows its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, data: Any) -> Any:
        if isinstance(data, dict):
            allowed = [field.alias or name for name, field in cls.model_fields.items()]
            for key in data:
                if key not in allowed:
                    meant = get_close_matches(str(key), allowed, 1, 0.6)
                    context = {"key": key, "allowed": ", ".join(allowed), "meant": meant[0] if meant else ""}
                    raise PydanticCustomError("unknown_key", "this key is not known", context)
        return data

    @classmethod
    def rule_of(cls, name: str) -> dict[str, Any]:
        """What JSON Schema says of a field that has a value; of a union, its first kind."""
        schema = _properties(cls)[name]
        rule: dict[str, Any] = schema.get("anyOf", [schema])[0]
        return {"type": "object", **rule}


@cache
def _properties(model: type[Section]) -> dict[str, Any]:
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    return properties


@dataclass(frozen=True)
class Option:
    """What a command line says of a field where that is not what the field says itself.

    Attributes:
        help: None: the field's description.
        name: In snake case; None: the field's own.
        metavar: Stands for its value; None: the type's.
        left_out: What is done without it, in words; True: its default.
        flag: There is no `--no-…`.
        refused: What is wrong with a value that is not allowed, as the job says it; None: the command line has the field's
            range and says it.
        typed: Type of what is typed, where `read` reads it.
        read: What is typed, and the option as it is typed -> the field's value; None: as the field's type says.
    """

    help: str | None = None
    name: str | None = None
    metavar: str | None = None
    left_out: str | bool = True
    flag: bool = False
    refused: str | None = None
    typed: Any = str
    read: Callable[[Any, str], Any] | None = None

    @classmethod
    def of(cls, field: FieldInfo) -> Option:
        """A field's own."""
        return next((told for told in field.metadata if isinstance(told, cls)), cls())


def setting(default: Any, description: str, option: Option | None = None) -> Any:
    """A field: its default, or what makes it; what a config says of it; what a command line says of it."""
    field: FieldInfo = Field(**{"default_factory" if callable(default) else "default": default}, description=description)
    field.metadata += [] if option is None else [option]
    return field


def fraction_option(told: str) -> Option:
    """The option of a `Fraction`."""
    return Option(told, metavar="<float>", read=_typed_fraction)


def _typed_fraction(text: str, option: str) -> float:
    try:
        return _fraction(text)
    except PydanticCustomError:
        raise ConfigError(_NO_FRACTION, where=option, value=text) from None


def quotas_option(told: str) -> Option:
    """`--quota NAME=VALUE`, which may be repeated."""
    return Option(told, name="quota", metavar="NAME=VALUE", typed=list[str], read=PUBLISHED.with_changes)


class Settings(Section):
    """All that a job can be told, besides places and what it runs on."""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """The settings of values by name.

        Raises:
            ConfigError: A name is not known, or a value is not allowed.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise cls._refused(error.errors(include_url=False)[0]) from None

    @classmethod
    def require(cls, given: Any, where: str = "settings") -> None:
        """Check that a job was given these settings, and not a mapping, as Python would let it.

        Raises:
            ConfigError: It was not.
        """
        if not isinstance(given, cls):
            raise ConfigError(f"{where} must be {cls.__name__}", value=given, allowed=f"{cls.__name__}.read({{…}})")

    @classmethod
    def _refused(cls, fault: Any) -> ConfigError:
        if not fault["loc"]:
            key = fault["ctx"]
            return ConfigError(fault["msg"], where=cls.__name__, value=key["key"], allowed=key["allowed"])
        field = FieldRule.at(cls, fault["loc"])
        option = Option.of(cls.model_fields[str(fault["loc"][0])])
        if fault["type"] == "extra_forbidden":
            return ConfigError(problem_of(fault), where=f"{field.path}.{fault['loc'][-1]}", allowed=field.keys())
        allowed = None if fault["type"] == "fraction" else fault.get("ctx", {}).get("allowed") or field.allowed()
        return ConfigError(option.refused or problem_of(fault), where=field.path, value=fault["input"], allowed=allowed)
