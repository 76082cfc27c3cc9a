from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.datasets import DatasetSchema, parse_schema_document
from schemas.errors import ConfigError, DataError
from schemas.filters import (
    NO_LIMITS,
    FilterError,
    FilterPolicy,
    check_filter,
    check_group,
    check_recipe,
    in_words,
    parse_filter,
    parse_filter_values,
)
from schemas.filters.operators import OPERATORS
from schemas.filters.tree import AllOf, AnyOf, Condition, Moment, Number, Text, conditions
from schemas.recipes import RECIPES

PIECES = (
    *("INCLUDE", "EXCLUDE", "ItemID", "WHERE", "Items", ".", "A", "=", "IN", "(", ")", "'x'", "$P", "|", "IF", "CurrentUser"),
    *("AND", "NOT", "1", "-", "*", "now()", "3d"),
)
PREFIX = "Could not create filter. Invalid "

# From awsdocs/amazon-personalize-developer-guide, aws-samples/amazon-personalize-samples (MIT-0) and
# aws-solutions/maintaining-personalized-experiences (Apache-2.0): what Personalize takes.
VALID = {
    "V01": "EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ($EVENT_TYPE)",
    "V02": 'EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("click", "stream")',
    "V03": 'INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("click")',
    "V04": "EXCLUDE ItemID WHERE Items.CATEGORY IN ($CATEGORY)",
    "V05": 'EXCLUDE ItemID WHERE Items.CATEGORY IN ("shoe") AND Items.DESCRIPTION NOT IN ("boot")',
    "V06": "INCLUDE ItemID WHERE Items.PRICE <= $PRICE",
    "V07": "INCLUDE ItemID WHERE Items.CREATION_TIMESTAMP < $DATE",
    "V08": "INCLUDE ItemID WHERE Items.GENRE IN ($GENRE)",
    "V09": "EXCLUDE ItemID WHERE Items.GENRE IN ($GENRE) IF CurrentUser.AGE = $AGE",
    "V10": 'INCLUDE ItemID WHERE Items.CATEGORY IN ("watch") AND Items.DESCRIPTION IN ("luxury") IF CurrentUser.AGE > 18',
    "V11": "INCLUDE UserID WHERE Users.MEMBERSHIP_STATUS IN ($MEMBERSHIP)",
    "V12": "EXCLUDE UserID WHERE Users.AGE < $AGE",
    "V13": 'INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("click", "rating")',
    "V14": "EXCLUDE UserID WHERE Interactions.EVENT_TYPE IN ($EVENT_TYPE)",
    "V15": 'INCLUDE ItemID WHERE Items.CATEGORY IN ($CATEGORY) | INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("favorite")',
    "V16": 'INCLUDE ItemID WHERE Items.GENRE IN ($GENRE) | EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("click", "stream")',
    "V17": 'EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("purchased")',
    "V18": 'INCLUDE ItemID WHERE Items.CATEGORY_L2 IN ("halloween")',
    "V19": "INCLUDE ItemID WHERE Items.ALLOWED_COUNTRIES IN ($CONTEXT_COUNTRY)",
    "V20": "INCLUDE ItemID WHERE Items.YEAR >= 1970 AND Items.YEAR < 1980",
    "V21": 'INCLUDE ItemID WHERE Interactions.event_type IN ("watch")',
    "V22": "INCLUDE ItemID WHERE Interactions.event_type IN ('watched','favorited')",
    "V23": "EXCLUDE ItemID WHERE Items.out_of_stock IN ('yes')",
    "V24": "INCLUDE ItemID WHERE Items.creation_timestamp > 1633240824",
    "V25": "INCLUDE ItemID WHERE Items.published_date > 20211001",
    "V26": "INCLUDE ItemID WHERE ITEMS.CATEGORY_L1 IN ($CATEGORIES)",
    "V27": 'exclude UserId where users.country in ("England", "Japan購入")',
    "V28": 'INCLUDE ItemID WHERE Interactions.EVENT_TYPE in ("click", "stream")',
    "V29": 'INCLUDE ItemID WHERE Interactions.EVENT_TYPE in ("*")',
    "V30": "INCLUDE ItemID WHERE Interactions.EVENT_TYPE in ('click', 'stream')",
    "V31": "INCLUDE ItemID WHERE Items.CREATION_TIMESTAMP > $TIMESTAMP",
    # Later pages of the guide.
    "current item": "INCLUDE ItemID WHERE Items.PRICE < CurrentItem.PRICE AND Items.GENRE IN CurrentItem.GENRE",
    "parentheses around a value": "INCLUDE ActionID WHERE Actions.VALUE > ($VALUE)",
    "action interactions": 'EXCLUDE ActionID WHERE Action_Interactions.EVENT_TYPE IN ("NOT_TAKEN")',
}

