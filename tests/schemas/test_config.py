from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from config_texts import parse_config
from pydantic import ValidationError

from schemas.config import NightlyConfig, json_schema
from schemas.errors import ConfigError

SHOP = """
[dataset_group]
name = "shop"
workspace = "s3://bucket/hrnn/shop"

[datasets.interactions]
schema = "s3://bucket/schemas/interactions.json"
data = "raw/interactions/"

[sessions]
gap_seconds = 1800

[solutions.for-you]
recipe = "aws-hrnn"
hyperparameters = { hidden_dimension = "100", bptt = 32 }

[batch_inference.users]
solution = "for-you"
input = "s3://bucket/batch/users.json"
output = "s3://bucket/batch/out/"
num_results = 10
"""


def test_a_whole_config_is_read() -> None:
    config = parse_config(SHOP, "shop.toml")
    assert config.dataset_group.workspace == "s3://bucket/hrnn/shop"
    assert list(config.datasets.present()) == ["interactions"]
    assert config.sessions.gap == 1800
    assert config.solutions["for-you"].hyperparameters == {"hidden_dimension": "100", "bptt": 32}
    assert config.batch_inference["users"].num_results == 10


def test_what_is_not_said_has_defaults() -> None:
    config = parse_config(SHOP.split("[batch_inference")[0].replace("[sessions]\ngap_seconds = 1800", ""), "shop.toml")
    assert (config.sessions.gap, config.sessions.tie_order, config.sessions.event_types) == (1800, "auto", None)
    assert config.batch_inference == {}


def test_a_schema_may_stand_there_as_json_text() -> None:
    avro = {"type": "record", "name": "Interactions", "fields": [{"name": "USER_ID", "type": "string"}]}
    for given in (avro, {"schema": {"name": "rows", "schema": json.dumps(avro)}}):
        text = SHOP.replace('"s3://bucket/schemas/interactions.json"', f"'{json.dumps(given)}'")
        assert parse_config(text, "shop.toml").datasets.interactions.avro == given
    broken = SHOP.replace('"s3://bucket/schemas/interactions.json"', "'{\"type\": '")
    with pytest.raises(ConfigError, match=r"datasets\.interactions\.schema: this schema is not JSON"):
        parse_config(broken, "shop.toml")


def test_themes_are_refused_with_their_reason() -> None:
    assert parse_config(SHOP + 'mode = "BATCH_INFERENCE"\n', "shop.toml").batch_inference["users"].mode == "BATCH_INFERENCE"
    with pytest.raises(
        ConfigError, match=r"batch_inference\.users\.mode: themes need a language model that reads the items' texts"
    ):
        parse_config(SHOP + 'mode = "THEME_GENERATION"\n', "shop.toml")


def test_choices_of_an_import_may_be_written_in_any_case() -> None:
    written = SHOP + '[validation]\nfuture = "KEEP"\nlong_categories = "Reject"\n'
    read = parse_config(written, "shop.toml").validation
    assert (read.future, read.long_categories) == ("keep", "reject")


def test_no_gap_makes_a_history_one_session() -> None:
    assert parse_config(SHOP.replace("1800", '"none"'), "shop.toml").sessions.gap is None


def test_a_recipe_may_be_given_by_arn() -> None:
    text = SHOP.replace('"aws-hrnn"', '"arn:aws:personalize:::recipe/aws-hrnn"')
    assert parse_config(text, "shop.toml").solutions["for-you"].recipe == "aws-hrnn"


def test_the_same_tables_may_be_json() -> None:
    import tomllib

    assert parse_config(json.dumps(tomllib.loads(SHOP)), "shop.json") == parse_config(SHOP, "shop.toml")


def test_a_config_cannot_be_changed() -> None:
    config = parse_config(SHOP, "shop.toml")
    with pytest.raises(ValidationError, match="frozen"):
        config.dataset_group.name = "other"  # type: ignore[misc]


