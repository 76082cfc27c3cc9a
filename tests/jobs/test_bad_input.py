"""What goes wrong in a company's data, config or machine, tried at the console: one clear message each, never a traceback."""

from __future__ import annotations

import gzip
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_shop import INTERACTIONS, night_config, write_shop

from jobs.cli import main
from jobs.platform.storage.folders import StepFolder

ROOT = Path(__file__).parents[2]
HEADER = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE"
ROWS = [f"u{n % 7},i{n % 5},{1_700_000_000 + 60 * n},view" for n in range(50)]


@dataclass(frozen=True)
class Case:
    """One thing that is wrong.

    Attributes:
        what: In words.
        arguments: Of `hrnn`; `@` stands for the folder of prepared files.
        says: What the message must match.
        status: Exit status.
    """

    what: str
    arguments: str
    says: str
    status: int = 1


def _validate(data: str, schema: str = "@/schema.json", output: str = "@/made/typed") -> str:
    return f"validate --schema {schema} --data {data} --output {output}"


def _nightly(config: str) -> str:
    return f"nightly --config @/configs/{config}"


_TRAIN = "train --sequences @/good/sequences --output @/made/solution"
_RECOMMEND = "recommend --solution @/good/solution --output @/made/out"

BEFORE_SPARK = [
    Case("themes", "recommend --solution @/s --input @/i --output @/o --mode THEME_GENERATION", "themes need a language model"),
    Case("mode", "recommend --solution @/s --input @/i --output @/o --mode THEMES", "no such mode of batch inference"),
    Case("missing column", _validate("@/missing-column.csv"), r"missing-column\.csv.*ITEM_ID"),
    Case(
        "duplicate header",
        _validate("@/duplicate-header.csv"),
        r"duplicate-header\.csv.*(twice|duplicate|more than once).*USER_ID",
    ),
    Case("no header", _validate("@/no-header.csv"), r"no-header\.csv.*USER_ID"),
    Case("empty file", _validate("@/empty.csv"), r"empty"),
    Case("empty folder", _validate("@/empty-folder/"), r"empty-folder.*no file is there\. Name a file"),
    Case("missing file", _validate("@/nothing.csv"), r"nothing\.csv.*no file is there\. Name a file"),
    Case("binary file", _validate("@/binary.csv"), r"binary\.csv"),
    Case("cut gzip file", _validate("@/cut.csv.gz"), r"cut\.csv\.gz"),
    Case("schema missing", _validate("@/good.csv", "@/no-schema.json"), r"no-schema\.json: there is no such file"),
    Case("schema not JSON", _validate("@/good.csv", "@/good.csv"), r"good\.csv.*JSON"),
    Case("schema without a required field", _validate("@/good.csv", "@/schema-without-item.json"), r"ITEM_ID"),
    Case("schema with an unknown type", _validate("@/good.csv", "@/schema-of-bytes.json"), r"EVENT_TYPE.*bytes"),
    Case("unknown scheme", _validate("gs://bucket/data.csv"), r"gs://bucket/data\.csv.*Allowed: s3://"),
    Case("output inside the input", "validate --schema @/schema.json --data @/raw/ --output @/raw/typed", r"within each other"),
    Case("no such bucket", _validate("s3://no-such-bucket-here/raw/"), r"s3://no-such-bucket-here/raw/?.*no such bucket"),
    Case("impossible bucket", _validate("s3://no_/raw/"), r"s3://no_/raw/?.*(bucket|object)"),
    Case("fraction out of range", _validate("@/good.csv") + " --max-rejected-fraction 7", r"fraction.*7"),
    Case("step missing", "sessionize --interactions @/empty-folder --output @/made/sequences", r"no finished step lies here"),
    Case(
        "gap of nonsense", "sessionize --interactions @/x --output @/made/s --gap-seconds soon", r"--gap-seconds.*'soon'.*none"
    ),
    Case("gap below 1", "sessionize --interactions @/x --output @/made/s --gap-seconds -5", r"--gap-seconds.*-5"),
    Case(
        "event type without a name",
        "sessionize --interactions @/x --output @/made/s --event-type view --event-type=",
        r"--event-type\[1\]: this text is empty \(got ''\)\. Allowed: a text of 1 to 256 characters",
    ),
    Case("schema that is a list", _validate("@/good.csv", "[]"), r"--schema: a schema is a JSON object \(got \[\]\)"),
    Case(
        "sessions of items",
        _validate("@/nothing.csv", "@/shop/schemas/items.json") + " --gap-seconds 60",
        r"--gap-seconds: this has no effect: Items have no events, and so no sessions \(got 60\)\. Leave it out",
    ),
    Case("schema cut off", _validate("@/good.csv", "[{"), r"--schema: the schema is not JSON .*\(got '\[\{'\)"),
    Case(
        "config with a schema that is a list",
        _nightly("schema-list.toml"),
        r"datasets\.interactions\.schema: a schema is a JSON",
    ),
    Case("wrong recipe", _TRAIN + " --recipe aws-hrn", r"aws-hrn.*aws-hrnn"),
    Case(
        "unknown hyperparameter", _TRAIN + ' --hyperparameters {"hiden_dimension":"64"}', r"hiden_dimension.*hidden_dimension"
    ),
    Case("hyperparameter out of range", _TRAIN + ' --hyperparameters {"bptt":"1000"}', r"bptt.*1000"),
    Case("hyperparameters not JSON", _TRAIN + " --hyperparameters bptt=7", r"--hyperparameters.*JSON"),
    Case("missing config", _nightly("none.toml"), r"none\.toml: there is no such file"),
    Case("TOML syntax", _nightly("syntax.toml"), r"syntax\.toml: this is not valid TOML.*line 3"),
    Case("JSON syntax", _nightly("syntax.json"), r"syntax\.json: this is not valid JSON.*line 1"),
    Case("unknown config key", _nightly("unknown-key.toml"), r"dataset_group\.workspase.*workspace"),
    Case("missing config key", _nightly("missing-key.toml"), r"dataset_group\.workspace"),
    Case("config with a wrong recipe", _nightly("recipe.toml"), r"solutions\.for-you\.recipe.*aws-hrn.*aws-hrnn"),
    Case("config with an unknown hyperparameter", _nightly("unknown-hyperparameter.toml"), r"solutions\.for-you.*layers"),
    Case("config with a value out of range", _nightly("range.toml"), r"num_results.*9000"),
    Case("config with a gap of nonsense", _nightly("gap.toml"), r"sessions\.gap_seconds.*-3"),
    Case(
        "config with a mistyped solution", _nightly("solution.toml"), r"batch_inference\.everyone\.solution.*for-yuo.*for-you"
    ),
    Case(
        "config of a missing schema", _nightly("no-schema.toml"), r"nothing/schemas/interactions\.json: there is no such file"
    ),
    Case("config not UTF-8", _nightly("latin.toml"), r"latin\.toml.*UTF-8"),
    Case(
        "option of another shape of config", _nightly("good.toml") + " --data @/raw", r"^--data: this option is for AWS's JSON"
    ),
    Case("unknown command", "trian", r"no such command 'trian'.*Did you mean 'train'", 2),
    Case("unknown option", "train --sequenzes @/x", r"no such option.*--sequenzes", 2),
    Case("missing option", "train --recipe aws-hrnn", r"missing option.*--sequences", 2),
    Case("option of a wrong type", _TRAIN + " --epochs many", r"--epochs: a whole number is needed", 2),
    Case(
        "option out of range",
        _RECOMMEND + " --input @/batch.json --num-results 0",
        r"--num-results: the number is too small .*Allowed: 1 or more",
        2,
    ),
]

