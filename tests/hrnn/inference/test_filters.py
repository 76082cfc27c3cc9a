from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnn.data.past_events import PastEvents
from hrnn.inference.allowed import Allowed
from hrnn.inference.filters import FilterQuery, ItemFilter, UserFilter
from hrnn.inference.filters.cache import MaskCache
from hrnn.inference.filters.columns import column_of
from hrnn.inference.filters.operations import OPERATIONS
from schemas.datasets import DatasetSchema, parse_schema_document
from schemas.errors import DataError
from schemas.filters import Filter, FilterError, FilterPolicy, check_filter, in_words, parse_filter
from schemas.filters.operators import OPERATORS, Operator
from schemas.filters.tree import (
    AllOf,
    Anything,
    Condition,
    FieldRef,
    Moment,
    Node,
    Number,
    Parameter,
    Text,
    Truth,
    conditions,
)

NOW = 1_000_000
MANY = FilterPolicy(fields=50)
EVENT_TYPES = ["Click", "stream", "purchase"]
Values = Mapping[str, tuple[str, ...]]


def dataset(name: str, *fields: tuple[str, Any]) -> DatasetSchema:
    described = [
        {"name": column, "type": ["null", kind.rstrip("*")] if column not in KEYS else kind, "categorical": kind.endswith("*")}
        for column, kind in fields
    ]
    for entry in described:
        if not entry["categorical"]:
            del entry["categorical"]
    return parse_schema_document({"type": "record", "name": name, "fields": described, "version": "1.0"})


KEYS = {"USER_ID", "ITEM_ID", "TIMESTAMP", "CREATION_TIMESTAMP", "EVENT_TYPE"}
SCHEMAS = {
    "Items": dataset(
        "Items",
        ("ITEM_ID", "string"),
        ("GENRE", "string*"),
        ("BRAND", "string"),
        ("PRICE", "float"),
        ("YEAR", "int"),
        ("SOLD", "boolean"),
        ("CREATION_TIMESTAMP", "long"),
    ),
    "Users": dataset("Users", ("USER_ID", "string"), ("AGE", "int"), ("LIKES", "string*"), ("VIP", "boolean")),
    "Interactions": dataset(
        "Interactions", ("USER_ID", "string"), ("ITEM_ID", "string"), ("TIMESTAMP", "long"), ("EVENT_TYPE", "string")
    ),
}


@dataclass
class World:
    """Items, users and what they did, as plain lists; and as the platform holds them."""

    items: list[dict[str, Any]]
    users: list[dict[str, Any]]
    events: list[list[tuple[int, int]]] = field(default_factory=list)  # of each user, oldest first: item row, code of the type
    current: list[int] = field(default_factory=list)

    def catalogue(self) -> pa.Table:
        kinds = {"GENRE": pa.dictionary(pa.int32(), pa.string()), "BRAND": pa.string(), "PRICE": pa.float32()}
        kinds |= {"YEAR": pa.int32(), "SOLD": pa.bool_(), "CREATION_TIMESTAMP": pa.int64()}
        return pa.table({name: pa.array([item[name] for item in self.items], kind) for name, kind in kinds.items()})

    def attributes(self) -> pa.Table:
        kinds = {"AGE": pa.int32(), "LIKES": pa.string(), "VIP": pa.bool_()}
        return pa.table({name: pa.array([user[name] for user in self.users], kind) for name, kind in kinds.items()})

    def past(self) -> PastEvents:
        pairs = []
        for events in self.events:
            found = {}
            for place, (item, code) in enumerate(events):
                found[item, code] = sum(later == code for _, later in events[place + 1 :])
            pairs.append(sorted((code, item, rank) for (item, code), rank in found.items()))
        flat = [pair for of_user in pairs for pair in of_user]
        columns = [np.array([pair[place] for pair in flat], np.int32) for place in (1, 0, 2)]
        return PastEvents(np.cumsum([0, *map(len, pairs)]), *columns)

    def asked(self, values: Sequence[Values], of: Sequence[int]) -> FilterQuery:
        return FilterQuery(
            len(self.users), values, np.array(of, np.int64), self.attributes(), self.past(), np.array(self.current, np.int64)
        )

    def item_filter(self, wanted: Filter, newest: int = 100, **options: Any) -> ItemFilter:
        return ItemFilter(
            wanted,
            self.catalogue(),
            schemas=SCHEMAS,
            attributes=self.attributes().schema,
            event_types=EVENT_TYPES,
            past_events=newest,
            now=NOW,
            **options,
        )