# Why Personalize refuses -> expression, and what the caret line marks.
INVALID = {
    "I01 boolean": ("EXCLUDE ItemID WHERE Items.IN_STOCK = true", "true"),
    "I03 textual": ('INCLUDE ItemID WHERE Items.PLOT IN ("war")', "Items.PLOT"),
    "I04 two datasets": (
        'INCLUDE ItemID WHERE Items.GENRE IN ("a") AND Interactions.EVENT_TYPE IN ("b")',
        "Interactions.EVENT_TYPE",
    ),
    "I05 IF twice": ('INCLUDE ItemID WHERE Items.GENRE IN ("a") IF CurrentUser.AGE > 18 IF CurrentUser.SEX IN ("f")', "IF"),
    "I06 IF of an item": ('INCLUDE ItemID WHERE Items.GENRE IN ("a") IF Items.PRICE > 1', "Items.PRICE"),
    "I07 CurrentUser outside IF": ("INCLUDE ItemID WHERE CurrentUser.AGE > 18", "CurrentUser.AGE"),
    "I08 wildcard": ('INCLUDE ItemID WHERE Items.GENRE IN ("*")', '"*"'),
    "I09 no WHERE": ('INCLUDE ItemID Items.GENRE IN ("a")', "Items"),
    "I10 unknown field": ('INCLUDE ItemID WHERE Items.NOPE IN ("a")', "Items.NOPE"),
    "I11 not EVENT_TYPE": ('INCLUDE ItemID WHERE Interactions.DEVICE IN ("phone")', "Interactions.DEVICE"),
    "I12 six fields": (
        "INCLUDE ItemID WHERE " + " AND ".join(f'Items.{name} IN ("1")' for name in "ABCDEF"),
        "Items.F",
    ),
    "I13 too long": ("INCLUDE ItemID WHERE Items.GENRE IN (" + '"a", ' * 500 + '"b")', None),
    "I14 empty": ("", None),
}


def dataset(name: str, *fields: dict[str, object] | str) -> DatasetSchema:
    described = [{"name": field, "type": "string"} if isinstance(field, str) else field for field in fields]
    return parse_schema_document({"type": "record", "name": name, "fields": described, "version": "1.0"})


SCHEMAS = {
    "Interactions": dataset(
        "Interactions", "USER_ID", "ITEM_ID", {"name": "TIMESTAMP", "type": "long"}, "EVENT_TYPE", "DEVICE"
    ),
    "Users": dataset(
        "Users", "USER_ID", {"name": "AGE", "type": "int"}, {"name": "SEX", "type": "string", "categorical": True}
    ),
    "Items": dataset(
        "Items",
        "ITEM_ID",
        {"name": "GENRE", "type": ["null", "string"], "categorical": True},
        {"name": "PLOT", "type": "string", "textual": True},
        {"name": "IN_STOCK", "type": "boolean"},
        {"name": "PRICE", "type": "float"},
        {"name": "CREATION_TIMESTAMP", "type": "long"},
        *"ABCDEF",
    ),
}


def refused(expression: str, **options: bool) -> FilterError:
    with pytest.raises(FilterError) as caught:
        check_filter(parse_filter(expression, **options), SCHEMAS, complete=True)
    return caught.value


