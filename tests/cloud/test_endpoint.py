"""What is asked for an endpoint, without asking anyone: names by content, requests that AWS's own models take."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binventory.cloud import contract
from binventory.cloud import endpoint as endpoints
from binventory.cloud.batch import PAYLOAD_MB
from binventory.cloud.endpoint import Hardware, Instances, Network, Package, Packed, Serverless, Wanted
from binventory.errors import UsageError
from clouds import IMAGE, ROLE

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
WANTED = Wanted("bins", ROLE, Packed(IMAGE, "s3://b/m.tar.gz", {"A": "b"}), Instances("ml.m5.large"), NOW)
SORTS = [
    WANTED,
    replace(WANTED, hardware=Instances("ml.c6i.large", 2, 8), kms="key", network=Network(("subnet-1",), ("sg-1",))),
    replace(WANTED, hardware=Serverless(3072, 20, 2), stop=None, tags=(("team", "stock room"),)),
    replace(WANTED, model=Package("arn:aws:sagemaker:eu-central-1:123456789012:model-package/bins/3")),
]


@pytest.mark.parametrize("wanted", SORTS)
def test_every_request_is_one_that_the_services_models_take(wanted: Wanted) -> None:
    """Enumerations, patterns and bounds too, which boto3 itself does not check."""
    requests = [
        ("sagemaker", "CreateModel", endpoints.model_request(wanted)),
        ("sagemaker", "CreateEndpointConfig", endpoints.config_request(wanted)),
        ("sagemaker", "CreateEndpoint", endpoints.endpoint_request(wanted)),
        ("sagemaker", "UpdateEndpoint", endpoints.update_request(wanted)),
        ("sagemaker", "UpdateEndpoint", endpoints.update_request(wanted, retain=True)),
        ("scheduler", "CreateSchedule", endpoints.schedule_request("bins", NOW, ROLE)),
    ]
    if isinstance(wanted.hardware, Instances):
        requests += [
            ("application-autoscaling", "RegisterScalableTarget", endpoints.target_request("bins", wanted.hardware)),
            ("application-autoscaling", "PutScalingPolicy", endpoints.policy_request("bins", wanted.hardware)),
        ]
    for service, operation, request in requests:
        assert not list(contract.problems(service, operation, request)), operation


def test_the_same_wish_bears_the_same_names_and_what_may_change_in_place_changes_none() -> None:
    later = replace(WANTED, stop=NOW + timedelta(hours=3), tags=(("a", "b"),))
    scaled = replace(WANTED, hardware=replace(Instances("ml.m5.large"), most=5, calls=60.0))
    assert WANTED.id == later.id == scaled.id
    others = [replace(WANTED, model=replace(Packed(IMAGE, "s3://b/other.tar.gz"))), replace(WANTED, role=ROLE + "2"),
              replace(WANTED, hardware=Instances("ml.m5.xlarge")), replace(WANTED, name="other")]  # fmt: skip
    assert len({WANTED.id, *(other.id for other in others)}) == 5


@given(st.floats(min_value=0.1, max_value=300))
def test_a_stop_time_survives_its_tag(hours: float) -> None:
    stop = endpoints.until(f"{hours:.3f}h", NOW)
    assert endpoints.stamped(endpoints.stamp(stop)) == stop
    assert abs((stop - NOW).total_seconds() - hours * 3600) < 3


@pytest.mark.parametrize("text", ["", "8", "8 hours", "-3h", "0h", "1m", "400d", "h", "nan h"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        endpoints.until(text, NOW)


def test_the_schedule_asks_for_the_deletion_once_and_goes() -> None:
    request = endpoints.schedule_request("bins", NOW, ROLE, "aws-cn")
    assert request["ScheduleExpression"] == "at(2026-11-22T10:00:00)"
    assert request["Target"]["Arn"] == "arn:aws-cn:scheduler:::aws-sdk:sagemaker:deleteEndpoint"
    assert request["Target"]["Input"] == '{"EndpointName": "bins"}'
    assert request["ActionAfterCompletion"] == "DELETE"


def test_no_key_is_asked_for_where_machines_bring_their_own_disks() -> None:
    keyed = replace(WANTED, kms="key")
    assert endpoints.config_request(keyed)["KmsKeyId"] == "key"
    assert "KmsKeyId" not in endpoints.config_request(replace(keyed, hardware=Instances("ml.g5.xlarge")))


def test_awss_own_image_takes_what_a_batch_sends() -> None:
    environment = endpoints.dlc_environment("eu-central-1")
    assert int(environment["TS_MAX_REQUEST_SIZE"]) == PAYLOAD_MB * 1024 * 1024


@pytest.mark.parametrize(("wanted", "type", "count", "kept"), [
    (Instances("ml.m5.large", 1, 4), "ml.m5.large", 3, True),
    (Instances("ml.m5.large", 1, 2), "ml.m5.large", 3, True),
    (Instances("ml.m5.large", 3, 4), "ml.m5.large", 2, False),
    (Instances("ml.m5.large", 1, 4), "ml.m5.xlarge", 3, False),
    (Instances("ml.m5.large", 1, 4), None, 3, False),
    (Instances("ml.m5.large", 2, 2), "ml.m5.large", 3, False),
    (Serverless(), "ml.m5.large", 3, False),
])  # fmt: skip
def test_an_update_keeps_a_number_of_machines_that_stays_meaningful(
    wanted: Hardware, type: str | None, count: int, kept: bool
) -> None:
    variant = {"VariantName": "AllTraffic"} | ({"InstanceType": type} if type else {})
    described = {"ProductionVariants": [{"VariantName": "AllTraffic", "CurrentInstanceCount": count}]}
    config = {"ProductionVariants": [variant]}
    assert endpoints.retains(replace(WANTED, hardware=wanted), described, config) is kept


@pytest.mark.parametrize(("wrong", "said"), [
    (replace(WANTED, name="my_bins"), "cannot be called"),
    (replace(WANTED, name="a" * 51), "50 at most"),
    (replace(WANTED, role="counting"), "is no role"),
    (replace(WANTED, hardware=Serverless(3000)), "3000 MB"),
    (replace(WANTED, hardware=Serverless(concurrency=201)), "1 to 200"),
    (replace(WANTED, hardware=Serverless(concurrency=2, provisioned=3)), "kept warm"),
    (replace(WANTED, hardware=Serverless(), network=Network(("subnet-1",), ("sg-1",))), "no network"),
    (replace(WANTED, hardware=Instances(least=3, most=2)), "no range"),
])  # fmt: skip
def test_what_sagemaker_would_refuse_late_is_refused_at_once(wrong: Wanted, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        endpoints.check(wrong)


@pytest.mark.parametrize(("status", "config", "working", "ready", "reason"), [
    ("Creating", "new", True, False, ""),
    ("RollingBack", "old", True, False, ""),
    ("InService", "new", False, True, ""),
    ("InService", "old", False, False, "went back to what ran before"),
    ("Failed", "new", False, False, "gives no reason"),
    ("UpdateRollbackFailed", "old", False, False, "gives no reason"),
])  # fmt: skip
def test_how_an_endpoint_stands(status: str, config: str, working: bool, ready: bool, reason: str) -> None:
    stands = endpoints.standing({"EndpointStatus": status, "EndpointConfigName": config}, "new")
    assert (stands.working, stands.ready) == (working, ready)
    assert reason in stands.reason
