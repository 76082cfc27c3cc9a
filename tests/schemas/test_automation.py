from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from schemas.automation import from_automation, is_automation_config
from schemas.automation_batches import Places
from schemas.config import build_config
from schemas.errors import ConfigError

RECIPES = ["aws-hrnn", "aws-popularity-count"]
FIELDS = [{"name": "USER_ID", "type": "string"}, {"name": "ITEM_ID", "type": "string"}, {"name": "TIMESTAMP", "type": "long"}]
AVRO = {"type": "record", "name": "interactions", "namespace": "com.amazonaws.personalize.schema", "fields": FIELDS}


def automation() -> dict[str, Any]:
    """A config in the shape of AWS's Maintaining Personalized Experiences."""
    return {
        "datasetGroup": {"serviceConfig": {"name": "shop"}, "workflowConfig": {"schedules": {"import": "cron(0 */6 * * ? *)"}}},
        "datasets": {
            "interactions": {
                "dataset": {"serviceConfig": {"name": "rows"}},
                "schema": {"serviceConfig": {"name": "row-schema", "schema": AVRO}},
            },
            "users": {"dataset": {"serviceConfig": {"name": "people"}}, "schema": {"serviceConfig": {"schema": AVRO}}},
        },
        "solutions": [
            {"serviceConfig": {"name": "like-this", "recipeArn": "arn:aws:personalize:::recipe/aws-sims"}},
            {
                "serviceConfig": {
                    "name": "for-you",
                    "recipeArn": "arn:aws:personalize:::recipe/aws-hrnn",
                    "solutionConfig": {
                        "algorithmHyperParameters": {"hidden_dimension": "64"},
                        "featureTransformationParameters": {"max_user_history_length_percentile": "0.95"},
                        "eventValueThreshold": "1",
                    },
                },
                "workflowConfig": {"schedules": {"full": "cron(0 2 ? * 1 *)"}},
                "campaigns": [{"serviceConfig": {"name": "live", "minProvisionedTPS": 1}}],
                "batchInferenceJobs": [{"serviceConfig": {"numResults": 40}}],
            },
        ],
        "filters": [{"serviceConfig": {"name": "bought", "filterExpression": "…"}}],
        "eventTracker": {"serviceConfig": {"name": "tracker"}},
    }


def places(users: str | None = None, batch: str | None = "s3://b/batch/shop/for-you/job_config.json") -> Places:
    """Where things lie, users only when asked for."""
    data = {"interactions": "s3://b/train/shop/interactions.csv", "users": users}
    return Places(workspace="s3://b/hrnn/shop", data=data.get, batch=lambda _: batch)


def test_what_has_a_meaning_is_taken_over() -> None:
    document, _ = from_automation(automation(), places(), "config.json", RECIPES)
    config = build_config(document, "config.json")
    assert config.dataset_group.name == "shop"
    assert config.datasets.interactions.avro == AVRO
    assert config.datasets.interactions.data == "s3://b/train/shop/interactions.csv"
    assert list(config.solutions) == ["for-you"]
    assert config.solutions["for-you"].hyperparameters == {
        "hidden_dimension": "64",
        "max_user_history_length_percentile": "0.95",
    }
    assert config.solutions["for-you"].training.event_value_threshold == "1"
    batch = config.batch_inference["for-you"]
    assert (batch.output, batch.num_results) == ("s3://b/batch/shop/for-you/out/", 40)


@pytest.mark.parametrize("name", ["action_interactions", "actionInteractions", "actions"])
def test_actions_and_what_users_did_with_them_are_taken_over(name: str) -> None:
    given = automation()
    given["datasets"][name] = given["datasets"].pop("users")
    key = "actions" if name == "actions" else "action_interactions"
    found = {"interactions": "s3://b/interactions.csv", key: f"s3://b/{key}.csv"}
    document, _ = from_automation(given, replace(places(), data=found.get), "config.json", RECIPES)
    assert build_config(document, "config.json").datasets.present()[key].data == f"s3://b/{key}.csv"  # type: ignore[index]