def marked(error: FilterError) -> str:
    """What the caret line stands under."""
    _, line, carets = str(error).split("\n")
    return line[carets.index("^") : carets.rindex("^") + 1]


@pytest.mark.parametrize("name", VALID)
def test_what_personalize_takes_is_taken(name: str) -> None:
    wanted = parse_filter(VALID[name])
    assert in_words(wanted).endswith(".")
    for field in wanted.fields:
        assert wanted.text[field.span.start : field.span.end].casefold().endswith(f".{field.name.casefold()}")


@pytest.mark.parametrize("name", INVALID)
def test_what_personalize_refuses_is_refused_at_the_character(name: str) -> None:
    expression, mark = INVALID[name]
    error = refused(expression)
    assert str(error).startswith(PREFIX + "Expression: filter, character ")
    if mark is not None:
        assert marked(error) == mark
        assert expression[error.span.start : error.span.end] == mark


def test_the_historic_rule_on_placeholders_is_kept_where_it_is_asked_for() -> None:
    expression = "INCLUDE ItemID WHERE Items.PRICE > $P"
    assert parse_filter(expression).parameters == ("P",)
    error = refused(expression, historic=True)
    assert str(error).startswith(
        "Could not create filter. Invalid input symbol: filter, character 36: Placeholders can only be"
    )
    assert "Placeholders can only be used with IN or EQ operator" in str(error)
    assert marked(error) == "$P"
    for taken in ("Items.PRICE = $P", "Items.GENRE IN ($P)"):
        parse_filter(f"INCLUDE ItemID WHERE {taken}", historic=True)


@pytest.mark.data
def test_all_samples_of_the_services_own_repositories() -> None:
    folder = Path(__file__).parents[3] / "shared/personalize_samples/filters"
    if not folder.is_dir():
        pytest.skip("the samples are not beside the project; VALID above holds what they do")
    for line in (folder / "valid.jsonl").read_text().splitlines():
        parse_filter(json.loads(line)["expression"])