# The same rules once more, as plainly as they can be said: one user and one item at a time.


def cell_values(value: Any, categorical: bool) -> list[Any]:
    if value is None or (isinstance(value, float) and value != value):
        return []
    return [part.strip() for part in value.split("|") if part.strip()] if categorical else [value]


def meant(condition: Condition, kind: str, values: Values, current: dict[str, Any] | None) -> list[Any]:
    found: list[Any] = []
    for operand in condition.operands:
        match operand:
            case Text():
                found.append(operand.value)
            case Number() | Truth():
                found.append(operand.value)
            case Moment():
                found.append(NOW - operand.seconds_ago)
            case Anything():
                found.append("*")
            case Parameter():
                found += values[operand.name]
            case FieldRef():
                found += cell_values(current and current[operand.name], operand.name == "GENRE")
    if kind == "number":
        found = [float(value) for value in found]
    if kind == "truth":
        found = [value if isinstance(value, bool) else value == "true" for value in found]
    return found


def holds(condition: Condition, cell: list[Any], wanted: list[Any]) -> bool:
    if not cell or not wanted:
        return False
    match condition.operator.spelling:
        case "IN" | "=":
            return any(value in wanted for value in cell)
        case "NOT IN" | "!=":
            return not any(value in wanted for value in cell)
        case "<":
            return cell[0] < wanted[0]
        case "<=":
            return cell[0] <= wanted[0]
        case ">":
            return cell[0] > wanted[0]
        case ">=":
            return cell[0] >= wanted[0]
    raise AssertionError(f"what {condition.operator} means is not said here")


NUMBERS, TEXTS = (0, 1, 2, None), ("a", "ab", "b|a", "b", None)
COMPARED = [
    pytest.param(operator, cells, id=f"{operator} {kind}")
    for operator in OPERATORS.values()
    for kind, cells in (("number", NUMBERS), ("text", TEXTS))
    if kind in operator.takes
]


@pytest.mark.parametrize(("operator", "cells"), COMPARED)
def test_every_operator_finds_the_rows_of_a_plain_loop(operator: Operator, cells: tuple[Any, ...]) -> None:
    wanted = [1] if cells is NUMBERS else ["a"]
    parsed = parse_filter(f'INCLUDE ItemID WHERE Items.X {operator} ("{wanted[0]}")', extended=True)
    [condition] = conditions(parsed.expressions[0].where)
    found = column_of(pa.chunked_array([pa.array(cells)]), multiple=True).match(operator, tuple(wanted))
    assert found.tolist() == [holds(condition, cell_values(cell, cells is TEXTS), wanted) for cell in cells]


def test_an_operator_is_an_entry_and_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        OPERATORS,
        "BEGINS WITH",
        Operator(
            spelling="BEGINS WITH",
            phrase="begins with",
            event_phrase="whose type begins with",
            takes=("text",),
            extension=True,
        ),
    )
    monkeypatch.setitem(OPERATIONS, "BEGINS WITH", lambda cells, values: pc.starts_with(cells, values[0]))
    refusals = {
        'BRAND begins with "a"': "BEGINS WITH is an extension, which Personalize does not know",
        'BRAND BEGINS "a"': "after BEGINS the word WITH is missing .* Allowed: BEGINS WITH.",
        "BRAND BEGINS WITH 3": "BEGINS WITH compares texts. Allowed: a text.",
        'YEAR BEGINS WITH "3"': "YEAR is a int, and BEGINS WITH compares texts. Allowed: IN, NOT IN, =, !=, <, <=, >, >=.",
    }
    for where, says in refusals.items():
        with pytest.raises(FilterError, match=says):
            check_filter(parse_filter(f"INCLUDE ItemID WHERE Items.{where}", extended=" BEGINS" in where), SCHEMAS)

    catalogue = pa.table({"BRAND": ["a", "ba", "ab", None]})
    past = World([], [], [[(1, 0), (3, 1)]]).past()  # a click on the second item, a stream of the last
    for where, words, rows in (
        ('Items.BRAND BEGINS WITH "a"', 'whose BRAND begins with "a"', [0, 2]),
        ('Interactions.EVENT_TYPE BEGINS WITH "CL"', 'with which the user had an event whose type begins with "CL"', [1]),
    ):
        parsed = parse_filter(f"INCLUDE ItemID WHERE {where}", extended=True)
        assert in_words(parsed) == f"Recommends only items {words}."
        allowed = ItemFilter(parsed, catalogue, event_types=EVENT_TYPES).allowed(FilterQuery(1, past=past))
        assert sorted([*np.flatnonzero(allowed.masks[0]), *allowed.added.values]) == rows


