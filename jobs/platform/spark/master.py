"""Spark master URLs, checked before Java starts: Java answers a wrong one with its stack."""

from __future__ import annotations

import re

from schemas.errors import ConfigError

_COUNT = "0*[1-9][0-9]{0,5}"
_PORT = "0*(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"  # 1 to 65535
_HOST = r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])"
# Source: org.apache.spark.SparkMasterRegex; SparkSubmit for Kubernetes. Spark takes local[0] and fails at it.
_FORMS = {
    "local": "local",
    "local[N]": rf"local\[{_COUNT}\]",
    "local[*]": r"local\[\*\]",
    "local[N,F]": rf"local\[(?:{_COUNT}|\*)\s*,\s*{_COUNT}\]",
    "local-cluster[N,C,M]": rf"local-cluster\[\s*{_COUNT}\s*,\s*{_COUNT}\s*,\s*{_COUNT}\s*\]",
    "spark://HOST:PORT[,HOST:PORT…]": rf"spark://{_HOST}:{_PORT}(?:,{_HOST}:{_PORT})*",
    "yarn": "yarn",
    "k8s://https://HOST:PORT": rf"k8s://(?:https?://)?(?:[^\s/@]+@)?{_HOST}(?::{_PORT})?(?:/\S*)?",
}
_MASTER = re.compile("|".join(_FORMS.values()))


def check_master(master: str, where: str = "master") -> None:
    """Check the form of a Spark master URL.

    Args:
        master: The URL.
        where: Option, variable or file that holds it, for messages.

    Raises:
        ConfigError: Spark knows no such master.
    """
    if not _MASTER.fullmatch(master):
        shown = re.sub(r"//[^/@]*@", "//…@", master)  # there may be a password
        raise ConfigError("this is no Spark master", where=where, value=shown, allowed=", ".join(_FORMS))
