"""pydantic's validation errors of a config as one ConfigError: key path, value, what is allowed, what to do."""

from __future__ import annotations

from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from schemas.errors import ConfigError, printable

Location = tuple[int | str, ...]

NAME_RULE = "1 to 63 letters, digits, - or _, the first a letter or digit"
_PROBLEMS = {
    "missing": "this key is missing",
    "string_type": "a text is needed",
    "string_pattern_mismatch": "this text has the wrong form",
    "string_too_short": "this text is empty",
    "int_type": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "float_type": "a number is needed",
    "float_parsing": "a number is needed",
    "greater_than": "the number is too small",
    "greater_than_equal": "the number is too small",
    "less_than_equal": "the number is too large",
    "literal_error": "this is not one of the values",
    "dict_type": "a table is needed",
    "model_type": "a table is needed",
    "tuple_type": "a list is needed",
    "too_short": "it is empty",
}


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
    # pydantic says where and of which kind; the field's own description says what is allowed.
    kind, context = fault["type"], fault.get("ctx", {})
    location, description = key_path(model, fault["loc"])
    path = ".".join(location)
    arguments: dict[str, Any] = {"allowed": description}
    problem = _PROBLEMS.get(kind, fault["msg"][0].lower() + fault["msg"][1:])
    if kind == "unknown_key":
        path = ".".join([*location, str(context["key"])])
    elif kind == "at_key":
        path = context["path"]
        arguments["value"] = context["value"]
    elif kind != "missing":
        arguments["value"] = fault["input"]
    if kind == "uri":
        arguments["remedy"] = context["remedy"]
    if "[key]" in fault["loc"]:
        arguments["allowed"] = NAME_RULE
    if kind in {"unknown_key", "at_key"}:
        arguments["allowed"] = context["allowed"]
        arguments["remedy"] = f"Did you mean {context['meant']}?" if context["meant"] else None
    return path, ConfigError(problem, where=f"{where}: {path}" if path else where, **arguments)


def key_path(model: Any, location: Location) -> tuple[list[str], str | None]:
    """The keys of a location, without the branches of unions that pydantic adds, and the description of the last."""
    keys: list[str] = []
    description = None
    for part in location:
        model = _section_of(model)
        if get_origin(model) is dict:
            keys.append(str(part))
            model = get_args(model)[1]
        elif isinstance(model, type) and issubclass(model, BaseModel):
            fields = [field for name, field in model.model_fields.items() if part in {field.alias or name}]
            if not fields:
                break
            keys.append(str(part))
            model, description = fields[0].annotation, fields[0].description
        else:
            break  # what follows names a branch of a union, or a position in a list
    return keys, description


def _section_of(annotation: Any) -> Any:
    """The model or mapping of models inside `X | None`, `Annotated[X, …]` or a union; else the annotation itself."""
    if hasattr(annotation, "__metadata__"):
        return _section_of(get_args(annotation)[0])
    if get_origin(annotation) is not dict:
        for argument in get_args(annotation):
            if isinstance(argument, type) and issubclass(argument, BaseModel):
                return argument
    return annotation