KINDS = {"PRICE": "number", "YEAR": "number", "AGE": "number", "CREATION_TIMESTAMP": "number", "SOLD": "truth", "VIP": "truth"}


def met(node: Node, row: dict[str, Any], types: list[str], values: Values, current: dict[str, Any] | None) -> bool:
    if not isinstance(node, Condition):
        parts = [met(part, row, types, values, current) for part in node.parts]
        return all(parts) if isinstance(node, AllOf) else any(parts)
    name = node.field.name.upper()
    wanted = meant(node, KINDS.get(name, "text"), values, current)
    if node.field.source == "Interactions":
        if "*" in wanted:
            return bool(types) and node.operator.spelling in ("IN", "=")
        return holds(node, [name for name in types if name], [value.lower() for value in wanted])
    return holds(node, cell_values(row[name], name in ("GENRE", "LIKES")), wanted)


def types_of(events: list[tuple[int, int]], item: int | None, newest: int) -> list[str]:
    found = []
    for place, (row, code) in enumerate(events):
        is_new = sum(later == code for _, later in events[place + 1 :]) < newest
        if (item is None or row == item) and is_new:
            found.append("" if code < 0 else EVENT_TYPES[code].lower())
    return found


def expected(world: World, wanted: Filter, line: int, values: Values, newest: int) -> set[int]:
    """The items that a line may hold."""
    included: set[int] = set()
    excluded: set[int] = set()
    some = False
    current = world.items[world.current[line]] if world.current[line] >= 0 else None
    for expression in wanted.expressions:
        if any(name not in values for name in expression.parameters):
            continue  # of an EXCLUDE
        if not all(met(condition, world.users[line], [], values, None) for condition in expression.only_if):
            continue
        found = {
            row
            for row, item in enumerate(world.items)
            if met(expression.where, item, types_of(world.events[line], row, newest), values, current)
        }
        if expression.verb == "INCLUDE":
            some, included = True, included | found
        else:
            excluded |= found
    return (included if some else set(range(len(world.items)))) - excluded


def numbers(values: list[Any], kind: Any) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values).map(kind)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    words = ["a", "b", "c", " a | b", "b|c", "|", "a|a", "d"]
    item = st.fixed_dictionaries(
        {
            "GENRE": st.none() | st.sampled_from(words),
            "BRAND": st.none() | st.sampled_from(["a", "b", "a|b", " a"]),
            "PRICE": numbers([0.0, 0.5, 1.0, 2.0, float("nan")], float),
            "YEAR": numbers([0, 1, 2, 3], int),
            "SOLD": st.none() | st.booleans(),
            "CREATION_TIMESTAMP": st.sampled_from([NOW - 86_400 * days for days in range(4)]),
        }
    )
    user = st.fixed_dictionaries(
        {
            "AGE": numbers([0, 1, 2, 3], int),
            "LIKES": st.none() | st.sampled_from(words),
            "VIP": st.none() | st.booleans(),
        }
    )
    items = draw(st.lists(item, min_size=1, max_size=8))
    users = draw(st.lists(user, min_size=1, max_size=6))
    event = st.tuples(st.integers(0, len(items) - 1), st.integers(-1, len(EVENT_TYPES) - 1))
    events = [draw(st.lists(event, max_size=8)) for _ in users]
    return World(items, users, events, [draw(st.integers(-1, len(items) - 1)) for _ in users])