WRONG = [
    # (what is replaced, by what, all parts of the message)
    (
        "workspace",
        "worksapce",
        ["shop.toml: dataset_group.worksapce", "not known", "name, workspace", "Did you mean workspace?"],
    ),
    ("[sessions]", "[sesions]", ["sesions", "not known", "Did you mean sessions?"]),
    ("num_results = 10", "numResults = 10", ["batch_inference.users.numResults", "Did you mean num_results?"]),
    ("[datasets.interactions]", "[datasets.Interactions]", ["datasets.Interactions", "Did you mean interactions?"]),
    ('name = "shop"', 'name = "my shop"', ["dataset_group.name", "'my shop'", "1 to 63 letters"]),
    ('name = "shop"', "name = 7", ["dataset_group.name", "a text is needed (got 7)"]),
    ('name = "shop"', "", ["dataset_group.name", "missing", "Allowed: a text: 1 to 63"]),
    ('"s3://bucket/hrnn/shop"', '"https://bucket"', ["dataset_group.workspace", "'https://bucket'", "s3://bucket/path"]),
    ('"s3://bucket/hrnn/shop"', '"s3:///hrnn"', ["dataset_group.workspace", "'s3:///hrnn'"]),
    ('"s3://bucket/hrnn/shop"', '""', ["dataset_group.workspace", "''"]),
    (
        "gap_seconds = 1800",
        "gap_seconds = 0",
        ["sessions.gap_seconds", "too small (got 0)", "Allowed: a whole number of 1 or more, or none."],
    ),
    ("gap_seconds = 1800", 'gap_seconds = "30m"', ["sessions.gap_seconds", "'30m'", "seconds"]),
    ("gap_seconds = 1800", 'tie_order = "time"', ["sessions.tie_order", "'time'", "Allowed: auto, file, hash."]),
    ("gap_seconds = 1800", 'event_types = "view"', ["sessions.event_types", "a list is needed"]),
    ("gap_seconds = 1800", "event_types = []", ["sessions.event_types: it is empty"]),
    (
        "[sessions]",
        "[filtering]\nlimits = { x = 1 }\n[sessions]",
        ["filtering.limits.x: this key is not known", "characters, fields"],
    ),
    (
        "[sessions]",
        "[validation]\nquotas = { x = 1 }\n[sessions]",
        ["validation.quotas.x: this key is not known", "items_textual"],
    ),
    ("num_results = 10", 'mode = "x"', ["batch_inference.users.mode: this is not one of", "Allowed: BATCH_INFERENCE."]),
    ("bptt = 32", "bptt = []", ["hyperparameters.bptt", "(got []). Allowed: a whole number from 2 to 32."]),
    (
        ", bptt = 32 }",
        ' }\ntraining = { event_value_threshold = "x" }',
        ["training.event_value_threshold", 'Allowed: a number, or one in quotes: "0.5".'],
    ),
    ('recipe = "aws-hrnn"', "", ["solutions.for-you.recipe", "missing", "hrnn recipes"]),
    ("bptt = 32", "bptt = [32]", ["solutions.for-you.hyperparameters.bptt", "[32]"]),
    ("bptt = 32", "bptt = 33", ["solutions.for-you.hyperparameters.bptt", "33", "from 2 to 32"]),
    (
        "bptt = 32",
        "bpt = 32",
        ["Provide a hyperparameter that is used in the algorithm: arn:aws:personalize:::algorithm/aws-hrnn"],
    ),
    ('"aws-hrnn"', '"aws-hrn"', ["shop.toml: solutions.for-you.recipe", "'aws-hrn'", "Did you mean aws-hrnn?"]),
    (", bptt = 32 }", " }\ntraining = { epoch = 3 }", ["solutions.for-you.training.epoch", "Did you mean epochs?"]),
    (
        ", bptt = 32 }",
        '}\ntraining = { loss = "hinge" }',
        ["solutions.for-you.training.loss", "'hinge'", "Allowed: cross_entropy, bpr_max, top1_max, top1."],
    ),
    (", bptt = 32 }", " }\ntraining = { time_limit_seconds = 0 }", ["training.time_limit_seconds", "too small (got 0)"]),
    ("[solutions.for-you]", '[solutions."for you"]', ["solutions.for you", "1 to 63 letters"]),
    ('solution = "for-you"', 'solution = "for-yuo"', ["batch_inference.users.solution", "'for-yuo'", "Did you mean for-you?"]),
    (
        "num_results = 10",
        "num_results = 501",
        ["batch_inference.users.num_results", "501", "Allowed: a whole number from 1 to 500."],
    ),
    ("num_results = 10", "num_results = true", ["batch_inference.users.num_results", "whole number", "True"]),
    ("num_results = 10", "max_error_fraction = nan", ["users.max_error_fraction: must be between 0 and 1 (got nan)"]),
    ("num_results = 10", "max_error_fraction = true", ["users.max_error_fraction: must be between 0 and 1 (got True)"]),
    ("num_results = 10", "max_error_fraction = 2", ["users.max_error_fraction: must be between 0 and 1 (got 2)"]),
    (
        "[datasets.interactions]",
        "[datasets.interactions]\nmax_rejected_fraction = nan",
        ["datasets.interactions.max_rejected_fraction: must be between 0 and 1 (got nan)"],
    ),
    ("num_results = 10", "filter = ''", ["batch_inference.users.filter", "this text is empty"]),
    (
        "num_results = 10",
        "exploration = { weight = 2 }",
        ["batch_inference.users.exploration.weight: must be between 0 and 1 (got 2)."],
    ),
    (
        "num_results = 10",
        "exploration = {}",
        ["batch_inference.users.exploration", "aws-hrnn does not explore. Allowed: a solution of aws-user-personalization."],
    ),
    (
        "num_results = 10",
        "explain = 1",
        ["batch_inference.users.explain: true or false is needed (got 1). Allowed: true or false."],
    ),
    ("[batch_inference.users]", "[batch_segment.users]", ["batch_segment.users.solution", "aws-hrnn answers batch_inference"]),
    ("batch/out/", "batch/users.json", ["batch_inference.users.output", "same place"]),
    ("[datasets.interactions]", "[datasets.interactions", ["shop.toml: this is not valid TOML", "line"]),
]


