"""pydantic's validation errors as ConfigErrors in this project's words: key path, value, what is allowed, what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core.core_schema import ErrorType

from schemas.errors import ConfigError, printable

Location = tuple[int | str, ...]

NAME_RULE = "1 to 63 letters, digits, - or _, the first a letter or digit"
_PYDANTICS = frozenset(get_args(ErrorType))  # kinds of errors whose sentences are pydantic's; others are ours
_PROBLEMS = {
    "missing": "this key is missing",
    "extra_forbidden": "this key is not known",
    "string_pattern_mismatch": "this text has the wrong form",
    "string_too_short": "this text is empty",
    "string_too_long": "this text is too long",
    "string_unicode": "this is no text",
    "bool_type": "true or false is needed",
    "bool_parsing": "true or false is needed",
    "finite_number": "a finite number is needed",
    "greater_than": "the number is too small",
    "greater_than_equal": "the number is too small",
    "less_than": "the number is too large",
    "less_than_equal": "the number is too large",
    "literal_error": "this is not one of the values",
    "enum": "this is not one of the values",
    "too_short": "it is empty",
    "too_long": "it is too long",
}
_NEEDED = {
    "a text is needed": ("string_type",),
    "a whole number is needed": ("int_type", "int_from_float", "int_parsing", "int_parsing_size"),
    "a number is needed": ("float_type", "float_parsing"),
    "a table is needed": ("dict_type", "mapping_type", "model_type", "model_attributes_type"),
    "a list is needed": ("tuple_type", "list_type"),
}
_PROBLEMS |= {kind: problem for problem, kinds in _NEEDED.items() for kind in kinds}


def problem_of(fault: Any) -> str:
    """What is wrong, as a sentence: our own of a check of ours, and in place of each of pydantic's."""
    kind, message = fault["type"], str(fault["msg"])
    if kind == "value_error":
        message = message.removeprefix("Value error, ")  # raised by a function that pydantic called
    elif kind in _PYDANTICS:
        return _PROBLEMS.get(kind, "this value can't be used")
    return message[:1].lower() + message[1:]


def config_error(error: ValidationError, model: type[BaseModel], where: str) -> ConfigError:
    """One ConfigError for all faults: the first in full, the others by path.

    Args:
        error: What pydantic raised.
        model: The model that was validated.
        where: Name of the config file.
    """
    faults: dict[str, ConfigError] = {}
    for fault in error.errors(include_url=False):
        path, raised = _one(fault, model, where)
        faults.setdefault(path, raised)
    first, *others = faults
    if others:
        faults[first].args = (f"{faults[first]} Also wrong: {printable(', '.join(others))}.",)
    return faults[first]


def _one(fault: Any, model: type[BaseModel], where: str) -> tuple[str, ConfigError]:
    kind, context = fault["type"], fault.get("ctx", {})
    field = FieldRule.at(model, fault["loc"])
    path = field.path
    arguments: dict[str, Any] = {"allowed": field.explained() if kind == "missing" else field.allowed()}
    if "allowed" in context:
        arguments["allowed"] = context["allowed"]
    if kind == "extra_forbidden":
        path = f"{path}.{fault['loc'][-1]}"
        arguments["allowed"] = field.keys()
    elif kind == "unknown_key":
        path = ".".join([*([path] if path else []), str(context["key"])])
    elif kind == "at_key":
        path = context["path"]
        arguments["value"] = context["value"]
    elif kind != "missing":
        arguments["value"] = fault["input"]
    if kind == "fraction":
        arguments["allowed"] = None  # its sentence says it
    if kind == "uri":
        arguments["remedy"] = context["remedy"]
    if "[key]" in fault["loc"]:
        arguments["allowed"] = NAME_RULE
    if kind in {"unknown_key", "at_key"}:
        arguments["remedy"] = f"Did you mean {context['meant']}?" if context["meant"] else None
    return path, ConfigError(problem_of(fault), where=f"{where}: {path}" if path else where, **arguments)


@dataclass(frozen=True)
class FieldRule:
    """What JSON Schema says of one field of a model.

    Attributes:
        path: Key path, such as `solutions.for-you.hpo.ranges.bptt[0]`.
        rule: The field's schema, without references.
        description: Of the field, or of the one that it lies in.
    """

    path: str
    rule: dict[str, Any]
    description: str

    @classmethod
    def at(cls, model: type[BaseModel], location: Location) -> FieldRule:
        """The field at a location, which may end with branches of unions that pydantic adds."""
        schema = _schema(model)
        path, rule, description = "", schema, ""
        for part in location:
            inner = next(_inner(rule, part, schema.get("$defs", {})), None)
            if inner is None:
                break
            path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
            rule, description = inner, inner.get("description", description)
        return cls(path, rule | {"$defs": schema.get("$defs", {})}, description)

    def allowed(self) -> str:
        """Types, ranges and choices; and the description, where these alone say little."""
        words = in_words(self.rule, self.rule["$defs"])
        return self.explained() if words in _VAGUE else words

    def keys(self) -> str:
        """The keys of a table."""
        return ", ".join(_resolved(self.rule, self.rule["$defs"])["properties"])

    def explained(self) -> str:
        """Types, ranges and choices, and the description."""
        words = in_words(self.rule, self.rule["$defs"])
        return ": ".join(each for each in (words, self.description.rstrip(".")) if each)


def in_words(rule: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a JSON Schema allows: `a whole number from 1 to 40`, `auto, file, hash`, `a whole number of 1 or more, or none`."""
    rule = _resolved(rule, definitions)
    if "anyOf" in rule:
        branches = (in_words(branch, definitions) for branch in rule["anyOf"] if branch.get("type") != "null")
        return ", or ".join(dict.fromkeys(branches))
    if "enum" in rule or "const" in rule:
        values = rule.get("enum", [rule.get("const")])
        return ", ".join(value if isinstance(value, str) else json.dumps(value) for value in values)
    noun = _NOUNS.get(rule.get("type", ""), "")
    least, most, above = rule.get("minimum"), rule.get("maximum"), rule.get("exclusiveMinimum")
    if above is not None:
        return f"{noun} above {above:,}"
    if least is not None:
        return f"{noun} of {least:,} or more" if most is None else f"{noun} from {least:,} to {most:,}"
    if "maxLength" in rule and "pattern" not in rule:
        return f"{noun} of {rule.get('minLength', 0)} to {rule['maxLength']:,} characters"
    return noun


_NOUNS = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "array": "a list",
    "object": "a table",
}
_VAGUE = {"", *(_NOUNS[kind] for kind in ("string", "array", "object")), "a text, or a table", "a text, or a number"}


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _resolved(rule: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in rule:
        rule = definitions[rule["$ref"].rpartition("/")[2]]
    return rule


def _inner(rule: dict[str, Any], part: int | str, definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What stands at a key or a place of a value, by each branch of a union that has such."""
    rule = _resolved(rule, definitions)
    if isinstance(part, int):
        inner = [rule.get("items")]
    else:
        named = rule.get("properties", {})
        others = [rule.get("additionalProperties"), *rule.get("patternProperties", {}).values()]
        inner = [named[part]] if part in named else [] if part == "[key]" else others
    yield from (each for each in inner if isinstance(each, dict))
    for branch in rule.get("anyOf", ()):
        yield from _inner(branch, part, definitions)