def quoted(draw: st.DrawFn, choices: list[str]) -> str:
    return ", ".join(f'"{value}"' for value in draw(st.lists(st.sampled_from(choices), min_size=1, max_size=3)))


@st.composite
def item_conditions(draw: st.DrawFn, source: str) -> str:
    text, number, truth = {
        "Items": (["GENRE", "BRAND"], ["PRICE", "YEAR"], "SOLD"),
        "CurrentUser": (["LIKES"], ["AGE"], "VIP"),
        "Users": (["LIKES"], ["AGE"], "VIP"),
    }[source]
    kind = draw(st.sampled_from(["text", "number", "list", "truth", "time", "current"]))
    if kind == "text":
        name = draw(st.sampled_from(text))
        operator = draw(st.sampled_from(["IN", "NOT IN"]))
        return f"{source}.{name} {operator} ({draw(st.sampled_from(['$TEXTS', quoted(draw, ['a', 'b', 'c', 'x'])]))})"
    if kind == "list":
        name = draw(st.sampled_from(number))
        return f"{source}.{name.lower()} {draw(st.sampled_from(['IN', 'NOT IN']))} (1, 2.0, '0.5')"
    if kind == "truth":
        return f"{source}.{truth} {draw(st.sampled_from(['=', '!=']))} {draw(st.sampled_from(['true', 'FALSE', '$TRUTH']))}"
    if source == "Items" and kind == "time":
        days = draw(st.integers(0, 4))
        return f"Items.CREATION_TIMESTAMP {draw(st.sampled_from(['<', '<=', '>', '>=', '=', '!=']))} now() - {days}d"
    if source == "Items" and kind == "current":
        return draw(
            st.sampled_from(
                [
                    "Items.PRICE < CurrentItem.PRICE",
                    "Items.YEAR != CurrentItem.YEAR",
                    "Items.GENRE IN CurrentItem.GENRE",
                    "Items.GENRE NOT IN (CurrentItem.GENRE)",
                    "Items.BRAND = CurrentItem.BRAND",
                ]
            )
        )
    name = draw(st.sampled_from(number))
    right = draw(st.sampled_from(["$NUMBER", "1", "0.5", "-1", "2", "10000000000"]))
    return f"{source}.{name} {draw(st.sampled_from(['<', '<=', '>', '>=', '=', '!=']))} {right}"


@st.composite
def event_conditions(draw: st.DrawFn) -> str:
    kinds = draw(st.sampled_from(["$TYPES", '"*"', quoted(draw, ["click", "STREAM", "Purchase", "other"])]))
    return f"Interactions.event_type {draw(st.sampled_from(['IN', 'NOT IN']))} ({kinds})"


@st.composite
def trees(draw: st.DrawFn, condition: st.SearchStrategy[str]) -> str:
    parts = draw(st.lists(condition, min_size=1, max_size=3))
    text = parts[0]
    for part in parts[1:]:
        text = draw(
            st.sampled_from([f"{text} AND {part}", f"{text} OR {part}", f"({text}) AND {part}", f"{part} AND ({text})"])
        )
    return text


@st.composite
def filters(draw: st.DrawFn, subject: str) -> Filter:
    source = {"ItemID": "Items", "UserID": "Users"}[subject]
    expressions = []
    for _ in range(draw(st.integers(1, 3))):
        where = draw(trees(item_conditions(source)) | trees(event_conditions()))
        text = f"{draw(st.sampled_from(['INCLUDE', 'EXCLUDE']))} {subject} WHERE {where}"
        if subject == "ItemID" and draw(st.booleans()):
            text += " IF " + " AND ".join(draw(st.lists(item_conditions("CurrentUser"), min_size=1, max_size=2)))
        expressions.append(text)
    return parse_filter(" | ".join(expressions), extended=True, policy=MANY)


