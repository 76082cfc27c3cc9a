"""A small shop for whole nights: a few hundred users with habits, so that there is something to learn, and a batch input."""

from __future__ import annotations

import json
import random
from pathlib import Path

INTERACTIONS = {
    "type": "record",
    "name": "Interactions",
    "namespace": "com.amazonaws.personalize.schema",
    "fields": [
        {"name": "USER_ID", "type": "string"},
        {"name": "ITEM_ID", "type": "string"},
        {"name": "TIMESTAMP", "type": "long"},
        {"name": "EVENT_TYPE", "type": "string"},
    ],
    "version": "1.0",
}
ITEMS = {
    "type": "record",
    "name": "Items",
    "namespace": "com.amazonaws.personalize.schema",
    "fields": [
        {"name": "ITEM_ID", "type": "string"},
        {"name": "GENRES", "type": ["null", "string"], "categorical": True},
        {"name": "CREATION_TIMESTAMP", "type": "long"},
    ],
    "version": "1.0",
}
FIRST_TIME = 1_700_000_000  # UTC epoch seconds


def write_shop(folder: Path, num_users: int = 300, num_items: int = 80, num_lines: int = 1000, seed: int = 0) -> None:
    """Write `raw/interactions/*.csv`, `raw/items.csv`, `schemas/*.json` and `batch/users.json` below a folder.

    Items stand in a circle; a user starts somewhere, moves on by small steps, and comes back after hours or days.

    Args:
        folder: Where; made where it is missing.
        num_users: Users with a history.
        num_items: Items.
        num_lines: Lines of the batch input; users come again and again, every tenth is unknown.
        seed: Of the shop.
    """
    dice = random.Random(seed)
    for name in ("raw/interactions", "schemas", "batch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = [row for user in range(num_users) for row in _history(user, num_items, dice)]
    rows.sort(key=lambda row: int(row.split(",")[2]))
    for number, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
        text = "\n".join(["USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE", *part, ""])
        (folder / f"raw/interactions/part-{number}.csv").write_text(text)
    items = [f"item-{item},{'abc'[item % 3]},{FIRST_TIME - item}" for item in range(num_items)]
    (folder / "raw/items.csv").write_text("\n".join(["ITEM_ID,GENRES,CREATION_TIMESTAMP", *items, ""]))
    (folder / "schemas/interactions.json").write_text(json.dumps(INTERACTIONS))
    (folder / "schemas/items.json").write_text(json.dumps(ITEMS))
    lines = [{"userId": f"stranger-{n}" if n % 10 == 9 else f"user-{n % num_users}"} for n in range(num_lines)]
    (folder / "batch/users.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _history(user: int, num_items: int, dice: random.Random) -> list[str]:
    item, time, rows = dice.randrange(num_items), FIRST_TIME + dice.randrange(20 * 86_400), []
    for _ in range(dice.randint(2, 6)):
        for _ in range(dice.randint(1, 8)):
            rows.append(f"user-{user},item-{item},{time},{dice.choice(['view', 'view', 'purchase'])}")
            item = (item + dice.choice([1, 1, 1, 2, 5])) % num_items
            time += dice.randint(5, 600)
        time += dice.randint(4_000, 200_000)
    return rows


def night_config(data: str, workspace: str, output: str, epochs: int = 2) -> str:
    """TOML of a night over the shop.

    Args:
        data: URI of the shop's folder.
        workspace: URI of the workspace.
        output: URI of the folder for `users.json.out`.
        epochs: Of the training.
    """
    return f"""
[dataset_group]
name = "shop"
workspace = "{workspace}"

[datasets.interactions]
schema = "{data}/schemas/interactions.json"
data = "{data}/raw/interactions/"

[datasets.items]
schema = "{data}/schemas/items.json"
data = "{data}/raw/items.csv"

[solutions.for-you]
recipe = "aws-hrnn"
hyperparameters = {{ hidden_dimension = "32", bptt = "16" }}
training = {{ epochs = {epochs} }}

[batch_inference.everyone]
solution = "for-you"
input = "{data}/batch/users.json"
output = "{output}"
num_results = 10
"""