@pytest.mark.parametrize(
    ("expression", "mark", "says"),
    [
        ("INCLUD ItemID WHERE Items.A = 1", "INCLUD", "Did you mean INCLUDE?"),
        ("INCLUDE Item WHERE Items.A = 1", "Item", "Did you mean ItemID?"),
        ("INCLUDE ItemID WHERE", "", "the expression ends here"),
        ("INCLUDE ItemID WHERE GENRE IN ('a')", "IN", "Write Items.GENRE, say."),
        ("INCLUDE ItemID WHERE Itms.GENRE IN ('a')", "Itms", "Did you mean Items?"),
        ("INCLUDE ItemID WHERE Items. IN", "", "an operator is missing"),
        ("INCLUDE ItemID WHERE Items.A == 1", "==", "Write =."),
        ("INCLUDE ItemID WHERE Items.A <> 1", "<>", "Write !=."),
        ("INCLUDE ItemID WHERE Items.A LIKE 'x'", "LIKE", "Texts are compared as a whole"),
        ("INCLUDE ItemID WHERE Items.A IS NULL", "IS", "there is no IS NULL"),
        ("INCLUDE ItemID WHERE Items.A NOT ('x')", "(", "after NOT the word IN is missing"),
        ("INCLUDE ItemID WHERE Items.A IN 'x'", "'x'", "a list in parentheses is missing"),
        ("INCLUDE ItemID WHERE Items.A IN ()", ")", "the list is empty"),
        ("INCLUDE ItemID WHERE Items.A IN ('x'", "", "is not closed here"),
        ("INCLUDE ItemID WHERE Items.A IN ('x',)", ")", "a value is missing"),
        ("INCLUDE ItemID WHERE Items.A = comedy", "comedy", 'Texts stand in quotes: "comedy".'),
        ("INCLUDE ItemID WHERE Items.A IN ('x", "'", "has no closing '"),
        ("INCLUDE ItemID WHERE Items.A IN (“x”)", "“", "Write \" or '."),
        (r"INCLUDE ItemID WHERE Items.A IN (\"x\")", "\\", 'Write " without the backslash.'),
        ("INCLUDE ItemID WHERE Items.A > {{now}}", "{", "this is a template"),
        ("INCLUDE ItemID WHERE Items.A ! 1", "!", "Write != or NOT IN."),
        ("INCLUDE ItemID WHERE Items.A > $", "$", "1 to 50 of A-Z"),
        ("INCLUDE ItemID WHERE Items.A > $é", "$é", "1 to 50 of A-Z"),
        (f"INCLUDE ItemID WHERE Items.A > ${'x' * 51}", f"${'x' * 51}", "1 to 50 of A-Z"),
        ("INCLUDE ItemID WHERE Items.A > 1e999", "1e999", "too large"),
        ("INCLUDE ItemID WHERE Items.A > -", "", "a number is missing"),
        ("INCLUDE ItemID WHERE Items.A > 1 &", "&", "has no meaning"),
        ("INCLUDE ItemID WHERE Items.A > 1 && Items.B > 1", "&&", "Write AND."),
        ("INCLUDE ItemID WHERE Items.A > 1 || Items.B > 1", "||", "Write OR between conditions"),
        ("INCLUDE ItemID WHERE Items.A > 1)", ")", "no parenthesis is open"),
        ("INCLUDE ItemID WHERE Items.A > 'x'", "'x'", "compares numbers"),
        ("INCLUDE ItemID WHERE Items.A > 1 ND Items.B > 1", "ND", "Did you mean AND?"),
        ("INCLUDE ItemID WHERE Items.A > 1 | EXCLUDE UserID WHERE Users.A > 1", None, "one filter is about ItemID"),
        ("INCLUDE ItemID WHERE Users.AGE > 1", "Users.AGE", "Write IF CurrentUser.AGE"),
        ("INCLUDE UserID WHERE Items.A > 1", "Items.A", "Allowed: Users or Interactions"),
        ("INCLUDE UserID WHERE Users.AGE > 1 IF CurrentUser.AGE > 1", "CurrentUser.AGE", "Write WHERE Users.AGE"),
        ("INCLUDE ItemID WHERE Items.A > 1 IF CurrentUser.AGE > 1 OR CurrentUser.AGE < 0", "OR", "joined by AND only"),
        ("INCLUDE ItemID WHERE CurrentItem.A > 1", "CurrentItem.A", "CurrentItem stands behind an operator"),
        ("INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN (CurrentItem.A)", "CurrentItem.A", "a field of Items"),
        ("INCLUDE ItemID WHERE Interactions.EVENT_TYPE > 'x'", "'x'", "compares numbers"),
        ("INCLUDE ItemID WHERE Interactions.EVENT_TYPE = 3", "3", "event types are texts"),
        ("INCLUDE ItemID WHERE Items.A > now()", "now", "Allow extensions: --extended-filters"),
        ("INCLUDE ItemID WHERE (Items.A > 1)", "(", "Allow extensions: --extended-filters"),
        ("INCLUDE ItemID WHERE Items.IN_STOCK IN ('true')", "Items.IN_STOCK", "Allow extensions (--extended-filters"),
        ("INCLUDE ItemID WHERE Items.GENRES IN ('x')", "Items.GENRES", "Did you mean GENRE?"),
        ("INCLUDE ItemID WHERE Items.GENRE > 3", "Items.GENRE > 3", "Allowed: IN, NOT IN, =, !="),
        ("INCLUDE ItemID WHERE Items.GENRE IN (3)", "3", 'Write "3".'),
        ("INCLUDE ItemID WHERE Items.PRICE IN ('cheap')", "'cheap'", "PRICE is a float, and this is a text"),
        ("INCLUDE ItemID WHERE Items.PRICE < CurrentItem.GENRE", "CurrentItem.GENRE", "PRICE is a float"),
        ("INCLUDE ItemID WHERE Items.A = 'x' IF CurrentUser.SEX > 1", "CurrentUser.SEX > 1", "SEX is a string"),
    ],
)
def test_mistakes_are_pointed_at_and_mended(expression: str, mark: str | None, says: str) -> None:
    error = refused(expression)
    assert str(error).startswith(PREFIX)
    assert says in str(error)
    if mark:
        assert marked(error) == mark