VALUE_SETS: list[Values] = [
    {"TEXTS": ("a",), "NUMBER": ("1",), "TRUTH": ("true",), "TYPES": ("CLICK",)},
    {"TEXTS": ("b", "c"), "NUMBER": ("0.5",), "TRUTH": ("false",), "TYPES": ("purchase", "click")},
    {"TEXTS": (), "NUMBER": ("2",), "TYPES": ("*",), "TRUTH": ("true",)},
]


@settings(max_examples=150, deadline=None)
@given(worlds(), filters("ItemID"), st.data())
def test_masks_say_what_the_rules_say_of_each_user_and_item(world: World, wanted: Filter, data: st.DataObject) -> None:
    newest = data.draw(st.integers(1, 4))
    of = [data.draw(st.integers(0, len(VALUE_SETS) - 1)) for _ in world.users]
    made = world.item_filter(wanted, newest)
    asked = world.asked(VALUE_SETS, of)
    allowed = made.allowed(asked)
    truth = [expected(world, wanted, line, VALUE_SETS[of[line]], newest) for line in range(len(world.users))]
    assert [set(np.flatnonzero(row).tolist()) for row in allowed.dense()] == truth
    assert num_items(allowed) == [len(items) for items in truth], "an item is added or removed twice"
    assert len(allowed.masks) == len(np.unique(allowed.mask_of))
    for most_bytes in (1, 2 * len(world.items)):
        found = {
            int(line): set(np.flatnonzero(row).tolist())
            for lines, part in made.parts(asked, most_bytes)
            for line, row in zip(lines, part.dense(), strict=True)
        }
        assert [found[line] for line in range(len(truth))] == truth
        assert all(part.masks.nbytes <= max(most_bytes, len(world.items)) for _, part in made.parts(asked, most_bytes))


@settings(max_examples=100, deadline=None)
@given(worlds(), filters("UserID"), st.integers(1, 4), st.sampled_from(VALUE_SETS))
def test_user_masks_say_what_the_rules_say_of_each_user(world: World, wanted: Filter, newest: int, values: Values) -> None:
    made = UserFilter(
        wanted,
        schemas=SCHEMAS,
        attributes=world.attributes().schema,
        event_types=EVENT_TYPES,
        past_events=newest,
        now=NOW,
    )
    asked = FilterQuery(len(world.users), [values], None, world.attributes(), world.past())
    truth = []
    for user, events in zip(world.users, world.events, strict=True):
        types = types_of(events, None, newest)
        found = {verb: [e for e in wanted.expressions if e.verb == verb] for verb in ("INCLUDE", "EXCLUDE")}
        kept = {verb: any(met(e.where, user, types, values, None) for e in of) for verb, of in found.items()}
        truth.append((kept["INCLUDE"] or not found["INCLUDE"]) and not kept["EXCLUDE"])
    assert made.allowed(asked).tolist() == truth


SMALL = World(
    items=[
        {"GENRE": genre, "BRAND": None, "PRICE": price, "YEAR": None, "SOLD": None, "CREATION_TIMESTAMP": NOW}
        for genre, price in (("drama|horror", 1.0), ("comedy", 2.0), (None, None), ("drama", 3.0))
    ],
    users=[{"AGE": age, "LIKES": None, "VIP": None} for age in (20, None)],
    events=[[(0, 0), (1, 0), (3, 2)], []],
    current=[-1, -1],
)


def allowed(text: str, values: Sequence[Values] = ({},), of: Sequence[int] = (0, 0), **options: Any) -> list[list[int]]:
    wanted = parse_filter(text, extended=True)
    found = SMALL.item_filter(wanted, **options).allowed(SMALL.asked(values, of))
    assert num_items(found) == found.dense().sum(1).tolist(), "an item is added or removed twice"
    return [np.flatnonzero(row).tolist() for row in found.dense()]


def num_items(allowed: Allowed) -> list[int]:
    """How many items each line may hold, where no item is added that the mask has, or removed that it has not."""
    counts: list[int] = (allowed.masks.sum(1)[allowed.mask_of] + allowed.added.lengths - allowed.removed.lengths).tolist()
    return counts


