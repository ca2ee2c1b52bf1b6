"""What is asked of SageMaker fits its own model whatever is asked for, and what it answers is told rightly. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binventory import recipe as recipes
from binventory.cloud import container, contract, following, images, jobs, launching, prices, session
from binventory.cloud.jobs import Channel, JobPlan, Machines, Range, TuningPlan, Walls
from binventory.cloud.wish import Wish
from binventory.errors import InputError, OutsideError, UsageError
from wire.server import RefusalError, serving

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AWS = session.Session("eu-central-1", None)
ROLE = "arn:aws:iam::123456789012:role/service-role/counting"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def plan(**changes: Any) -> JobPlan:
    given: dict[str, Any] = {
        "name": "binventory-full-1", "role": ROLE, "image": images.training("eu-central-1", "ml.g5.xlarge"),
        "to": "s3://bucket/site", "source": "s3://bucket/site/source/1/sourcedir.tar.gz", "program": "train_model.py",
        "channels": (Channel("train", "s3://bucket/bins/"),), "settings": (("recipe", "full"), ("full.lr", "0.001")),
    }  # fmt: skip
    return JobPlan(**(given | changes))


names = st.from_regex(r"[a-zA-Z0-9](-?[a-zA-Z0-9]){0,15}", fullmatch=True)
walls = st.builds(
    Walls,
    subnets=st.lists(st.sampled_from(["subnet-1", "subnet-2"]), min_size=1, max_size=2).map(tuple),
    groups=st.just(("sg-1",)), volume_key=st.sampled_from(["", KEY]), output_key=st.sampled_from(["", KEY]),
    isolated=st.booleans(), between=st.booleans(),
)  # fmt: skip
machines = st.builds(
    Machines,
    instance=st.sampled_from(["ml.g5.xlarge", "ml.m5.xlarge", "ml.c5.2xlarge", "ml.g6e.12xlarge"]),
    count=st.integers(1, 8), volume=st.integers(1, 500), seconds=st.integers(180, 86400),
    wait=st.sampled_from([0, 200_000]),
)  # fmt: skip
plans = st.builds(
    plan, name=names, machines=machines, walls=st.one_of(st.just(Walls()), walls),
    channels=st.lists(
        st.builds(Channel, names, st.just("s3://bucket/bins/"), st.sampled_from(["File", "FastFile"])),
        min_size=1, max_size=5, unique_by=lambda one: one.name,
    ).map(tuple),
    tags=st.lists(st.tuples(st.sampled_from(["team", "cost centre"]), st.text("aÄ0 +-=._:/@", max_size=20)), max_size=2)
    .map(tuple),
)  # fmt: skip


@given(wanted=plans)
def test_every_training_request_fits_the_service_s_own_model(wanted: JobPlan) -> None:
    request = jobs.training_request(wanted)
    assert list(contract.problems("sagemaker", "CreateTrainingJob", request)) == []
    assert request["EnableManagedSpotTraining"] == ("MaxWaitTimeInSeconds" in request["StoppingCondition"])
    assert all(isinstance(value, str) for value in request["HyperParameters"].values())
    # SageMaker refuses a key for disks that are the instance's own.
    assert not ("VolumeKmsKeyId" in request["ResourceConfig"] and ".g" in wanted.machines.instance)


@given(wanted=plans, strategy=st.sampled_from(["Bayesian", "Hyperband"]), trials=st.integers(1, 100), data=st.data())
def test_every_tuning_request_fits_the_service_s_own_model(
    wanted: JobPlan, strategy: Any, trials: int, data: st.DataObject
) -> None:
    parallel = data.draw(st.integers(1, trials))
    ranges = data.draw(st.lists(st.sampled_from(jobs.RANGES["full"]), min_size=1, max_size=4, unique=True))
    request = jobs.tuning_request(TuningPlan(wanted, trials, parallel, strategy, tuple(ranges)))
    assert list(contract.problems("sagemaker", "CreateHyperParameterTuningJob", request)) == []
    config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    assert config["HyperParameterTuningJobObjective"] == {"Type": "Minimize", "MetricName": "validate_log_loss"}
    tuned = {one["Name"] for listed in config["ParameterRanges"].values() for one in listed}
    assert not tuned & set(definition["StaticHyperParameters"])
    assert ("StrategyConfig" in config) == (strategy == "Hyperband")


def test_a_request_that_breaks_the_model_is_refused_before_it_is_sent() -> None:
    request = jobs.training_request(plan(machines=Machines(instance="ml.g5.xlarg")))
    with pytest.raises(InputError, match=r"ResourceConfig.InstanceType.*ml\.g5\.xlarge"):
        launching.checked("CreateTrainingJob", request, "j")


@pytest.mark.parametrize(("region", "instance", "address"), [
    ("eu-central-1", "ml.g5.xlarge",
     "763104351884.dkr.ecr.eu-central-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker"),
    ("eu-south-1", "ml.m5.xlarge", "692866216735.dkr.ecr.eu-south-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker"),
    ("cn-north-1", "ml.c5.xlarge",
     "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/pytorch:2.13-cpu-amzn2023-sagemaker"),
])  # fmt: skip
def test_the_image_is_that_of_the_region_and_of_the_instance(region: str, instance: str, address: str) -> None:
    assert images.training(region, instance) == address


def test_a_place_that_is_no_region_has_no_image() -> None:
    with pytest.raises(UsageError, match="--image"):
        images.training("moon-1", "ml.m5.xlarge")


@pytest.mark.parametrize("instance", ["ml.p2.xlarge", "ml.p3.2xlarge", "ml.p3dn.24xlarge"])
def test_a_gpu_that_the_image_no_longer_knows_is_refused(instance: str) -> None:
    with pytest.raises(UsageError, match=r"ml\.g5\.xlarge"):
        images.training("eu-central-1", instance)


def test_no_key_is_asked_for_disks_that_an_instance_brings() -> None:
    for instance in ("ml.g5.xlarge", "ml.g7e.2xlarge", "ml.p6-b200.48xlarge", "ml.p6e-gb200.36xlarge", "ml.r5d.large"):
        assert images.has_local_disk(instance)
    for instance in ("ml.m5.xlarge", "ml.c6i.large", "ml.p3.2xlarge"):
        assert not images.has_local_disk(instance)


def test_the_metric_s_expression_reads_our_own_line() -> None:
    import re

    line = "epoch=3 seconds=12.5 train_loss=2.01 validate_log_loss=1.93e+00 validate_accuracy=0.41"
    found = {one["Name"]: re.search(one["Regex"], line) for one in jobs.metrics()}
    assert float(found["validate_log_loss"][1]) == 1.93  # type: ignore[index]
    assert found["validate_within_one"] is None
    assert all(len(one["Regex"]) <= 500 for one in jobs.metrics())


def test_names_differ_fit_a_tuning_job_and_begin_alike() -> None:
    made = jobs.name("quick", NOW, "ab12")
    assert made == "binventory-quick-2611221200-ab12"
    assert len(made) == 32


def test_what_a_recipe_says_travels_as_settings_and_arrives_as_the_same_recipe() -> None:
    recipe = recipes.load("full", ["full.lr=0.002", "full.backbone=resnet18", "full.mean=[0.5,0.5,0.5]", "seed=7",
                                   "full.camera.flip=0.0"])  # fmt: skip
    settings = [f"{name}={value}" for name, value in launching.changed(recipe)]
    assert "full.backbone=resnet18" in settings
    assert recipes.load("full", settings) == recipe


@given(values=st.fixed_dictionaries({"lr": st.floats(1e-6, 1), "epochs": st.integers(1, 99),
                                     "size": st.integers(32, 1024), "minutes": st.floats(0, 999)}))  # fmt: skip
def test_any_settings_arrive_as_they_were(values: dict[str, Any]) -> None:
    recipe = recipes.from_mapping({"kind": "full", "full": values})
    assert recipes.load("full", [f"{name}={value}" for name, value in launching.changed(recipe)]) == recipe


def test_the_source_the_weights_and_the_bundle_to_start_from_lie_where_the_job_finds_them(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    wish = Wish(to="s3://bucket/site", role=ROLE, tags=("team=receiving",), spot=True, max_hours=2)
    made, parts = launching.plan(
        AWS, wish, recipes.load("full"), ["s3://bucket/a", "s3://bucket/b/"], "s3://bucket/old/model.tar.gz",
        str(tmp_path / "w.safetensors"), tmp_path,
    )  # fmt: skip
    assert [(one.name, one.address) for one in made.channels[:3]] == [
        ("train", "s3://bucket/a/"), ("train-2", "s3://bucket/b/"), ("model", "s3://bucket/old/model.tar.gz"),
    ]  # fmt: skip
    assert [address for address, _ in parts.files] == [made.source, made.channels[3].address]
    assert made.machines.wait == 2 * made.machines.seconds == 4 * 3600
    assert made.tags == (("team", "receiving"),)
    again, _ = launching.plan(AWS, wish, recipes.load("full"), ["s3://bucket/a"], None, None, tmp_path)
    assert again.source == made.source  # named by its content, so that the same is not another


def test_an_isolated_job_gets_its_source_as_a_channel_and_brings_its_packages(tmp_path: Path) -> None:
    wish = Wish(to="s3://bucket/site", role=ROLE, isolated=True)
    with pytest.raises(UsageError, match="--wheelhouse"):
        launching.plan(AWS, wish, recipes.load("quick"), ["s3://bucket/a"], None, None, tmp_path)


def test_the_source_of_an_isolated_job_is_no_photos() -> None:
    channels = {name: {"TrainingInputMode": "File"} for name in ("code", "train", "train-2")}
    job = container.parse({"recipe": "quick"}, {}, channels, {}, Path("/opt/ml"))
    assert [path.name for path in job.data] == ["train", "train-2"]


@pytest.mark.parametrize(("wish", "data", "said"), [
    (Wish(to="", role=ROLE), ["s3://bucket/a"], "--to s3://BUCKET/PREFIX"),
    (Wish(to="s3://bucket/site", role=""), ["s3://bucket/a"], "--role"),
    (Wish(to="s3://bucket/site", role=ROLE), ["bins"], "binventory cloud upload --data bins"),
    (Wish(to="s3://bucket/site", role=ROLE, tags=("team",)), ["s3://bucket/a"], "KEY=VALUE"),
    (Wish(to="s3://bucket/site", role=ROLE, region="x"), ["s3://bucket/a"], ""),
])  # fmt: skip
def test_what_is_missing_is_told_with_the_option_that_gives_it(
    wish: Wish, data: list[str], said: str, tmp_path: Path
) -> None:
    if not said:
        launching.plan(AWS, wish, recipes.load("quick"), data, None, None, tmp_path)
        return
    with pytest.raises((UsageError, InputError), match=said):
        launching.plan(AWS, wish, recipes.load("quick"), data, None, None, tmp_path)


@pytest.mark.parametrize(("ranges", "choices", "expected"), [
    (["full.lr=1e-4:1e-3:log"], [], Range("full.lr", (), 1e-4, 1e-3, False, "Logarithmic")),
    (["full.batch=8:64"], [], Range("full.batch", (), 8, 64, True, "Linear")),
    ([], ["full.size=160, 192"], Range("full.size", ("160", "192"))),
])  # fmt: skip
def test_ranges_are_read_as_they_are_typed(ranges: list[str], choices: list[str], expected: Range) -> None:
    made = launching.tuned(plan(), recipes.load("full"), 4, 2, "bayesian", ranges, choices)
    assert made.ranges == (expected,)


@pytest.mark.parametrize(("kind", "strategy", "ranges", "choices"), [
    ("full", "guess", [], []), ("full", "bayesian", ["full.lr=1e-3:1e-4"], []), ("full", "bayesian", ["full.lr"], []),
    ("full", "bayesian", ["full.lr=0:1:log"], []), ("full", "bayesian", [], ["full.batch=16"]),
    ("full", "bayesian", [], ["full.size=16,32"]), ("full", "bayesian", ["full.speed=1:2"], []),
    ("quick", "hyperband", [], []),
])  # fmt: skip
def test_ranges_and_strategies_that_are_none_are_refused(
    kind: str, strategy: str, ranges: list[str], choices: list[str]
) -> None:
    with pytest.raises(UsageError):
        launching.tuned(plan(), recipes.load(kind), 4, 2, strategy, ranges, choices)


def test_more_at_once_than_there_are_trials_is_refused() -> None:
    with pytest.raises(UsageError, match="--jobs 2"):
        jobs.tuning_request(TuningPlan(plan(), 2, 3))


def test_what_it_will_cost_is_told_with_what_the_figure_leans_on() -> None:
    recipe = recipes.load("full", ["full.minutes=60"])
    said = launching.estimate(Machines("ml.g5.xlarge", 2, seconds=7200), "eu-central-1", recipe)
    assert "2 x ml.g5.xlarge cost $3.38 an hour" in said
    assert "eu-central-1 at 1.2 times us-east-1" in said
    assert "60 minutes of training and about 8 around them: $3.83" in said
    assert "at most $6.76" in said
    assert "no estimate" in launching.estimate(Machines("ml.p6-b200.48xlarge"), "eu-central-1", recipe)
    assert "us-east-1 is meant" in str(prices.bill("training", "ml.m5.large", 1, "xx-moon-1", 60))


TRIALS: list[dict[str, Any]] = [
    {"TrainingJobName": f"t-00{number}", "TrainingJobStatus": "Completed", "TrainingStartTime": NOW,
     "TrainingEndTime": NOW + timedelta(seconds=600)}
    for number in range(3)
] + [{"TrainingJobName": "t-003", "TrainingJobStatus": "InProgress", "TrainingStartTime": NOW}]  # fmt: skip


def tuning(spot: bool) -> following.State:
    definition = {"ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1},
                  "EnableManagedSpotTraining": spot}  # fmt: skip
    return following.tuning({
        "HyperParameterTuningJobName": "t", "HyperParameterTuningJobStatus": "InProgress",
        "ConsumedResources": {"RuntimeInSeconds": 700}, "TrainingJobDefinition": definition,
    }, TRIALS)  # fmt: skip


def test_trials_that_ran_at_once_are_each_paid_for() -> None:
    state = tuning(spot=False)
    assert state.seconds == state.billed == 3 * 600
    assert (tuning(spot=True).seconds, tuning(spot=True).billed) == (3 * 600, None)


def test_trials_on_spot_instances_are_asked_what_each_was_billed(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as wire:
        for name, value in {"ENDPOINT_URL": wire.endpoint, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b",
                            "REGION": "eu-central-1"}.items():  # fmt: skip
            monkeypatch.setenv(f"AWS_{name}", value)
        definition = {"ResourceConfig": DONE["ResourceConfig"], "EnableManagedSpotTraining": True}
        wire.on("SageMaker.DescribeHyperParameterTuningJob", lambda _: {
            "HyperParameterTuningJobName": "t", "HyperParameterTuningJobStatus": "Completed",
            "TrainingJobDefinition": definition, "ConsumedResources": {"RuntimeInSeconds": 700},
        })  # fmt: skip
        wire.on("SageMaker.ListTrainingJobsForHyperParameterTuningJob", lambda _: {"TrainingJobSummaries": TRIALS[:3]})

        def described(request: dict[str, Any]) -> dict[str, Any]:
            if request["TrainingJobName"] == "t":
                raise RefusalError("ValidationException", "Requested resource not found.")
            return DONE | request

        wire.on("SageMaker.DescribeTrainingJob", described)
        state = following.look(session.opened(), "t")
    assert (state.seconds, state.billed, state.saved) == (3 * 500, 3 * 100, 0.8)
    assert [one.billed for one in state.trials] == [100] * 3


DONE = {
    "TrainingJobName": "j", "TrainingJobStatus": "Completed", "TrainingTimeInSeconds": 500,
    "BillableTimeInSeconds": 100, "EnableManagedSpotTraining": True,
    "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2},
    "ModelArtifacts": {"S3ModelArtifacts": "s3://b/j/output/model.tar.gz"},
}  # fmt: skip


def test_what_spot_saved_is_told_as_sagemaker_counts_it() -> None:
    state = following.training(DONE)
    assert state.saved == 0.8
    assert prices.bill("training", state.instance, state.count, "us-east-1", 100).dollars == pytest.approx(
        0.0782, abs=1e-4
    )


@pytest.mark.parametrize(("reason", "last", "why", "step"), [
    ("AlgorithmError: Recipe full cannot run. Timm is not installed. Try: pip install 'binventory[train]'.\n\nlog"
     ", exit code: 1", "Failed", "Recipe full cannot run. Timm is not installed", "pip install"),
    ("AlgorithmError: ExecuteUserScriptError:\nExitCode 1, exit code: 1", "Failed", "ExecuteUserScriptError",
     "binventory cloud attach j"),
    ("CapacityError: Unable to provision requested ML compute capacity.", "Failed", "Unable to provision",
     "another --instance"),
    ("ClientError: Data download failed: AccessDenied", "Failed", "AccessDenied", "docs/aws.md"),
    ("", "Failed", "gives no reason", "attach"),
    ("", "MaxRuntimeExceeded", "longest time", "--max-hours"),
    ("", "MaxWaitTimeExceeded", "no spot instance", "--spot"),
    ("", "Stopped", "somebody stopped it", "start it again"),
])  # fmt: skip
def test_why_a_job_ended_is_one_sentence_with_the_next_step(reason: str, last: str, why: str, step: str) -> None:
    status = "Failed" if last == "Failed" else "Stopped"
    steps = [{"Status": last, "StartTime": NOW, "StatusMessage": ""}]
    told = DONE | {"TrainingJobStatus": status, "FailureReason": reason, "SecondaryStatusTransitions": steps}
    error = following.failure(following.training(told))
    assert error.what == f"Job j {'failed' if status == 'Failed' else 'was stopped'}"
    assert why in error.why
    assert step in error.next
    assert "\n" not in str(error)
    assert isinstance(error, OutsideError | InputError)