def test_the_caret_line_counts_columns_of_the_terminal() -> None:
    error = refused('INCLUDE ItemID WHERE Items.GENRE IN ("購入") ND')
    _, line, carets = str(error).split("\n")
    assert carets == " " * (4 + 45) + "^^"  # two wide characters take four columns
    assert line.endswith("ND")


@pytest.mark.parametrize("odd", ["\ufeff", "\u202e", "\x1b", "\u200b"])
def test_a_character_that_would_move_what_follows_is_shown_as_a_blank(odd: str) -> None:
    error = refused(f"EXCLUDE ItemID WHERE {odd}Items.A = 1")
    assert str(error).replace("\n", "").isprintable()
    assert marked(error) == " "


def test_the_caret_line_of_a_long_or_broken_expression_shows_its_surroundings() -> None:
    error = refused("INCLUDE ItemID WHERE\n\tItems.GENRE IN (" + "'a', " * 80 + "'b') ND\n| EXCLUDE")
    _, line, _ = str(error).split("\n")
    assert marked(error) == "ND"
    assert len(line) <= 4 + 2 + 100 + 2
    assert line.startswith("    … 'a'") or line.startswith("    … ")


def test_quoted_numbers_serve_number_fields() -> None:
    check_filter(
        parse_filter("INCLUDE ItemID WHERE Items.PRICE < '12.5' AND Items.price NOT IN ('1', 2)"), SCHEMAS, complete=True
    )


def test_datasets_without_a_schema_are_not_checked_unless_there_are_no_others() -> None:
    wanted = parse_filter("INCLUDE ItemID WHERE Items.X = 1 IF CurrentUser.Y = 1")
    check_filter(wanted, {})
    with pytest.raises(FilterError, match="the dataset group has no Items dataset"):
        check_filter(wanted, {"Users": SCHEMAS["Users"]}, complete=True)


def test_texts_know_two_escapes() -> None:
    wanted = parse_filter(r"""INCLUDE ItemID WHERE Items.A IN ("a\"b", 'it\'s', "C:\\", "a\b", "a'b")""")
    condition = wanted.expressions[0].where
    assert isinstance(condition, Condition)
    assert [operand.value for operand in condition.operands if isinstance(operand, Text)] == [
        'a"b',
        "it's",
        "C:\\",
        "a\\b",
        "a'b",
    ]


def test_and_binds_closer_than_or_and_parentheses_closest() -> None:
    plain = parse_filter("INCLUDE ItemID WHERE Items.A = 1 OR Items.B = 2 AND Items.C = 3").expressions[0].where
    assert isinstance(plain, AnyOf)
    assert isinstance(plain.parts[1], AllOf)
    grouped = (
        parse_filter("INCLUDE ItemID WHERE (Items.A = 1 OR Items.B = 2) AND Items.C = 3", extended=True).expressions[0].where
    )
    assert isinstance(grouped, AllOf)
    assert isinstance(grouped.parts[0], AnyOf)


def test_extensions() -> None:
    text = "Items.CREATION_TIMESTAMP < now() - 2w OR Items.IN_STOCK = false OR Items.CREATION_TIMESTAMP > NOW()"
    wanted = parse_filter(f"EXCLUDE ItemID WHERE {text}", extended=True)
    check_filter(wanted, SCHEMAS, complete=True)
    where = wanted.expressions[0].where
    assert isinstance(where, AnyOf)
    moments = [part.operands[0] for part in where.parts if isinstance(part, Condition)]
    assert isinstance(moments[0], Moment)
    assert moments[0].seconds_ago == 14 * 86_400
    assert "whose CREATION_TIMESTAMP is less than the moment 2 weeks ago or whose IN_STOCK is false" in in_words(wanted)
    with pytest.raises(FilterError, match="a length of time is missing"):
        parse_filter("INCLUDE ItemID WHERE Items.A > now() - 30", extended=True)
    with pytest.raises(FilterError, match="not in a list"):
        parse_filter("INCLUDE ItemID WHERE Items.A IN (now())", extended=True)
    with pytest.raises(FilterError, match="true and false have no order"):
        parse_filter("INCLUDE ItemID WHERE Items.A > true", extended=True)
    deep = "(" * 40 + "Items.A = 1" + ")" * 40
    with pytest.raises(FilterError, match="parentheses stand too deep"):
        parse_filter(f"INCLUDE ItemID WHERE {deep}", extended=True)