def test_event_rules_and_searches_are_taken_over() -> None:
    document = automation()
    service = document["solutions"][1]["serviceConfig"]
    service |= {"performHPO": True, "solutionConfig": {
        "eventsConfig": {"eventParametersList": [{"eventType": "buy", "eventValueThreshold": 2.0, "weight": 0.5}]},
        "trainingDataConfig": {"excludedDatasetColumns": {"ITEMS": ["GENRE"]}, "includedDatasetColumns": {}},
        "hpoConfig": {
            "hpoResourceConfig": {"maxNumberOfTrainingJobs": "12", "maxParallelTrainingJobs": "2"},
            "algorithmHyperParameterRanges": {
                "integerHyperParameterRanges": [{"name": "bptt", "minValue": 4, "maxValue": 16}],
                "categoricalHyperParameterRanges": [{"name": "recency_mask", "values": ["true"]}],
            },
        },
    }}  # fmt: skip
    translated, warnings = from_automation(document, places(), "config.json", RECIPES)
    solution = build_config(translated, "config.json").solutions["for-you"]
    assert solution.hpo is not None
    assert (solution.hpo.max_jobs, solution.hpo.parallel_jobs) == (12, 2)
    assert solution.hpo.ranges == {"bptt": (4, 16), "recency_mask": (True,)}
    assert solution.training.excluded_dataset_columns == {"Items": ("GENRE",)}
    assert solution.training.events_config is not None
    assert [(rule.event_type, rule.event_value_threshold, rule.weight) for rule in solution.training.events_config] == [
        ("buy", 2.0, 0.5)
    ]
    assert not [warning for warning in warnings if "solutionConfig" in warning]


@pytest.mark.parametrize("recipe", [None, "arn:aws:personalize:::recipe/aws-hrnn"])
def test_automl_is_taken_over_without_what_it_chooses_itself(recipe: str | None) -> None:
    document = automation()
    service = document["solutions"][1]["serviceConfig"] | {"performAutoML": True, "performHPO": "true", "recipeArn": recipe}
    document["solutions"][1]["serviceConfig"] = {key: value for key, value in service.items() if value is not None}
    translated, warnings = from_automation(document, places(), "config.json", RECIPES)
    solution = build_config(translated, "config.json").solutions["for-you"]
    assert (solution.auto_ml, solution.recipe, solution.hyperparameters, solution.hpo) == (True, "aws-hrnn", {}, None)
    assert solution.training.event_value_threshold == "1"
    assert [warning for warning in warnings if "AutoML" in warning] == [
        "solutions.1.performAutoML: the recipe is chosen among the HRNN recipes, each with its defaults",
        "solutions.1.solutionConfig: hyperparameters: left out, performAutoML takes every recipe with its defaults",
        "solutions.1.performHPO: left out, performAutoML takes every recipe with its defaults",
    ]


def test_no_automl_is_no_automl() -> None:
    document = automation()
    document["solutions"][1]["serviceConfig"]["performAutoML"] = "false"
    translated, warnings = from_automation(document, places(), "config.json", RECIPES)
    solution = build_config(translated, "config.json").solutions["for-you"]
    assert (solution.auto_ml, solution.hyperparameters["hidden_dimension"]) == (False, "64")
    assert not [warning for warning in warnings if "AutoML" in warning]


def test_what_has_no_meaning_is_named() -> None:
    _, warnings = from_automation(automation(), places(), "config.json", RECIPES)
    assert warnings == [
        "datasets.users: left out, no data were found",
        "solutions.0 (like-this): left out, the recipe aws-sims is not one of aws-hrnn, aws-popularity-count",
        "solutions.1.workflowConfig: left out",
        "solutions.1.campaigns: left out",
        "filters: bought is left out, no batch job names it",
        "eventTracker: left out, events come from the CSV files only",
        "datasetGroup.workflowConfig: left out",
    ]


