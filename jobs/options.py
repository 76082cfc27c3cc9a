"""A command's options, made from the fields of its job's settings (schemas/settings.py)."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args, get_type_hints

import typer
from pydantic.fields import FieldInfo

from jobs.platform.spark.master import check_master
from schemas.documents import read_json
from schemas.errors import ConfigError, StorageError, UserError
from schemas.settings import Option, Section, Settings


def _spark_master(typed: str) -> str:
    check_master(typed, "--master")
    return typed


SparkMaster = Annotated[
    str | None,
    typer.Option(
        help="Spark master, such as local[4], spark://host:7077 or yarn.",
        show_default="spark-submit's, else this machine",
        metavar="URL",
        parser=_spark_master,
    ),
]

_TYPES: dict[str, type] = {"integer": int, "number": float, "boolean": bool, "string": str}  # of JSON Schema
_TYPED_AS_JSON = {"object": dict, "array": list}


def with_settings(run: Callable[..., Any]) -> Callable[..., Any]:
    """The command whose parameters that are settings are typed option by option: one for each field of their models."""
    hints = get_type_hints(run, include_extras=True)
    models = {name: kind for name, kind in hints.items() if isinstance(kind, type) and issubclass(kind, Settings)}

    options = {key: option for model in models.values() for key, option in _options(model)}

    @functools.wraps(run)
    def command(context: typer.Context, **given: Any) -> Any:
        typed = {name for name in given if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"}
        try:
            read = {name: model.read(_values(model, given, typed)) for name, model in models.items()}
            return run(**given, **read)
        except UserError as error:
            raise _named_as_typed(error, options) from None

    parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for name, parameter in inspect.signature(run).parameters.items():
        made = _parameters(models[name]) if name in models else [parameter.replace(annotation=hints[name])]
        parameters += (each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in made)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def _options(model: type[Section], key_prefix: str = "", prefix: str = "") -> Iterator[tuple[str, str]]:
    """Key path of each field, and its option as it is typed."""
    for key, field in model.model_fields.items():
        name = prefix + (Option.of(field).name or key)
        yield key_prefix + key, _as_typed(name)
        if section := _section(field):
            yield from _options(section, f"{key_prefix}{key}.", f"{name}_")


def _named_as_typed(error: UserError, options: dict[str, str]) -> UserError:
    """The error of a setting, with the setting's option in place of its key; another error as it is."""
    where = error.where or ""
    if not isinstance(error, ConfigError) and (isinstance(error, StorageError) or where not in options):
        return error  # of a place, whose name may begin like a key: `recipe.csv`
    key = max((key for key in options if re.match(rf"{re.escape(key)}(?![^.[,])", where)), key=len, default=None)
    return error if key is None else error.at(options[key] + where.removeprefix(key))


def _parameters(model: type[Section], prefix: str = "") -> Iterator[inspect.Parameter]:
    """The options of a model's fields."""
    for key, field in model.model_fields.items():
        option, name = Option.of(field), prefix + (Option.of(field).name or key)
        kind, default, bounds = _typed(field, option, model.rule_of(key))
        flags = [_as_typed(name)] if option.flag else []
        told = option.help or field.description
        typed = typer.Option(*flags, help=told, metavar=option.metavar, show_default=option.left_out, **bounds)
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, typed])
        if section := _section(field):
            yield from _parameters(section, f"{name}_")


def _typed(field: FieldInfo, option: Option, rule: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """What is typed for a field: its type, its default, its range."""
    default = field.get_default(call_default_factory=True)
    if _section(field):
        return bool, False, {}
    if option.read is not None:
        return option.typed | None, str(default) if option.typed is str and default is not None else None, {}
    kind = _TYPES.get(rule["type"], str)
    if rule["type"] in _TYPED_AS_JSON and default is not None:
        default = json.dumps(default)
    bounds = {} if option.refused else {"min": rule.get("minimum"), "max": rule.get("maximum")}
    return kind | None if default is None else kind, default, bounds


def _values(model: type[Section], given: dict[str, Any], typed: set[str], prefix: str = "") -> dict[str, Any]:
    """Field -> value of what was typed; the model's options are taken out of `given`."""
    values = {}
    for key, field in model.model_fields.items():
        option, name = Option.of(field), prefix + (Option.of(field).name or key)
        value = given.pop(name)
        if section := _section(field):
            inside = _values(section, given, typed, f"{name}_")
            if inside and not value:
                unused = [_as_typed(f"{name}_{Option.of(section.model_fields[each]).name or each}") for each in inside]
                raise ConfigError(f"this says how {_as_typed(name)} is done, which is not asked for", where=", ".join(unused))
            value = inside
        if name not in typed:
            continue  # the field's default
        if option.read is not None:
            value = option.read(value, _as_typed(name))
        elif isinstance(value, str) and (kind := _TYPED_AS_JSON.get(model.rule_of(key)["type"])):
            value = _json(value, _as_typed(name), kind)
        values[key] = value
    return values


def _section(field: FieldInfo) -> type[Section] | None:
    """The table that a field may hold, whose own fields are options too."""
    return next((kind for kind in get_args(field.annotation) if isinstance(kind, type) and issubclass(kind, Section)), None)


def _as_typed(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _json(text: str, option: str, kind: type) -> Any:
    """What an option's JSON says."""
    try:
        parsed = read_json(text)
    except ValueError as error:
        raise ConfigError(f"this is no JSON ({error})", where=option, value=text) from None
    if not isinstance(parsed, kind):
        raise ConfigError(f"this is no JSON {'object' if kind is dict else 'list'}", where=option, value=text)
    return parsed