@pytest.mark.parametrize("text", ["-5", "1.5", "-2e3", "0", ".5"])
def test_numbers(text: str) -> None:
    condition = parse_filter(f"INCLUDE ItemID WHERE Items.A >= {text}").expressions[0].where
    assert isinstance(condition, Condition)
    operand = condition.operands[0]
    assert isinstance(operand, Number)
    assert operand.value == float(text)


def test_whole_numbers_stay_exact() -> None:
    condition = parse_filter("INCLUDE ItemID WHERE Items.A >= 9007199254740993").expressions[0].where
    assert isinstance(condition, Condition)
    assert isinstance(condition.operands[0], Number)
    assert condition.operands[0].value == 9007199254740993


def test_placeholders_are_listed_once_in_order() -> None:
    wanted = parse_filter("EXCLUDE ItemID WHERE Items.A IN ($B, $A) IF CurrentUser.X = $C | INCLUDE ItemID WHERE Items.A > $A")
    assert wanted.parameters == ("B", "A", "C")


def test_counts_are_a_policy() -> None:
    six, _ = INVALID["I12 six fields"]
    assert parse_filter(six, policy=FilterPolicy(fields=6)).fields
    assert parse_filter(INVALID["I13 too long"][0], policy=FilterPolicy(characters=10_000))
    assert parse_filter(six.ljust(3000), policy=NO_LIMITS).fields
    long = "INCLUDE ItemID WHERE Items.A = 1".ljust(2500)
    assert parse_filter(long)
    with pytest.raises(FilterError, match="at most 2,500"):
        parse_filter(long + " ")
    wanted = parse_filter(
        "INCLUDE ItemID WHERE Items.A = 1 AND items.a = 2 AND Items.A = CurrentItem.a", policy=FilterPolicy(fields=1)
    )
    assert len({field.key for field in wanted.fields}) == 1


def test_groups_of_filters_have_counts_too() -> None:
    def one(number: int) -> str:
        return f"INCLUDE ItemID WHERE Items.F{number} = 1"

    ten = {str(number): parse_filter(one(number)) for number in range(10)}
    check_group(ten)
    with pytest.raises(ConfigError, match="too many filters"):
        check_group(ten | {"one more": parse_filter(one(0))})
    with pytest.raises(ConfigError, match="too many distinct fields"):
        check_group({**ten, "9": parse_filter(one(9) + " AND Items.X = 1")})


@pytest.mark.parametrize(
    ("expression", "recipe", "says"),
    [
        ("INCLUDE UserID WHERE Users.A = 1", "aws-hrnn", "Allowed: ItemID"),
        ("INCLUDE ItemID WHERE Items.A = 1", "aws-item-affinity", "Allowed: UserID"),
        ("INCLUDE ItemID WHERE Items.A = CurrentItem.A", "aws-hrnn", "has no current item"),
        ("EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ('*')", "aws-sims", "name none"),
        (
            "INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ('*')",
            "aws-item-attribute-affinity",
            "does not filter by interactions",
        ),
    ],
)
def test_a_filter_fits_a_recipe(expression: str, recipe: str, says: str) -> None:
    with pytest.raises(FilterError, match=says):
        check_recipe(parse_filter(expression), RECIPES[recipe])