def searched(config: dict[str, Any], perform: bool = True) -> tuple[dict[str, Any], list[str]]:
    """Our solution of one with an hpoConfig, and what is said of that."""
    document = automation()
    service = document["solutions"][1]["serviceConfig"]
    service |= {"performHPO": perform, "solutionConfig": {"hpoConfig": config}}
    ours, warnings = from_automation(document, places(), "config.json", RECIPES)
    return ours["solutions"]["for-you"], [warning for warning in warnings if "hpoConfig" in warning]


def test_ranges_under_the_names_that_describe_solution_shows_are_taken() -> None:
    solution, said = searched({"algorithmHyperParameterRanges": {
        "integerHyperParameterRanges": [{"name": "training.bptt", "minValue": 2, "maxValue": 22}],
        "continuousHyperParameterRanges": [],
        "categoricalHyperParameterRanges": [{"name": "data.recency_mask", "values": ["true", "false"]}],
    }})  # fmt: skip
    assert solution["hpo"]["ranges"] == {"training.bptt": [2, 22], "data.recency_mask": ["true", "false"]}
    assert said == []
    document, _ = from_automation(automation(), places(), "config.json", RECIPES)
    build_config({**document, "solutions": {"for-you": solution}}, "config.json")


def test_an_objective_and_an_unused_search_are_named_in_warnings() -> None:
    objective = {"hpoObjective": {"type": "Maximize", "metricName": "precision"}, "hpoResourceConfig": {}}
    assert searched(objective)[1] == [
        "solutions.1.solutionConfig.hpoConfig.hpoObjective: left out, a search is measured by NDCG@25; "
        "Personalize lets nobody choose either"
    ]
    solution, said = searched({"hpoResourceConfig": {"maxNumberOfTrainingJobs": "2"}}, perform=False)
    assert "hpo" not in solution
    assert said == ["solutions.1.solutionConfig.hpoConfig.hpoResourceConfig: left out, performHPO does not say true"]


def test_every_batch_job_of_a_solution_is_kept_with_a_folder_of_its_own() -> None:
    document = automation()
    document["solutions"][1]["batchInferenceJobs"] = [
        {"serviceConfig": {"numResults": 40}},
        {"serviceConfig": {"filterArn": FILTER_ARN + "bought"}},
        {"serviceConfig": {"jobInput": {"s3DataSource": {"path": "s3://b/some/"}},
                           "jobOutput": {"s3DataDestination": {"path": "s3://b/lists/"}}}},
    ]  # fmt: skip
    document["filters"][0]["serviceConfig"]["filterExpression"] = 'EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("buy")'
    ours, warnings = from_automation(document, places(), "config.json", RECIPES)
    assert not any("batchInferenceJobs" in warning for warning in warnings)
    jobs = build_config(ours, "config.json").batch_inference
    assert {name: (job.input, job.output, job.num_results, bool(job.filter)) for name, job in jobs.items()} == {
        "for-you": ("s3://b/batch/shop/for-you/job_config.json", "s3://b/batch/shop/for-you/out/", 40, False),
        "for-you-2": ("s3://b/batch/shop/for-you/job_config.json", "s3://b/batch/shop/for-you/out-2/", 25, True),
        "for-you-3": ("s3://b/some/", "s3://b/lists/", 25, False),
    }


def test_themes_are_refused_with_their_reason() -> None:
    document = automation()
    document["solutions"][1]["batchInferenceJobs"] = [{"serviceConfig": {"batchInferenceJobMode": "THEME_GENERATION"}}]
    ours, warnings = from_automation(document, places(), "config.json", RECIPES)
    assert ours["batch_inference"] == {}
    assert any("themes need a language model that reads the items' texts" in warning for warning in warnings)


FILTER_ARN = "arn:aws:personalize:eu-west-1:1:filter/"