@pytest.mark.parametrize(("old", "new", "parts"), WRONG, ids=[new or f"no {old}" for old, new, _ in WRONG])
def test_a_wrong_value_is_refused_with_its_path_and_what_is_allowed(old: str, new: str, parts: list[str]) -> None:
    assert old in SHOP
    with pytest.raises(ConfigError) as caught:
        parse_config(SHOP.replace(old, new), "shop.toml")
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value).replace("line", "")


def test_lists_of_users_may_be_explained_and_those_of_items_may_not() -> None:
    text = SHOP + "explain = true\n"
    assert parse_config(text, "shop.toml").batch_inference["users"].explain
    assert not parse_config(SHOP, "shop.toml").batch_inference["users"].explain
    for recipe in ("aws-personalized-ranking", "aws-popularity-count"):
        other = text.replace('"aws-hrnn"', f'"{recipe}"').replace('{ hidden_dimension = "100", bptt = 32 }', "{}")
        assert parse_config(other, "shop.toml").batch_inference["users"].explain
    related = text.replace('"aws-hrnn"', '"aws-sims"').replace('{ hidden_dimension = "100", bptt = 32 }', "{}")
    with pytest.raises(ConfigError, match=r"batch_inference\.users\.explain: aws-sims can't explain its answers"):
        parse_config(related, "shop.toml")


FILTERED = SHOP + "filter = 'EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN (\"purchase\")'\n"