def test_filters_that_fit_their_recipes() -> None:
    check_recipe(parse_filter(VALID["V16"]), RECIPES["aws-hrnn"])
    check_recipe(parse_filter(VALID["V13"]), RECIPES["aws-item-affinity"])
    check_recipe(parse_filter(VALID["V27"]), RECIPES["aws-item-attribute-affinity"])
    check_recipe(parse_filter(VALID["current item"]), RECIPES["aws-sims"])


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (VALID["V05"], 'Never recommends items whose CATEGORY is "shoe" and whose DESCRIPTION is known and not "boot".'),
        (
            VALID["V10"],
            'Recommends only items whose CATEGORY is "watch" and whose DESCRIPTION is "luxury", '
            "if the user's AGE is more than 18. Where no such IF holds for the user, all items are allowed.",
        ),
        (
            VALID["V16"],
            "Recommends only items whose GENRE is any of $GENRE. "
            'Never recommends items with which the user had an event of type "click" or "stream". '
            "A line without $GENRE is refused.",
        ),
        (VALID["V13"], 'Keeps only users that had an event of type "click" or "rating".'),
        (
            VALID["V12"],
            "Leaves out users whose AGE is less than $AGE. For a line without $AGE nothing is left out by it.",
        ),
        (VALID["V29"], "Recommends only items with which the user had any event."),
    ],
)
def test_in_words(expression: str, words: str) -> None:
    assert in_words(parse_filter(expression)) == words


@given(st.text(max_size=80) | st.lists(st.sampled_from(PIECES)).map(" ".join))
def test_no_text_makes_it_stumble(text: str) -> None:
    for extended in (False, True):
        try:
            assert in_words(parse_filter(text, extended=extended))
        except FilterError as refusal:
            error = refusal
        else:
            continue
        assert 0 <= error.span.start <= len(text)
        assert len(str(error).split("\n")) == 3


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (r'"horror","comedy","drama"', ("horror", "comedy", "drama")),
        ('"drama"', ("drama",)),
        (' "a, b" , "c" ', ("a, b", "c")),
        (r'"5\" pipe"', ('5" pipe',)),
        ("100", ("100",)),
        ('"100"', ("100",)),
        ("-1.5e3, 2", ("-1.5e3", "2")),
        ("'single','quotes'", ("single", "quotes")),
        ('"Japan購入"', ("Japan購入",)),
        ('""', ("",)),
    ],
)
def test_filter_values(text: str, values: tuple[str, ...]) -> None:
    assert parse_filter_values({"X": text}) == {"X": values}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('"United States""', "after value 1 a comma is missing (character 16)"),  # a line of Personalize's own guide
        ("horror", "has no quotes"),
        ("", "a value is missing at character 1"),
        ('"a",', "a value is missing at character 5"),
        ('"a', "is not closed"),
        ('"a" "b"', "a comma is missing (character 5)"),
        ("nan", "has no quotes"),
        ("3, -1e400", "the number of character 4 is too large"),
    ],
)
def test_malformed_filter_values_become_one_sentence(text: str, says: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_filter_values({"COUNTRY": text})
    assert str(caught.value).startswith("filterValues.COUNTRY: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_no_filter_value_makes_it_stumble(text: str) -> None:
    with contextlib.suppress(DataError):
        assert parse_filter_values({"X": text})["X"]


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_is_read_and_its_grammar_is_written(operator: str) -> None:
    parsed = parse_filter(f'INCLUDE ItemID WHERE Items.X {operator} ("5")', extended=True)
    assert [condition.operator.spelling for condition in conditions(parsed.expressions[0].where)] == [operator]
    page = (Path(__file__).parents[2] / "docs/filters.md").read_text()
    assert all(f'"{word}"' in page for word in operator.split())


def test_operators_that_mean_different_things_are_said_differently() -> None:
    for field, kind in (("Items.X", "number"), ("Items.X", "text"), ("Interactions.EVENT_TYPE", "text")):
        said = {
            name: in_words(parse_filter(f'INCLUDE ItemID WHERE {field} {name} ("5")', extended=True))
            for name, operator in OPERATORS.items()
            if kind in operator.takes
        }
        assert said["IN"] == said["="]
        assert said["NOT IN"] == said["!="]
        assert len(set(said.values())) == len(said) - 2
