"""Every hyperparameter that a Personalize recipe knows, written once: a frozen model a family of recipes.

A field is one hyperparameter: its type, default, range and meaning, where it is given (`place`) and whether Personalize's
hyperparameter optimisation may choose it (`tunable`). `parameters()` lists them for people, `parse()` reads what people send:
strings, as Personalize's API has them ("55", "true"), or numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from schemas.errors import ConfigError
from schemas.numbers import number_of

Kind = Literal["integer", "continuous", "categorical"]
Place = Literal["algorithm", "feature", "inference"]

# Names under which DescribeSolution shows what was submitted without them; accepted on input too.
_PREFIXES = ("training.", "data.", "featurization.")


def bare_name(name: str) -> str:
    """A hyperparameter's name without the prefix under which DescribeSolution shows it: `bptt` of `training.bptt`."""
    return next((name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)), name)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """Description of one hyperparameter.

    Attributes:
        name: Personalize's name, without a prefix.
        kind: `integer`, `continuous` or `categorical`, as in Personalize's hpoConfig.
        default: Taken where nothing is given.
        lowest, highest: Inclusive bounds of a number; None where there is none.
        above: Exclusive lower bound; None where there is none.
        choices: Values of a categorical one.
        place: `algorithm` (algorithmHyperParameters), `feature` (featureTransformationParameters) or `inference`
            (a campaign's or batch job's itemExplorationConfig).
        tunable: Hyperparameter optimisation may choose it.
        meaning: Its effect, in a few words.
    """

    name: str
    kind: Kind
    default: int | float | bool | str
    lowest: float | None
    highest: float | None
    above: float | None
    choices: tuple[str, ...]
    place: Place
    tunable: bool
    meaning: str

    @property
    def allowed(self) -> str:
        """The range in words: `a whole number from 32 to 256`."""
        if self.kind == "categorical":
            return "true or false" if isinstance(self.default, bool) else " or ".join(self.choices)
        noun = "a whole number" if self.kind == "integer" else "a number"
        if self.above is not None:
            return f"{noun} above {self.above:g}"
        return f"{noun} from {self.lowest:g} to {self.highest:g}"

    def read(self, value: Any, where: str) -> int | float | bool | str:
        """The value in its own type.

        Raises:
            ConfigError: It is of another type, or out of range.
        """
        if self.kind == "categorical":
            text = str(value).strip()
            for choice in self.choices:
                if text.lower() == choice.lower():
                    return text.lower() == "true" if isinstance(self.default, bool) else choice
            raise ConfigError("this is none of its values", where=where, value=value, allowed=self.allowed)
        number = number_of(value)
        if number is None or (self.kind == "integer" and not number.is_integer()):
            raise ConfigError("this is no such number", where=where, value=value, allowed=self.allowed)
        too_low = (self.above is not None and number <= self.above) or (self.lowest is not None and number < self.lowest)
        if too_low or (self.highest is not None and number > self.highest):
            raise ConfigError("the number is out of range", where=where, value=value, allowed=self.allowed)
        return int(number) if self.kind == "integer" else number


class Hyperparameters(BaseModel):
    """Base of all: no hyperparameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """Every hyperparameter, in the order of the recipe's documentation."""
        return tuple(_parameter(name, field) for name, field in cls.model_fields.items())

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, algorithm_arn: str, where: str = "hyperparameters") -> Self:
        """Read hyperparameters by name, bare or prefixed (`bptt`, `training.bptt`), as strings or as numbers.

        Args:
            values: Name -> value.
            algorithm_arn: What Personalize calls the recipe's algorithm; part of its text for unknown names.
            where: Key path of `values`, for messages.

        Raises:
            ConfigError: A name is unknown or given twice, or a value is wrong.
        """
        known = {parameter.name: parameter for parameter in cls.parameters()}
        read: dict[str, Any] = {}
        for written, value in values.items():
            name = bare_name(written)
            if name not in known:
                raise ConfigError(
                    f"Provide a hyperparameter that is used in the algorithm: {algorithm_arn}",
                    where=where,
                    value=written,
                    allowed=", ".join(known) or "none, this recipe has no hyperparameters",
                )
            if name in read:
                raise ConfigError("the hyperparameter is given twice, once with a prefix", where=f"{where}.{name}")
            read[name] = known[name].read(value, f"{where}.{written}")
        parsed = cls(**read)
        parsed.check(where)
        return parsed

    def check(self, where: str) -> None:
        """Raise ConfigError where values do not fit together."""


def parameter(
    place: Place,
    meaning: str,
    *,
    lowest: float | None = None,
    highest: float | None = None,
    above: float | None = None,
    tunable: bool = False,
) -> Any:
    """The annotation of a hyperparameter's field; the arguments are Parameter's attributes."""
    return Field(ge=lowest, le=highest, gt=above, description=meaning, json_schema_extra={"place": place, "tunable": tunable})


def field_of(definition: Parameter) -> tuple[Any, Any]:
    """A hyperparameter as a field of a model that is made at run time: its annotated type and its default."""
    choices = (True, False) if isinstance(definition.default, bool) else definition.choices
    kind: Any = (
        bool if choices == (True, False) else Literal[choices] if choices else int if definition.kind == "integer" else float
    )
    bounds = {"lowest": definition.lowest, "highest": definition.highest, "above": definition.above}
    return Annotated[
        kind, parameter(definition.place, definition.meaning, tunable=definition.tunable, **bounds)
    ], definition.default


def _parameter(name: str, field: FieldInfo) -> Parameter:
    facts: Any = field.json_schema_extra
    bounds = {bound: getattr(rule, bound) for rule in field.metadata for bound in ("ge", "le", "gt") if hasattr(rule, bound)}
    annotation: Any = field.annotation
    choices = ("True", "False") if annotation is bool else get_args(annotation) if get_origin(annotation) is Literal else ()
    return Parameter(
        name=name,
        kind="categorical" if choices else "integer" if annotation is int else "continuous",
        default=field.default,
        lowest=bounds.get("ge"),
        highest=bounds.get("le"),
        above=bounds.get("gt"),
        choices=choices,
        place=facts["place"],
        tunable=facts["tunable"],
        meaning=field.description or "",
    )
