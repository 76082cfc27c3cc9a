"""The surroundings of a command line: a terminal's width, a shell's request for completion, typer's errors in our wording."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from pydantic import ValidationError

from schemas.config_errors import problem_of
from schemas.errors import ConfigError, StorageError, UsageError, UserError, printable

_COMPLETING = "_HRNN_COMPLETE"
_WIDTH = re.compile("[1-9][0-9]{1,3}")  # columns of a readable terminal


def forget_odd_widths() -> None:
    """Ignore impossible widths of a terminal: typer would print nothing into 0 columns, and fail at a word."""
    for name in ("COLUMNS", "TERMINAL_WIDTH"):
        if not _WIDTH.fullmatch(os.environ.get(name, "")):
            os.environ.pop(name, None)


def completing() -> bool:
    """Whether a shell requests completion; what was typed is not among the arguments then.

    Raises:
        ConfigError: The request has an unknown form.
    """
    request = os.environ.get(_COMPLETING)
    remedy = "The shell sets it; where none completes, unset _HRNN_COMPLETE."
    shells = "bash, zsh, fish, powershell, pwsh"
    if request and not re.fullmatch(f"(complete|source)_({shells.replace(', ', '|')})", request):
        allowed = f"complete_ or source_ and one of {shells}"
        raise ConfigError("this is no request of a shell", where=_COMPLETING, value=request, allowed=allowed, remedy=remedy)
    if request == "complete_bash":
        for name, form, allowed in (
            ("COMP_WORDS", "(?s).*", "what was typed"),
            ("COMP_CWORD", "[0-9]{1,9}", "a word's number"),
        ):
            value = os.environ.get(name)
            if value is None or not re.fullmatch(form, value):
                raise ConfigError("the shell's completion needs it", where=name, value=value, allowed=allowed, remedy=remedy)
    return bool(request)


def usage_error(error: typer.TyperException, job: str | None) -> UsageError:
    """typer's error of a command line, with the value, which typer leaves out, and the allowed range.

    Args:
        error: What typer raised.
        job: The command that was typed; None: none, or none that is known.
    """
    context, param, fault = (getattr(error, name, None) for name in ("ctx", "param", "__cause__"))
    command = f"hrnn {job}" if job else "hrnn"  # typer does not always know
    remedy = f"See {context.command_path if context else command} --help."
    if param is None or not isinstance(fault, ValidationError):
        message, _, suggestion = error.format_message().replace("\n\t", " ").partition(" Did you mean ")
        return UsageError(_problem(message), remedy=f"Did you mean {suggestion} {remedy}" if suggestion else remedy)
    first = fault.errors(include_url=False)[0]
    choices = param.type_descriptor.choices
    least, most = getattr(param, "min", None), getattr(param, "max", None)  # an option has both, or the first alone
    problem = _problem(problem_of(first if choices is None else {**first, "type": "enum"}))
    return UsageError(
        "a finite number is needed" if _is_infinite(first["input"]) else problem,
        where="/".join(param.opts) if param.param_type_name == "option" else param.metavar or param.name,
        value=first["input"],
        allowed=", ".join(map(str, choices)) if choices is not None else _range(least, most),
        remedy=remedy,
    )


def _range(least: float | None, most: float | None) -> str | None:
    if least is None:
        return None
    return f"{_shown(least)} or more" if most is None else f"{_shown(least)} to {_shown(most)}"


def _is_infinite(value: Any) -> bool:
    """Whether it is nan or infinity, which Python takes for numbers."""
    try:
        return not math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _shown(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def _problem(message: str) -> str:
    return printable(message[:1].lower() + message[1:]).rstrip(".")


def of_option(error: StorageError | ConfigError, run: Callable[..., Any], arguments: Mapping[str, Any]) -> UserError:
    """The error of a place or a parameter, with the option that names it; unchanged where no option does.

    Args:
        error: What the command raised.
        run: The command.
        arguments: Its arguments, by name.
    """
    names = [error.where] if error.where is not None and error.where in arguments else []
    if error.where is None and error.value is not None:
        names = [name for name, value in arguments.items() if error.value in (value if isinstance(value, list) else [value])]
    return error.at(", ".join(_as_typed(run, name) for name in names)) if names else error


def _as_typed(run: Callable[..., Any], name: str) -> str:
    """`--output` of an option `output`, `OLD.out` of an argument."""
    hint = get_type_hints(run, include_extras=True)[name]
    for annotation in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
        if isinstance(annotation, typer.models.ArgumentInfo):
            return str(annotation.metavar or name.upper())
    return "--" + name.replace("_", "-")