@pytest.mark.parametrize(
    ("text", "of_first", "of_second"),
    [
        ("INCLUDE ItemID WHERE Items.GENRE IN ('drama')", [0, 3], [0, 3]),
        ("INCLUDE ItemID WHERE Items.GENRE NOT IN ('drama')", [1], [1]),  # a null is in no list and in none's opposite
        ("EXCLUDE ItemID WHERE Items.GENRE NOT IN ('drama')", [0, 2, 3], [0, 2, 3]),
        ("INCLUDE ItemID WHERE Items.GENRE IN ('Drama')", [], []),  # case matters
        ("INCLUDE ItemID WHERE Items.GENRE IN ('comedy') OR Items.GENRE IN ('drama') AND Items.PRICE > 2", [1, 3], [1, 3]),
        ("INCLUDE ItemID WHERE (Items.GENRE IN ('comedy') OR Items.GENRE IN ('drama')) AND Items.PRICE > 2", [3], [3]),
        ("EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('click')", [2, 3], [0, 1, 2, 3]),
        ("INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('CLICK')", [0, 1], []),
        ("INCLUDE ItemID WHERE Interactions.EVENT_TYPE NOT IN ('click')", [3], []),
        ("INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('*')", [0, 1, 3], []),
        ("EXCLUDE ItemID WHERE Items.GENRE IN ('drama') IF CurrentUser.AGE > 18", [1, 2], [0, 1, 2, 3]),
        ("INCLUDE ItemID WHERE Items.GENRE IN ('drama') IF CurrentUser.AGE > 18", [0, 3], [0, 1, 2, 3]),
        ("INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('click') AND Interactions.EVENT_TYPE NOT IN ('stream')", [0, 1], []),
        # Unions and differences, in any order.
        (
            "INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('*') | EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('click')",
            [3],
            [],
        ),
        ("INCLUDE ItemID WHERE Items.PRICE = 3 | EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('click')", [3], [3]),
        ("INCLUDE ItemID WHERE Items.GENRE IN ('drama') | INCLUDE ItemID WHERE Items.PRICE = 2", [0, 1, 3], [0, 1, 3]),
        ("EXCLUDE ItemID WHERE Items.GENRE IN ('drama') | EXCLUDE ItemID WHERE Items.PRICE = 2", [2], [2]),
        ("INCLUDE ItemID WHERE Items.GENRE IN ('drama') | EXCLUDE ItemID WHERE Items.PRICE = 3", [0], [0]),
        ("EXCLUDE ItemID WHERE Items.PRICE = 3 | INCLUDE ItemID WHERE Items.GENRE IN ('drama')", [0], [0]),
        (
            "INCLUDE ItemID WHERE Items.PRICE = 3 | INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('click') "
            "| EXCLUDE ItemID WHERE Items.GENRE IN ('horror')",
            [1, 3],
            [3],
        ),
        (
            "INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('click') "
            "| EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('click') | INCLUDE ItemID WHERE Items.PRICE <= 2",
            [],
            [0, 1],
        ),
    ],
)
def test_rules_one_by_one(text: str, of_first: list[int], of_second: list[int]) -> None:
    assert allowed(text) == [of_first, of_second]


def test_union_and_difference_have_these_truth_tables() -> None:
    sets = {"A": {0, 1}, "B": {1, 2}, "C": {0, 3}}
    world = World(
        [
            {"GENRE": "|".join(n for n, of in sets.items() if row in of) or None, "BRAND": None, "PRICE": None, "YEAR": None}
            | {"SOLD": None, "CREATION_TIMESTAMP": NOW}
            for row in range(5)
        ],
        [{"AGE": None, "LIKES": None, "VIP": None}],
        [[]],
        [-1],
    )
    for verbs in itertools.product(("INCLUDE", "EXCLUDE"), repeat=3):
        expressions = [f"{verb} ItemID WHERE Items.GENRE IN ('{name}')" for verb, name in zip(verbs, sets, strict=True)]
        included = [of for verb, of in zip(verbs, sets.values(), strict=True) if verb == "INCLUDE"]
        excluded = [of for verb, of in zip(verbs, sets.values(), strict=True) if verb == "EXCLUDE"]
        truth = (set().union(*included) if included else set(range(5))) - set().union(*excluded)
        for order in itertools.permutations(expressions):
            made = world.item_filter(parse_filter(" | ".join(order))).allowed(world.asked([{}], [0]))
            assert set(np.flatnonzero(made.dense()[0]).tolist()) == truth


