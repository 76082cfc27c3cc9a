"""Every error the platform raises on purpose.

    HrnnError
    ├── UserError              the caller can mend it; exit status 1
    │   ├── UsageError         a command line that is none; exit status 2
    │   ├── ConfigError        a config, an option or a hyperparameter
    │   ├── SchemaError        a dataset schema
    │   ├── DataError          the contents of a dataset or a batch input
    │   ├── StorageError       a file, a folder, a bucket, the disk, a permission
    │   └── MachineError       something this machine lacks (Java, a GPU, a package)
    ├── IntegrityError         bytes differ from what the manifest promises
    ├── CommitLost             another run published first
    └── CommitUnknown          the store would not say whether a commit landed

A message says what is wrong, which value, what is allowed and what to do.
"""

from __future__ import annotations

from typing import Any, Self


def printable(text: str, most: int = 1000) -> str:
    """A text in one line that every terminal takes: odd characters are escaped, the middle of a long one is left out."""
    shown = text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return shown if len(shown) <= most else f"{shown[: most // 2]}…{shown[-most // 2 :]}"


class HrnnError(Exception):
    """Base of all deliberate errors.

    Attributes:
        facts: What the last line of the failed command says beside the error.
    """

    facts: dict[str, Any] = {}  # noqa: RUF012  # replaced, never changed


class UserError(HrnnError):
    """Something the caller gave is wrong.

    Args:
        problem: What is wrong, as a sentence without a full stop.
        where: Key path, file, or option that holds the value.
        value: The offending value; left out of the message when it is not given.
        allowed: What would have been accepted.
        remedy: What to do about it, as a sentence.
    """

    _MISSING: Any = object()

    # Of an error from another process, only the message may be known.
    problem: str = ""
    where: str | None = None
    value: Any = None
    allowed: str | None = None
    remedy: str | None = None

    def __init__(
        self,
        problem: str,
        *,
        where: str | None = None,
        value: Any = _MISSING,
        allowed: str | None = None,
        remedy: str | None = None,
    ) -> None:
        message = f"{printable(where)}: {problem}" if where else problem
        if value is not UserError._MISSING:
            shown = repr(value)
            message += f" (got {shown if len(shown) <= 200 else shown[:197] + '...'})"
        message += "."
        if allowed:
            message += f" Allowed: {allowed}."
        if remedy:
            message += f" {printable(remedy)}"
        super().__init__(message)
        self.problem = problem
        self.where = where
        self.value = None if value is UserError._MISSING else value
        self.allowed = allowed
        self.remedy = remedy

    def at(self, where: str) -> Self:
        """The same error, told of another key path, file or option."""
        shown = printable(where)
        message = str(self).replace(printable(self.where), shown, 1) if self.where else f"{shown}: {self}"
        moved = type(self).__new__(type(self))
        moved.__dict__.update(self.__dict__, where=where)
        Exception.__init__(moved, message)
        return moved

    def __reduce__(self) -> tuple[Any, ...]:
        """Restored in another process with the same message and attributes."""
        return error_of, (type(self), str(self)), self.__dict__


class UsageError(UserError):
    """A command line has an unknown option, lacks one, or gives one a value that it does not take."""


class ConfigError(UserError):
    """A config key, a command-line option or a hyperparameter is unknown or has a wrong value."""


class SchemaError(UserError):
    """A dataset schema breaks Personalize's rules."""


class DataError(UserError):
    """The contents of a dataset or of a batch input cannot be used."""


class StorageError(UserError):
    """A file, folder or bucket is missing, unreadable, unwritable or full."""


class MachineError(UserError):
    """This machine lacks something; `hrnn doctor` names the remedy."""


class IntegrityError(HrnnError):
    """Stored bytes differ from the size or SHA-256 in their manifest."""


class CommitLost(HrnnError):
    """Another run published first; nothing of this run is visible."""


class CommitUnknown(HrnnError):
    """The store did not say whether a commit landed; nothing was deleted, and a rerun settles it."""


def error_of(kind: type[HrnnError], message: str) -> HrnnError:
    """An error that was raised elsewhere, with the message that it had there."""
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    return error
