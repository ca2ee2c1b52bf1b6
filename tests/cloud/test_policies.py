"""The policies in docs/aws.md can be pasted: they are JSON, every action exists, and none that is needed lacks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from binventory.cloud import contract

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "aws.md").read_text()
# Actions that are no operation of the service's API: permissions alone, or operations by another name.
NO_OPERATIONS = {
    "iam:PassRole", "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "sts:AssumeRole",
    "sagemaker:InvokeEndpoint", "sagemaker:AddTags", "cloudwatch:PutMetricData", "iam:CreateServiceLinkedRole",
    "ecr:BatchGetImage",
}  # fmt: skip


def policies() -> list[dict[str, Any]]:
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def actions() -> set[str]:
    found: set[str] = set()
    for policy in policies():
        for statement in policy["Statement"]:
            named = statement["Action"]
            found |= {named} if isinstance(named, str) else set(named)
    return found


def test_every_policy_is_one() -> None:
    assert len(policies()) >= 6
    for policy in policies():
        assert policy["Version"] == "2012-10-17"
        for statement in policy["Statement"]:
            assert statement["Effect"] == "Allow"
            assert ("Resource" in statement) != ("Principal" in statement)


@pytest.mark.parametrize("action", sorted(actions()))
def test_every_action_is_an_operation_of_its_service(action: str) -> None:
    service, _, operation = action.partition(":")
    if action in NO_OPERATIONS:
        return
    assert operation in contract.model(service).operation_names


def test_no_operation_lacks_its_permission() -> None:
    rooms = (
        "alive",
        "batch",
        "deploying",
        "endpoint",
        "following",
        "jobs",
        "launching",
        "registry",
        "runtime",
        "scaling",
        "settling",
    )
    text = "".join((ROOT / "src" / "binventory" / "cloud" / f"{room}.py").read_text() for room in rooms)
    asked = set(re.findall(r'(?:ask|pages)\(\s*\w+, "([a-z_]+)"', text))
    asked |= {"create_training_job", "create_hyper_parameter_tuning_job"}
    named = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", action.partition(":")[2]).lower() for action in actions()}
    assert "describe_training_job" in asked
    assert asked - {"head_bucket", "get_caller_identity"} <= named