def test_an_event_behind_the_window_is_forgotten() -> None:
    text = "EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('*')"
    assert allowed(text, newest=1) == [[0, 2], [0, 1, 2, 3]]  # of two clicks one is looked at, and of one purchase one


def test_missing_values_refuse_an_include_and_skip_an_exclude() -> None:
    made = SMALL.item_filter(parse_filter("INCLUDE ItemID WHERE Items.GENRE IN ($G)"))
    assert made.fault({"G": ("drama",)}) is None
    assert "the filter's placeholder $G has no value" in (made.fault({}) or "")
    assert "Case matters: g is another name." in (made.fault({"g": ("drama",)}) or "")
    with pytest.raises(DataError, match=r"filterValues: the filter's placeholder \$G has no value"):
        made.allowed(SMALL.asked([{}], [0, 0]))
    skips = "EXCLUDE ItemID WHERE Items.GENRE IN ($G) | EXCLUDE ItemID WHERE Items.PRICE = 2"
    assert SMALL.item_filter(parse_filter(skips)).fault({}) is None
    assert allowed(skips, [{}, {"G": ("drama",)}], [0, 1]) == [[0, 2, 3], [2]]


@pytest.mark.parametrize(
    ("condition", "values", "says"),
    [
        ("Items.PRICE < $X", ("1", "2"), "< compares with one value"),
        ("Items.PRICE < $X", ("cheap",), "PRICE holds numbers"),
        ("Items.PRICE IN ($X)", ("1", "cheap"), "PRICE holds numbers"),
        ("Items.SOLD = $X", ("maybe",), "SOLD holds truth values"),
        ("Items.GENRE = $X", ("a", "b"), "= compares with one value"),
    ],
)
def test_values_that_do_not_fit_are_one_sentence(condition: str, values: tuple[str, ...], says: str) -> None:
    fault = SMALL.item_filter(parse_filter(f"EXCLUDE ItemID WHERE {condition}", extended=True)).fault({"X": values})
    assert fault is not None
    assert fault.startswith(f"filterValues.X: {says}")
    assert "\n" not in fault


def test_lines_share_masks() -> None:
    world = World(SMALL.items, SMALL.users * 50, SMALL.events * 50, SMALL.current * 50)
    text = "INCLUDE ItemID WHERE Items.GENRE IN ($G) IF CurrentUser.AGE > 18 | EXCLUDE ItemID WHERE Items.PRICE > 9"
    values = [{"G": (genre,), "OTHER": (str(number),)} for number, genre in enumerate(["drama", "comedy"] * 50)]
    made = world.item_filter(parse_filter(text)).allowed(world.asked(values, range(100)))
    assert len(made.masks) == 2  # of two genres, of which users without an age see all items


def test_masks_are_made_once_and_kept_within_a_bound() -> None:
    made = []
    cache = MaskCache(most_bytes=20)

    def mask(name: str, size: int = 8) -> None:
        cache.get(name, lambda: made.append(name) or np.zeros(size, np.bool_))  # type: ignore[func-returns-value]

    for name in ("a", "b", "a", "c", "a", "b"):  # c drives b out, which was asked for before a
        mask(name)
    assert made == ["a", "b", "c", "b"]
    assert cache.held_bytes == 16
    mask("large", 21)
    mask("large", 21)
    assert made[-2:] == ["large", "large"]
    assert cache.held_bytes == 16


def test_no_lines_and_no_items() -> None:
    wanted = parse_filter(
        "EXCLUDE ItemID WHERE Items.GENRE IN ($G) | EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('click')"
    )
    nobody = World(SMALL.items, [], [], [])
    made = nobody.item_filter(wanted)
    assert made.allowed(nobody.asked([{}], [])).dense().shape == (0, 4)
    assert list(made.parts(nobody.asked([{}], []))) == []
    nothing = World([], SMALL.users, [[], []], [-1, -1])
    assert nothing.item_filter(wanted).allowed(nothing.asked([{"G": ("a",)}], [0, 0])).dense().shape == (2, 0)