def test_a_batch_may_have_a_filter_and_users_may_be_asked_for() -> None:
    segment = """
[solutions.fans]
recipe = "aws-item-affinity"

[batch_segment.fans]
solution = "fans"
input = "items.json"
output = "s3://bucket/batch/segments/"
num_results = 5_000_000
filter = 'INCLUDE UserID WHERE Users.COUNTRY IN ($COUNTRY)'

[filtering]
limits = { past_events = 300 }
"""
    config = parse_config(FILTERED + segment, "shop.toml")
    assert list(config.batches) == ["batch_inference.users", "batch_segment.fans"]
    assert config.filter_of(config.batch_segment["fans"], "here").parameters == ("COUNTRY",)
    assert config.filtering.limits.past_events == 300


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('("purchase")', '("purchase"', "character 60: the parenthesis of character 49 is not closed here"),
        ("ItemID", "UserID", "a filter of UserID does not fit aws-hrnn"),
        ("Interactions.EVENT_TYPE IN", "Items.CREATION_TIMESTAMP > now() - 30d AND Items.GENRE IN", "extended"),
    ],
)
def test_a_wrong_filter_is_refused_with_the_character(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"batch_inference\.users\.filter") as caught:
        parse_config(FILTERED.replace(old, new), "shop.toml")
    assert said in str(caught.value)
    assert "^" in str(caught.value).splitlines()[-1]


def test_extensions_of_filters_are_opt_in() -> None:
    text = FILTERED.replace('Interactions.EVENT_TYPE IN ("purchase")', "Items.CREATION_TIMESTAMP < now() - 30d")
    parse_config(text + "[filtering]\nextended = true\n", "shop.toml")


def test_further_faults_are_named_by_path() -> None:
    with pytest.raises(ConfigError, match=re.escape("Also wrong: solutions.for-you.recipe, batch_inference.users.input.")):
        parse_config(SHOP.replace("1800", "-1").replace('"aws-hrnn"', "3").replace("input =", "# "), "shop.toml")


@pytest.mark.parametrize("name", ["For-You", "FOR-YOU"])
def test_names_of_solutions_differ_in_more_than_case(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"shop\.toml: solutions\.{name}: for-you has this name but for its case") as raised:
        parse_config(f'{SHOP}\n[solutions.{name}]\nrecipe = "aws-sims"\n', "shop.toml")
    assert f"(got '{name}'). Allowed: " in str(raised.value)


def test_two_batches_may_not_write_to_the_same_folder() -> None:
    second = SHOP.partition("[batch_inference.users]")[2]
    with pytest.raises(ConfigError, match=r"batch_inference\.more\.output: batch_inference\.users writes there too"):
        parse_config(f"{SHOP}\n[batch_inference.more]{second}", "shop.toml")


@pytest.mark.parametrize(("kind", "solution"), [("batch_inference", "for-you"), ("batch_segment", "fans")])
@pytest.mark.parametrize("output", ["{0}", "{0}/", "{0}/./", "{0}/x/..", "{0}/deeper", "{0}/..", "file://{0}/y/", "{0}-link"])
def test_two_jobs_may_not_write_into_one_another(tmp_path: Path, kind: str, solution: str, output: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out-link").symlink_to(tmp_path / "out")
    text = SHOP.replace("s3://bucket/batch/out/", str(tmp_path / "out"))
    text += '[solutions.fans]\nrecipe = "aws-item-affinity"\n'
    text += f'[{kind}.more]\nsolution = "{solution}"\ninput = "s3://bucket/more.json"\noutput = '
    with pytest.raises(ConfigError, match=rf"{kind}\.more\.output: batch_inference\.users writes there too"):
        parse_config(f'{text}"{output.format(tmp_path / "out")}"\n', "shop.toml")
    parse_config(f'{text}"{tmp_path}/out-2/"\n', "shop.toml")


def test_broken_json_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"shop\.json: this is not valid JSON"):
        parse_config('{"dataset_group": ', "shop.json")


def test_every_field_is_described() -> None:
    def undescribed(schema: dict[str, object], path: str = "") -> list[str]:
        definitions = json_schema()["$defs"]
        found = []
        for name, table in {"": schema, **definitions}.items():
            for key, field in table.get("properties", {}).items():
                if "description" not in field:
                    found.append(f"{name}.{key}")
        return found

    assert undescribed(NightlyConfig.model_json_schema()) == []


def test_the_published_json_schema_is_current() -> None:
    published = Path(__file__).parents[2] / "docs" / "nightly.schema.json"
    assert json.loads(published.read_text()) == json_schema(), "run: python -m schemas.config > docs/nightly.schema.json"