def test_a_batch_keeps_the_filter_that_it_names_and_its_exploration() -> None:
    document = automation()
    service = document["solutions"][1]["batchInferenceJobs"][0]["serviceConfig"]
    service["filterArn"] = FILTER_ARN + "bought"
    service["batchInferenceJobConfig"] = {"itemExplorationConfig": {"explorationWeight": "0.5"}}
    ours, warnings = from_automation(document, places(), "config.json", RECIPES)
    assert ours["batch_inference"]["for-you"]["filter"] == document["filters"][0]["serviceConfig"]["filterExpression"]
    assert ours["batch_inference"]["for-you"]["exploration"] == {"weight": "0.5"}
    assert not any("filter" in warning for warning in warnings)


def test_a_batch_whose_filter_is_not_there_is_left_out_rather_than_run_without_it() -> None:
    document = automation()
    document["solutions"][1]["batchInferenceJobs"][0]["serviceConfig"]["filterArn"] = FILTER_ARN + "sold"
    ours, warnings = from_automation(document, places(), "config.json", RECIPES)
    assert ours["batch_inference"] == {}
    assert any("no filter sold" in warning for warning in warnings)


def test_segment_jobs_become_segments() -> None:
    document = automation()
    jobs = document["solutions"][1].pop("batchInferenceJobs")
    document["solutions"][1]["serviceConfig"]["recipeArn"] = "arn:aws:personalize:::recipe/aws-item-affinity"
    document["solutions"][1]["batchSegmentJobs"] = jobs
    ours, _ = from_automation(document, places(), "config.json", (*RECIPES, "aws-item-affinity"))
    assert ours["batch_segment"]["for-you"]["num_results"] == 40


def test_a_batch_without_input_names_the_option() -> None:
    _, warnings = from_automation(automation(), places(batch=None), "config.json", RECIPES)
    assert any("say where it lies with --batch FOLDER" in warning for warning in warnings)


def test_the_older_shape_with_named_solutions_is_read() -> None:
    older = {
        "datasetGroup": {"name": "MovieLensDemo"},
        "datasets": {"Interactions": {"name": "InteractionsDataset", "schema": AVRO}},
        "solutions": {"hrnn": {"name": "personal", "recipeArn": "arn:aws:personalize:::recipe/aws-hrnn"}},
        "campaigns": {"c": {"name": "c"}},
    }
    assert is_automation_config(older)
    document, warnings = from_automation(older, places(), "params.json", RECIPES)
    assert list(build_config(document, "params.json").solutions) == ["personal"]
    assert warnings == ["campaigns: left out, there are batch lists only"]


def test_no_trainable_solution_is_an_error_that_names_the_recipes() -> None:
    document = automation()
    del document["solutions"][1]
    with pytest.raises(ConfigError, match=r"no solution has a recipe .*aws-sims.*Allowed: aws-hrnn, aws-popularity-count"):
        from_automation(document, places(), "config.json", RECIPES)


@pytest.mark.parametrize("path", ["datasetGroup", "datasets", "solutions"])
@pytest.mark.parametrize("junk", [None, 3, "text", []])
def test_junk_in_place_of_a_table_is_refused_by_name(path: str, junk: Any) -> None:
    with pytest.raises(ConfigError, match=rf"config\.json: {path}"):
        from_automation({**automation(), path: junk}, places(), "config.json", RECIPES)


@pytest.mark.parametrize("junk", [None, 3, "text", [1], {"serviceConfig": 7}])
def test_junk_deeper_down_never_ends_in_a_traceback(junk: Any) -> None:
    text = json.dumps(automation())
    for key in ("dataset", "schema", "solutionConfig", "batchInferenceJobs", "recipeArn", "algorithmHyperParameters"):
        document = json.loads(text, object_pairs_hook=lambda pairs, key=key: {k: junk if k == key else v for k, v in pairs})
        try:
            ours, _ = from_automation(document, places(), "config.json", RECIPES)
            build_config(ours, "config.json")
        except ConfigError:
            pass