def test_users_and_their_past_may_be_left_out() -> None:
    text = "INCLUDE ItemID WHERE Items.GENRE IN ('drama') | EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('click')"
    made = SMALL.item_filter(parse_filter(text)).allowed(FilterQuery(2))
    assert made.dense().tolist() == [[True, False, False, True]] * 2
    conditional = SMALL.item_filter(parse_filter("EXCLUDE ItemID WHERE Items.PRICE > 1 IF CurrentUser.AGE > 1"))
    assert conditional.allowed(FilterQuery(2)).dense().all()


def test_tables_without_a_schema_tell_their_types() -> None:
    catalogue = pa.table({"ITEM_ID": ["x|y", "x"], "GENRE": ["a|b", "c"], "num_events": [2, 1]})
    made = ItemFilter(parse_filter("INCLUDE ItemID WHERE Items.genre IN ('b') OR Items.Item_id = 'x'"), catalogue)
    assert made.allowed(FilterQuery(1)).dense().tolist() == [[True, True]]
    for text in ("Items.NUM_EVENTS > 1", "Items.ITEM_ID > 1", "Items.GENRE = 1"):
        with pytest.raises(FilterError):
            ItemFilter(parse_filter(f"INCLUDE ItemID WHERE {text}"), catalogue)


def test_fields_that_the_data_lack_are_refused() -> None:
    with pytest.raises(FilterError, match="the data have no column GENRE"):
        ItemFilter(
            parse_filter("INCLUDE ItemID WHERE Items.GENRE IN ('a')"),
            pa.table({"ITEM_ID": ["x"]}),
            schemas={"Items": SCHEMAS["Items"]},
        )
    with pytest.raises(FilterError, match="the dataset group has no Users dataset"):
        ItemFilter(
            parse_filter("INCLUDE ItemID WHERE Items.GENRE IN ('a') IF CurrentUser.AGE > 1"), SMALL.catalogue(), schemas=SCHEMAS
        )


def test_whole_numbers_are_compared_exactly() -> None:
    big = 2**53
    catalogue = pa.table({"N": pa.array([big, big + 1, None], pa.int64()), "S": pa.array([1, 2, 3], pa.int32())})

    def found(text: str) -> list[int]:
        return np.flatnonzero(
            ItemFilter(parse_filter(f"INCLUDE ItemID WHERE {text}"), catalogue).allowed(FilterQuery(1)).dense()
        ).tolist()

    assert found(f"Items.N > {big}") == [1]
    assert found(f"Items.N IN ({big + 1}, 99999999999999999999999)") == [1]
    assert found(f"Items.N NOT IN ({big}.0)") == [1]
    assert found("Items.N < 99999999999999999999999") == [0, 1]
    assert found("Items.S <= 3000000000") == [0, 1, 2]
    assert found("Items.S > 1.5") == [1, 2]


def test_fractions_are_compared_as_the_column_is_stored() -> None:
    catalogue = pa.table({"PRICE": pa.array([0.1, 0.2], pa.float32())})
    made = ItemFilter(parse_filter("INCLUDE ItemID WHERE Items.PRICE <= 0.1"), catalogue)
    assert made.allowed(FilterQuery(1)).dense().tolist() == [[True, False]]


def test_columns_of_many_chunks_with_their_own_dictionaries() -> None:
    chunks = [pa.array(values).dictionary_encode() for values in (["a", "b"], ["c", None, "a"])]
    catalogue = pa.table({"GENRE": pa.chunked_array(chunks), "PRICE": pa.chunked_array([[1.0, None], [2.0, 1.0, 1.0]])})
    made = ItemFilter(parse_filter("INCLUDE ItemID WHERE Items.GENRE IN ('a') AND Items.PRICE = 1"), catalogue)
    assert made.allowed(FilterQuery(1)).dense().tolist() == [[True, False, False, False, True]]
