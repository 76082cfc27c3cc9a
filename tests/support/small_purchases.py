"""Purchases for a night of several recipes: made up, in the shape of the working data, so that a clone alone has some."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

START, DAY = 1_700_000_000, 86_400  # UTC epoch seconds
NAMESPACE = "com.amazonaws.personalize.schema"
_FIELDS: dict[str, list[dict[str, Any]]] = {
    "interactions": [
        {"name": "USER_ID", "type": "string"},
        {"name": "ITEM_ID", "type": "string"},
        {"name": "TIMESTAMP", "type": "long"},
        {"name": "EVENT_TYPE", "type": "string"},
    ],
    "items": [{"name": "ITEM_ID", "type": "string"}, {"name": "PRICE", "type": ["null", "float"]}],
    "users": [{"name": "USER_ID", "type": "string"}, {"name": "COUNTRY", "type": "string", "categorical": True}],
}


def write_purchases(folder: Path, num_users: int = 520, num_items: int = 260, seed: int = 0) -> None:
    """Write `interactions`, `items` and `users`, each as `.csv` and `.schema.json`.

    Items stand in a circle of neighbours that are bought together; a few buyers have far more than a hundred purchases, every
    fifth user is German, every third item costs more than 2.50, and some purchases are sent back.

    Args:
        folder: Where; made where it is missing.
        num_users, num_items: How many.
        seed: Of all that is drawn.
    """
    dice = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    countries = ["United Kingdom", "France", "Germany", "Spain", "Kenya"]
    rows: dict[str, list[list[Any]]] = {
        "users": [[f"c{user}", countries[user % 5]] for user in range(num_users)],
        "items": [[f"SKU{item}", "" if item % 50 == 49 else 1 + 0.5 * (item % 6)] for item in range(num_items)],
        "interactions": [row for user in range(num_users) for row in _history(user, num_items, dice)],
    }
    rows["interactions"].sort(key=lambda row: (row[2], row[0]))
    for name, fields in _FIELDS.items():
        document = {"type": "record", "name": name.capitalize(), "namespace": NAMESPACE, "fields": fields, "version": "1.0"}
        (folder / f"{name}.schema.json").write_text(json.dumps(document))
        with open(folder / f"{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows([[field["name"] for field in fields], *rows[name]])


def _history(user: int, num_items: int, dice: random.Random) -> list[list[Any]]:
    home, rows = dice.randrange(num_items), []
    for visit in range(60 if user % 40 == 0 else dice.randint(2, 6)):
        time = START + visit * DAY + dice.randrange(DAY // 2)
        for _ in range(dice.randint(2, 5)):
            item = (home + dice.randint(0, 25)) % num_items
            time += dice.randint(1, 60)
            kind = "return" if dice.random() < 0.03 else "purchase"
            rows.append([f"c{user}", f"SKU{item}", time, kind])
    return rows
