"""How data are imported and cut into sessions, as `hrnn validate`, `hrnn sessionize` and a night's config are told it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from schemas.errors import ConfigError
from schemas.numbers import number_of
from schemas.quotas import Quotas
from schemas.settings import Fraction, Option, Settings, fraction_option, quotas_option, setting
from schemas.solutions import Count, EventType


def _in_any_case(*choices: str) -> BeforeValidator:
    """Takes a choice in whatever case it is written; what is none stays as it was written, for the message."""
    return BeforeValidator(
        lambda value: next((each for each in choices if isinstance(value, str) and value.lower() == each.lower()), value)
    )


ImportMode = Annotated[Literal["FULL", "INCREMENTAL"], _in_any_case("FULL", "INCREMENTAL")]
Future = Annotated[Literal["reject", "keep"], _in_any_case("reject", "keep")]
LongCategories = Annotated[Literal["fail", "reject"], _in_any_case("fail", "reject")]
_UNTRUE = "Events whose time cannot be true (after the import, far after all others, 0 or 1 for a null)"


def _read_gap(text: str, option: str) -> int | str:
    number = number_of(text)
    if text != "none" and (number is None or not number.is_integer()):
        raise ConfigError("this is no number of seconds", where=option, value=text, allowed="1 or more, or none")
    return text if number is None else int(number)


class Validation(Settings):
    """What Personalize allows and advises, and how strictly it is taken."""

    strict: Annotated[bool, Field(strict=True)] = setting(
        False,
        "stop the night where Personalize would refuse the data",
        Option("Fail where Personalize would: its quotas and minimums are errors, not findings.", flag=True),
    )
    quotas: Quotas = setting(
        Quotas,
        "name = value; those left out are Personalize's newest",
        quotas_option("Change a quota: NAME=VALUE; may be repeated."),
    )
    future: Future = setting(
        "reject",
        f'{_UNTRUE[0].lower()}{_UNTRUE[1:]}: "reject" them, or "keep" them',
        Option(f"{_UNTRUE}: reject or keep.", refused="this is not known"),
    )
    long_categories: LongCategories = setting(
        "fail",
        'a categorical value above 1,000 characters: "fail" the import, as Personalize does, or "reject" its row',
        Option(
            "A categorical value above 1,000 characters: fail, as Personalize does, or reject its row.",
            refused="this is not known",
        ),
    )


class ValidateSettings(Validation):
    """All that `hrnn validate` can be told, besides places."""

    import_mode: ImportMode = setting(
        "FULL",
        "FULL replaces what the output folder holds, INCREMENTAL adds to it; the first must be FULL.",
        Option(refused="this import mode is not known"),
    )
    max_rejected_fraction: Fraction = setting(
        0.01,
        "Share of rejected rows, 0 to 1, above which the import fails once its report is written.",
        fraction_option("Share of rejected rows, 0 to 1, above which the import fails once its report is written."),
    )
    gap_seconds: Annotated[int, Field(strict=True, ge=1)] = setting(
        1800,
        "Idle seconds that end a session in the report's figures.",
        Option(refused="this gap is too short"),
    )


class Sessions(Settings):
    """How interactions become sessions."""

    gap_seconds: Count | Literal["none"] = setting(
        1800,
        'whole seconds without an event that end a session, or "none": a user\'s history is one session',
        Option(
            "A session ends after more idle seconds than this; none: a user's history is one session.",
            refused="this gap is too short",
            read=_read_gap,
        ),
    )
    tie_order: Literal["auto", "file", "hash"] = setting(
        "auto",
        'order of a user\'s events of the same second: "file", or "hash" where file order is an artefact, '
        'or "auto": what the import finds right',
        Option(
            "Order of a user's events at one time: file keeps the input's, hash shuffles it, auto: as validate advises.",
            refused="this order is not known",
        ),
    )
    event_types: Annotated[tuple[EventType, ...], Field(min_length=1)] | None = setting(
        None,
        "the EVENT_TYPE values that count; absent: all of them",
        Option(
            "Keep events of this type only; may be repeated.",
            name="event_type",
            typed=list[str],
            read=lambda given, _: given or None,
        ),
    )

    @property
    def gap(self) -> int | None:
        """Seconds, or None where a history is one session."""
        return None if self.gap_seconds == "none" else self.gap_seconds


class SessionizeSettings(Sessions):
    """All that `hrnn sessionize` can be told, besides places."""

    num_shards: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = setting(
        None,
        "Shards that users are dealt to; by default as many as the events ask for.",
        Option(name="shards", refused="this number of shards is out of range"),
    )
