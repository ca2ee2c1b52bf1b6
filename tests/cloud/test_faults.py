"""What goes wrong with endpoints: each a clear sentence, and nothing left that costs money."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from clouds import IMAGE, ROLE, Cloud
from wire.server import RefusalError

pytestmark = pytest.mark.timeout(300)
BROKEN = IMAGE.replace("binventory", "broken")
DENIED = "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: {} on resource: arn:x"


def deploy(cloud: Cloud, *more: object, name: str = "new", image: str = IMAGE) -> tuple[object, ...]:
    return ("cloud", "deploy", "--bundle", "open", "--name", name, "--role", ROLE, "--image", image, "--to",
            cloud.store, "--instance", "ml.m5.large", "--stop-after", "8h", "--no-register", *more)  # fmt: skip


@pytest.fixture
def up(cloud: Cloud) -> Cloud:
    """An endpoint of the bundle that ships, up when a test begins."""
    done = cloud.run(*deploy(cloud, name="bins"))
    assert done.returncode == 0, done.stderr
    return cloud


def nothing_new_costs(cloud: Cloud) -> bool:
    for thread in cloud.books.threads:
        thread.join(20)
    books = cloud.books
    found = [*books.endpoints, *books.configs, *books.models, *books.targets, *books.schedules]
    return not [name for name in found if "new" in name]


def test_a_stop_time_or_keep_must_be_said(cloud: Cloud) -> None:
    done = cloud.run(*(word for word in deploy(cloud) if word not in ("--stop-after", "8h")))
    assert done.returncode == 2
    assert done.stderr == (
        "error: deploy needs to know when the endpoint ends. A forgotten one costs until someone sees the bill. "
        "Try: --stop-after 8h, or --keep.\n"
    )


def test_an_endpoint_that_does_not_start_is_told_with_its_log_and_leaves_nothing(cloud: Cloud) -> None:
    cloud.books.broken.add(BROKEN)
    done = cloud.run(*deploy(cloud, "--scheduler-role", ROLE, image=BROKEN))
    assert done.returncode == 4
    assert "did not pass the ping health check; nothing is left of it" in done.stderr
    assert "/aws/sagemaker/Endpoints/new" in done.stderr
    assert nothing_new_costs(cloud)


@pytest.mark.parametrize(("operation", "action"), [
    ("CreateModel", "sagemaker:CreateModel"), ("CreateEndpointConfig", "sagemaker:AddTags"),
    ("/schedules/binventory-new", "scheduler:CreateSchedule"), ("CreateEndpoint", "sagemaker:CreateEndpoint"),
])  # fmt: skip
def test_a_missing_permission_is_named_and_nothing_is_left(cloud: Cloud, operation: str, action: str) -> None:
    cloud.wire.fail(operation, RefusalError("AccessDeniedException", DENIED.format(action), 403))
    done = cloud.run(*deploy(cloud, "--scheduler-role", ROLE))
    assert done.returncode == 3
    assert f"The permission {action} is missing" in done.stderr
    assert nothing_new_costs(cloud)


def test_an_endpoint_that_cannot_be_scaled_is_taken_down(cloud: Cloud) -> None:
    action = "application-autoscaling:RegisterScalableTarget"
    cloud.wire.fail("RegisterScalableTarget", RefusalError("AccessDeniedException", DENIED.format(action), 400))
    done = cloud.run(*deploy(cloud, "--max", "4"))
    assert done.returncode == 3
    assert action in done.stderr
    assert nothing_new_costs(cloud)


def test_a_quota_is_told_by_its_name(cloud: Cloud) -> None:
    limit = "The account-level service limit 'ml.m5.large for endpoint usage' is 0 Instances, with current utilization"
    cloud.wire.fail("CreateEndpoint", RefusalError("ResourceLimitExceeded", limit))
    done = cloud.run(*deploy(cloud))
    assert done.returncode == 4
    assert "quota 'ml.m5.large for endpoint usage' is 0" in done.stderr
    assert nothing_new_costs(cloud)


def test_credentials_that_expired_are_told(cloud: Cloud) -> None:
    cloud.wire.fail("DescribeEndpoint", RefusalError("ExpiredTokenException", "The security token has expired", 403))
    done = cloud.run(*deploy(cloud))
    assert done.returncode == 3
    assert "credentials have expired" in done.stderr
    assert "aws sso login" in done.stderr


def test_throttling_is_waited_out(cloud: Cloud) -> None:
    throttled = RefusalError("ThrottlingException", "Rate exceeded")
    cloud.wire.fail("ListEndpoints", throttled, throttled)
    assert cloud.run("cloud", "alive").returncode in (0, 1)


def test_a_truncated_answer_is_told(up: Cloud, bins: Path) -> None:
    photo = next((bins / "bin-images").iterdir())
    up.wire.fail("/endpoints/bins/invocations", *[b'{"photo": "x", "cou'] * 20)
    done = up.run("count", "--endpoint", "bins", photo)
    while up.wire.planned("/endpoints/bins/invocations"):
        pass
    assert done.returncode == 4
    assert "broke off" in done.stdout


def test_a_worker_that_dies_is_told_and_the_other_photos_go_on(up: Cloud, bins: Path, tmp_path: Path) -> None:
    photos = sorted((bins / "bin-images").iterdir())[:3]
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    rows = up.rows("count", "--endpoint", "bins", photos[0], bad, photos[1], status=3)
    assert ["error" in row for row in rows] == [False, True, False]
    assert rows[1]["photo"] == str(bad)

    container = up.books.endpoints["bins"].container
    assert container is not None
    os.kill(container.process.pid, signal.SIGKILL)
    rows = up.rows("count", "--endpoint", "bins", photos[0], status=4)
    assert "failed" in rows[0]["error"]["what"]
    assert "/aws/sagemaker/Endpoints/bins" in rows[0]["error"]["next"]


def test_an_endpoint_that_is_not_there_is_told(cloud: Cloud, bins: Path) -> None:
    photo = next((bins / "bin-images").iterdir())
    for words in (("count", photo), ("evaluate", "--data", bins), ("cloud", "query", photo)):
        done = cloud.run(*words, "--endpoint", "gone")
        assert done.returncode == 3, done.stderr
        assert "The endpoint gone does not exist" in done.stderr


def test_the_same_again_changes_nothing_and_another_wish_updates(up: Cloud) -> None:
    (same,) = up.rows(*deploy(up, "--max", "3", name="bins"))
    assert same["outcome"] == "same"
    assert [one["MaxCapacity"] for one in up.books.targets.values()] == [3]
    larger = [word if word != "ml.m5.large" else "ml.m5.xlarge" for word in deploy(up, "--max", "4", name="bins")]
    (updated,) = up.rows(*larger)
    assert updated["outcome"] == "updated"
    assert updated["config"] != same["config"]
    assert list(up.books.configs) == list(up.books.models) == [updated["config"]]
    up.books.broken.add(BROKEN)
    done = up.run(*deploy(up, name="bins", image=BROKEN))
    assert done.returncode == 4
    assert "what ran before still runs" in done.stderr
    assert list(up.books.configs) == [updated["config"]]
    assert [one["MaxCapacity"] for one in up.books.targets.values()] == [4]
    assert len(up.books.policies) == 1


def lost() -> None:
    raise RefusalError("InternalFailure", "the answer is lost", 500)


def test_an_endpoint_whose_creation_was_answered_by_nobody_is_waited_for_and_keeps_its_schedule(cloud: Cloud) -> None:
    cloud.wire.then("CreateEndpoint", lost)  # boto3 asks again, and is told that it exists already
    (up,) = cloud.rows(*deploy(cloud, "--scheduler-role", ROLE))
    assert up["outcome"] == "made"
    assert "binventory-new" in cloud.books.schedules
    assert cloud.run("cloud", "undeploy", "new").returncode == 0


def test_an_update_that_was_answered_by_nobody_is_waited_for(up: Cloud) -> None:
    up.wire.then("UpdateEndpoint", lost)
    (done,) = up.rows(*deploy(up, name="bins", image=IMAGE + "1"))
    assert done["outcome"] == "updated"
    assert up.books.endpoints["bins"].config == done["config"]


def test_a_failed_look_at_an_update_removes_nothing_that_may_be_in_use(up: Cloud) -> None:
    expired = RefusalError("ExpiredTokenException", "The security token has expired", 403)
    up.wire.then("UpdateEndpoint", lambda: up.wire.fail("DescribeEndpoint", expired))
    done = up.run(*deploy(up, name="bins", image=IMAGE + "2"))
    assert done.returncode == 3
    assert "How the endpoint bins comes along is not known" in done.stderr
    assert "binventory cloud alive" in done.stderr
    for thread in up.books.threads:
        thread.join(20)
    assert up.books.endpoints["bins"].config in up.books.configs
    (again,) = up.rows(*deploy(up, name="bins", image=IMAGE + "2"))
    assert again["outcome"] == "same"


def test_an_endpoint_that_cannot_be_removed_keeps_its_schedule_and_is_told(cloud: Cloud) -> None:
    cloud.wire.fail("RegisterScalableTarget", RefusalError("AccessDeniedException", DENIED.format("x:Y"), 400))
    cloud.wire.fail("DeleteEndpoint", RefusalError("AccessDeniedException", DENIED.format("sagemaker:Delete"), 400))
    done = cloud.run(*deploy(cloud, "--max", "4", "--scheduler-role", ROLE))
    assert done.returncode == 3
    assert "and something is left: The endpoint new cannot be deleted" in done.stderr
    assert "binventory cloud undeploy new" in done.stderr
    assert "binventory-new" in cloud.books.schedules
    assert cloud.run("cloud", "undeploy", "new").returncode == 0
    assert nothing_new_costs(cloud)


def test_a_schedule_that_outlived_its_endpoint_does_not_end_the_next_one(cloud: Cloud) -> None:
    cloud.books.schedules["binventory-new"] = {"Name": "binventory-new"}
    kept = [word for word in deploy(cloud) if word not in ("--stop-after", "8h")]
    assert cloud.run(*kept, "--keep").returncode == 0
    assert "binventory-new" not in cloud.books.schedules
    assert cloud.run("cloud", "undeploy", "new").returncode == 0


def test_an_update_keeps_the_machines_that_calls_have_started(up: Cloud) -> None:
    assert up.run(*deploy(up, "--max", "4", name="bins")).returncode == 0
    up.books.endpoints["bins"].machines = 3
    assert up.run(*deploy(up, "--max", "4", name="bins", image=IMAGE + "3")).returncode == 0
    assert up.books.endpoints["bins"].machines == 3
    assert [one["MaxCapacity"] for one in up.books.targets.values()] == [4]
    assert up.run(*deploy(up, name="bins", image=IMAGE + "4")).returncode == 0
    assert up.books.endpoints["bins"].machines is None


def test_what_costs_is_told_where_little_is_known_of_it(up: Cloud) -> None:
    one = up.books.endpoints["bins"]
    config = up.books.configs.pop(one.config)
    (row,) = [row for row in up.rows("cloud", "alive", status=1) if row["kind"] == "endpoint"]
    assert (row["size"], row["hour"]) == ("1 x ?", None)
    shadow = {"VariantName": "shadow", "InitialInstanceCount": 2, "InstanceType": "ml.m5.large"}
    up.books.configs[one.config] = {**config, "ShadowProductionVariants": [shadow]}
    (row,) = [row for row in up.rows("cloud", "alive", status=1) if row["kind"] == "endpoint"]
    assert row["size"] == "1 x ml.m5.large, 2 x ml.m5.large"
    up.books.configs[one.config] = {**config, "ProductionVariants": [{"VariantName": "AllTraffic", "InstancePools": [],
                                                                     "InitialInstanceCount": 1}]}  # fmt: skip
    up.books.others["ListMlflowTrackingServers"].append({
        "TrackingServerName": "mlflow", "IsActive": "Active", "MlflowVersion": "3.0", "CreationTime": 1.7e9,
    })  # fmt: skip
    found = {row["kind"]: row for row in up.rows("cloud", "alive", status=1)}
    up.books.others["ListMlflowTrackingServers"].clear()
    up.books.configs[one.config] = config
    assert (found["endpoint"]["size"], found["endpoint"]["hour"]) == ("1 x ?", None)
    assert (found["MLflow server"]["name"], found["MLflow server"]["month"]) == ("mlflow", None)


def test_a_batch_that_is_stopping_still_costs(cloud: Cloud) -> None:
    cloud.books.transforms["left"] = {
        "TransformJobName": "left", "TransformJobStatus": "Stopping", "CreationTime": 1.7e9,
        "TransformJobArn": "arn:aws:sagemaker:eu-central-1:123456789012:transform-job/left",
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 2},
    }  # fmt: skip
    rows = cloud.rows("cloud", "alive", status=1)
    del cloud.books.transforms["left"]
    assert [(row["name"], row["size"]) for row in rows if row["kind"] == "batch transform"] == [
        ("left", "2 x ml.m5.large")
    ]


def test_what_others_have_made_is_shown_and_not_touched(up: Cloud) -> None:
    (place,) = [key for key in up.books.tags if key.endswith(":endpoint/bins")]
    kept = dict(up.books.tags[place])
    up.books.tags[place] = {"team": "someone else"}
    (cost,) = [row for row in up.rows("cloud", "alive", status=1) if row["kind"] == "endpoint"]
    assert not cost["ours"]
    for words in (("cloud", "undeploy", "bins"), deploy(up, name="bins")):
        done = up.run(*words)
        assert done.returncode == 3
        assert "is not binventory's" in done.stderr
    assert up.rows("cloud", "undeploy", "--all") == []
    up.books.tags[place] = kept


def test_a_serverless_endpoint_takes_four_megabytes_and_costs_nothing_while_idle(cloud: Cloud, bins: Path) -> None:
    words = [word for word in deploy(cloud) if word not in ("--instance", "ml.m5.large")]
    done = cloud.run(*words, "--serverless", "--memory", "3072")
    assert done.returncode == 0, done.stderr
    photos = sorted((bins / "bin-images").iterdir())[:2]
    assert len(cloud.rows("count", "--endpoint", "new", *photos)) == 2
    costs = [json.loads(line) for line in cloud.run("cloud", "alive", "--json").stdout.splitlines()]
    assert [cost["month"] for cost in costs if cost["name"] == "new"] == [0.0]
    assert cloud.run("cloud", "undeploy", "new").returncode == 0


def test_what_may_not_be_looked_at_is_told_and_the_rest_goes_on(cloud: Cloud) -> None:
    cloud.books.others["ListNotebookInstances"].append({
        "NotebookInstanceName": "left-on",
        "NotebookInstanceArn": "arn:aws:sagemaker:eu-central-1:123456789012:notebook-instance/x",
        "NotebookInstanceStatus": "InService", "InstanceType": "ml.t3.medium", "CreationTime": 1.7e9,
    })  # fmt: skip
    cloud.wire.fail("ListApps", RefusalError("AccessDeniedException", DENIED.format("sagemaker:ListApps"), 400))
    done = cloud.run("cloud", "alive", "--json")
    cloud.books.others["ListNotebookInstances"].clear()
    assert done.returncode == 3
    assert "The permission sagemaker:ListApps is missing" in done.stderr
    assert '"left-on"' in done.stdout


def test_an_endpoint_that_refuses_to_go_while_it_comes_up_goes_when_it_is_up(up: Cloud) -> None:
    up.books.endpoints["bins"].status = "Updating"
    busy = RefusalError("ValidationException", 'Cannot update in-progress endpoint "arn:x".')
    up.wire.fail("DeleteEndpoint", busy, busy)
    (gone,) = up.rows("cloud", "undeploy", "bins")
    assert gone["removed"][0] == "endpoint bins"


def test_an_overdue_endpoint_is_named_and_ended(up: Cloud) -> None:
    (place,) = [key for key in up.books.tags if key.endswith(":endpoint/bins")]
    up.books.tags[place]["binventory:stop-at"] = "2020-01-01T00:00:00Z"
    done = up.run("cloud", "alive")
    assert done.returncode == 1
    assert "overdue: bins should have ended at 2020-01-01 00:00 UTC" in done.stderr
    (gone,) = up.rows("cloud", "undeploy", "--overdue")
    assert gone["endpoint"] == "bins"
    assert up.run("cloud", "alive").returncode == 0