WITH_SPARK = [
    Case("header only", _validate("@/header-only.csv"), r"header-only\.csv: there is a header but no rows"),
    Case("wrong type", _validate("@/wrong-type.csv"), r"wrong-type\.csv.*50 of 50 rows were rejected.*TIMESTAMP"),
    Case("milliseconds", _validate("@/milliseconds.csv"), r"milliseconds\.csv.*50 of 50 rows.*TIMESTAMP.*(milli|second)"),
    Case("ragged rows", _validate("@/ragged.csv"), r"ragged\.csv.*50 of 50 rows were rejected"),
    Case(
        "quote never closed",
        _validate("@/quote.csv"),
        r"quote\.csv: 1 of 51 rows were rejected: a quote opens in this line.*quote\.csv line 2",
    ),
    Case(
        "full disk", "validate --schema @/schema.json --data @/large.csv --output @/full/typed", r"no space is left on the disk"
    ),
    Case("wrong dataset", "sessionize --interactions @/good/items --output @/made/s", r"another dataset.*Items.*Interactions"),
    Case(
        "wrong kind of folder", "train --sequences @/good/interactions --output @/made/s", r"something else.*dataset.*sequences"
    ),
    Case("damaged file", "train --sequences @/damaged/sequences --output @/made/s", r"bytes differ from its manifest"),
    Case("no batch input", _RECOMMEND + " --input @/nothing.json", r"nothing\.json"),
    Case("output is the input", "recommend --solution @/good/solution --output @/batch --input @/batch", r"where the input is"),
    Case(
        "metrics over sequences",
        "evaluate --solution @/good/solution --sequences @/good/sequences --output @/good/sequences",
        r"good/sequences: another step's result lies here.*sequences.*Allowed: evaluation, or nothing",
    ),
    Case("metrics over a solution", "evaluate --solution @/good/solution --output @/good/solution", r"another step's result"),
    Case(
        "a solution over sequences",
        "train --sequences @/good/sequences --output @/good/sequences",
        r"another step's result lies here.*sequences.*Allowed: solution_version",
    ),
    Case("a dataset over a solution", _validate("@/good.csv", output="@/good/solution"), r"another step's result lies here"),
    Case("an export over sequences", "export --dataset @/good/items --output @/good/sequences", r"another step's result"),
    Case(
        "a dataset over what describes it",
        _validate("@/good.csv", output="@/good/items") + " --items @/good/items",
        r"--output: the output would replace a dataset that the events are compared with",
    ),
    Case("no solution", "recommend --solution @/empty-folder --output @/made/o --input @/batch", r"no finished step lies here"),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good file of each kind, and bad ones whose names say what is wrong."""
    folder = tmp_path_factory.mktemp("bad")
    for name in ("empty-folder", "raw", "batch", "configs"):
        (folder / name).mkdir()
    _write_data(folder)
    _write_schemas(folder)
    _write_configs(folder)
    return folder


def _write_data(folder: Path) -> None:
    def csv(name: str, header: str = HEADER, rows: list[str] = ROWS) -> None:
        (folder / name).write_text("\n".join([header, *rows, ""]))

    csv("good.csv")
    csv("raw/good.csv")
    csv("missing-column.csv", "USER_ID,TIMESTAMP,EVENT_TYPE", [row.replace(",i", ",", 1).replace(",", ",", 1) for row in ROWS])
    csv("duplicate-header.csv", HEADER + ",USER_ID", [row + ",u1" for row in ROWS])
    csv("no-header.csv", ROWS[0], ROWS[1:])
    csv("header-only.csv", HEADER, [])
    csv("wrong-type.csv", HEADER, [re.sub(r"\d{10}", "yesterday", row) for row in ROWS])
    csv("milliseconds.csv", HEADER, [re.sub(r"(\d{10})", r"\g<1>000", row) for row in ROWS])
    csv("ragged.csv", HEADER, [row + ",more,and more" for row in ROWS])
    csv("quote.csv", HEADER, [f'"{ROWS[0]}', *ROWS])
    dice = random.Random(0)
    csv("large.csv", HEADER, [f"{dice.randbytes(16).hex()},i1,1700000000,view" for _ in range(100_000)])
    (folder / "empty.csv").write_bytes(b"")
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 20)
    (folder / "cut.csv.gz").write_bytes(gzip.compress((folder / "good.csv").read_bytes())[:-20])
    (folder / "batch/users.json").write_text('{"userId": "u1"}\n')


def _write_schemas(folder: Path) -> None:
    (folder / "schema.json").write_text(json.dumps(INTERACTIONS))
    fields = INTERACTIONS["fields"]
    assert isinstance(fields, list)
    without = {**INTERACTIONS, "fields": [field for field in fields if field["name"] != "ITEM_ID"]}
    of_bytes = {
        **INTERACTIONS,
        "fields": [field if field["name"] != "EVENT_TYPE" else field | {"type": "bytes"} for field in fields],
    }
    (folder / "schema-without-item.json").write_text(json.dumps(without))
    (folder / "schema-of-bytes.json").write_text(json.dumps(of_bytes))


def _write_configs(folder: Path) -> None:
    write_shop(folder / "shop", num_users=5, num_lines=5)
    good = night_config(str(folder / "shop"), str(folder / "made/workspace"), str(folder / "made/night"))

    def config(name: str, old: str, new: str) -> None:
        assert old in good
        (folder / "configs" / name).write_text(good.replace(old, new))

    config("schema-list.toml", f'schema = "{folder}/shop/schemas/interactions.json"', 'schema = " [] "')
    config("syntax.toml", 'name = "shop"', 'name = "shop')
    config("unknown-key.toml", "workspace =", "workspase =")
    config("missing-key.toml", "workspace =", "# workspace =")
    config("recipe.toml", '"aws-hrnn"', '"aws-hrn"')
    config("unknown-hyperparameter.toml", "bptt", "layers")
    config("range.toml", "num_results = 10", "num_results = 9000")
    config("gap.toml", "[solutions.for-you]", "[sessions]\ngap_seconds = -3\n\n[solutions.for-you]")
    config("solution.toml", 'solution = "for-you"', 'solution = "for-yuo"')
    config("no-schema.toml", f"{folder}/shop/schemas/interactions", f"{folder}/nothing/schemas/interactions")
    (folder / "configs/good.toml").write_text(good)
    (folder / "configs/syntax.json").write_text('{"dataset_group": }')
    (folder / "configs/latin.toml").write_bytes("# Grüße\n".encode("latin-1") + good.encode())


@pytest.fixture(scope="module")
def finished(prepared: Path, spark: object) -> Path:
    """The folder, with a finished step of each kind too, and a damaged one."""
    import shutil

    from called_jobs import sessionize, train, validate

    good, shop = prepared / "good", prepared / "shop"
    validate(
        schema_uri=str(prepared / "schema.json"), data_uri=str(prepared / "good.csv"), output_uri=str(good / "interactions")
    )
    validate(schema_uri=str(shop / "schemas/items.json"), data_uri=str(shop / "raw/items.csv"), output_uri=str(good / "items"))
    sessionize(interactions_uri=str(good / "interactions"), output_uri=str(good / "sequences"))
    train(sequences_uri=str(good / "sequences"), recipe="aws-popularity-count", output_uri=str(good / "solution"))
    shutil.copytree(good / "sequences", prepared / "damaged/sequences")
    (shard,) = (prepared / "damaged/sequences/shards").iterdir()
    shard.write_bytes(bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:])
    return prepared


Try = Callable[[Case, Path], None]


@pytest.fixture
def attempt(s3: str, capfd: pytest.CaptureFixture[str]) -> Try:
    """Runs `hrnn` in this process and looks at all it says; S3 is the mock."""

    def run(case: Case, folder: Path) -> None:
        with pytest.raises(SystemExit) as ended:
            main(case.arguments.replace("@", str(folder)).split())
        said, complained = capfd.readouterr()
        assert ended.value.code == case.status, complained
        _check(case, said, complained)

    return run


def _check(case: Case, said: str, complained: str) -> None:
    """One message that says it all, and no trace of what lies beneath."""
    for trace in ("Traceback", "  File ", "Py4J", "org.apache", "java.", "botocore", "pydantic"):
        assert trace not in complained, complained
    plain = re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", "", complained)
    if case.status == 1:
        (message,) = re.findall(r"^hrnn: (.*)$", plain, re.MULTILINE)
        assert re.search(case.says, message), message
        document = json.loads(said)
        assert (document["job"], document["state"], document["error"]) == (case.arguments.split()[0], "failed", message)
    else:
        assert re.search(case.says, re.sub(r"\s+", " ", plain)), complained


def _named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.what for case in cases])


@_named(BEFORE_SPARK)
def test_what_is_wrong_is_said_at_once(case: Case, prepared: Path, attempt: Try) -> None:
    attempt(case, prepared)


@_named(WITH_SPARK)
def test_what_is_wrong_is_said_after_looking_at_the_data(
    case: Case, finished: Path, attempt: Try, request: pytest.FixtureRequest
) -> None:
    if "@/full" in case.arguments:
        disk: Path = request.getfixturevalue("no_space")
        attempt(Case(case.what, case.arguments.replace("@/full", str(disk)), case.says), finished)
        assert not (disk / "typed/manifest.json").exists()
    else:
        attempt(case, finished)
    for name in ("interactions", "items", "sequences", "solution"):
        folder = StepFolder(str(finished / "good" / name))
        manifest = folder.manifest()
        assert manifest is not None
        assert folder.is_whole(manifest)
        assert manifest.kind == {"sequences": "sequences", "solution": "solution_version"}.get(name, "dataset")


@pytest.mark.slow
def test_a_process_of_its_own_says_no_more_about_a_full_disk(prepared: Path, no_space: Path) -> None:
    """Spark's workers and Java are not heard either."""
    case = next(case for case in WITH_SPARK if case.what == "full disk")
    arguments = case.arguments.replace("@/full", str(no_space)).replace("@", str(prepared)).split()
    command = [sys.executable, "-m", f"jobs.{arguments[0]}", *arguments[1:]]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 1, answer.stderr
    _check(case, answer.stdout, answer.stderr)


def test_there_are_more_than_forty_kinds() -> None:
    assert len({case.what for case in BEFORE_SPARK + WITH_SPARK}) > 40
