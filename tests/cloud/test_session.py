"""What AWS refuses becomes one clear sentence with the next step: over the wire, by boto3 itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binventory.cloud import refusals, session
from binventory.errors import BinventoryError, InputError, MissingError, OutsideError, UsageError
from wire.server import RefusalError, Wire, serving

pytestmark = pytest.mark.timeout(120)
ROLE = "arn:aws:iam::123456789012:role/counting"
USER = "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: "


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with serving() as running:
        running.on("SageMaker.DescribeTrainingJob", lambda request: {"TrainingJobName": request["TrainingJobName"]})
        yield running


@pytest.fixture
def aws(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A session whose services are the wire server's."""
    for name, value in {"AWS_ENDPOINT_URL": wire.endpoint, "AWS_ACCESS_KEY_ID": "tester",
                        "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1",
                        "AWS_EC2_METADATA_DISABLED": "true"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return session.opened()


def describe(aws: session.Session) -> dict[str, Any]:
    return session.ask(aws.client("sagemaker"), "describe_training_job", "Job j cannot be seen", TrainingJobName="j")


def refused(aws: session.Session, wire: Wire, refusal: RefusalError | bytes, times: int = 1) -> BinventoryError:
    wire.fail("DescribeTrainingJob", *[refusal] * times)
    with pytest.raises(BinventoryError) as caught:
        describe(aws)
    assert caught.value.what == "Job j cannot be seen"
    assert "\n" not in str(caught.value)
    return caught.value


REFUSALS = [
    ("ExpiredTokenException", "The security token included in the request is expired", 403,
     InputError, "credentials have expired", "aws sso login"),
    ("UnrecognizedClientException", "The security token included in the request is invalid.", 403,
     InputError, "does not accept the credentials", "AWS_ACCESS_KEY_ID"),
    ("InvalidSignatureException", "Signature expired: 20261122T000000Z is now earlier than …", 403,
     InputError, "does not accept the credentials", "clock"),
    ("AccessDeniedException", USER + "sagemaker:CreateTrainingJob on resource: arn:aws:sagemaker:eu-central-1:1:x "
     "because no identity-based policy allows the sagemaker:CreateTrainingJob action", 400,
     InputError, "the permission sagemaker:CreateTrainingJob is missing", "docs/aws.md"),
    ("AccessDeniedException", USER + f"iam:PassRole on resource: {ROLE} because no identity-based policy allows the "
     "iam:PassRole action", 400,
     InputError, f"the permission iam:PassRole is missing on {ROLE}", "docs/aws.md"),
    ("AccessDeniedException", USER + "sagemaker:AddTags on resource: arn:x with an explicit deny in a service control "
     "policy", 400, InputError, "a policy denies sagemaker:AddTags", "ask whoever wrote that policy"),
    ("AccessDeniedException", "Access denied", 400,
     InputError, "the permission sagemaker:DescribeTrainingJob is missing", "docs/aws.md"),
    ("ResourceLimitExceeded", "The account-level service limit 'ml.g5.xlarge for training job usage' is 0 Instances, "
     "with current utilization of 0 Instances and a request delta of 1 Instances. Please use AWS Service Quotas to "
     "request an increase for this quota.", 400,
     OutsideError, "quota 'ml.g5.xlarge for training job usage' is 0", "Service Quotas"),
    ("ResourceInUse", "Training job names must be unique within an AWS account and region", 400,
     refusals.TakenError, "must be unique", "another --name"),
    ("ValidationException", "Requested resource not found.", 400, MissingError, "not found", "check name"),
    ("ValidationException", f"Could not assume role {ROLE}. Please ensure that the role exists", 400,
     InputError, "may not take the role", "let sagemaker.amazonaws.com assume it"),
    ("ValidationException", "No S3 objects found under S3 URL \"s3://b/x\" given in input data source.", 400,
     MissingError, "No S3 objects found", "check the s3:// address"),
    ("ValidationException", "1 validation error detected: Value 'x' at 'instanceType' failed", 400,
     InputError, "refuses a value", "correct that value"),
    ("ResourceNotFound", "There is none", 400, MissingError, "There is none", "check name"),
    ("TeapotException", "Short and stout", 418, InputError, "TeapotException: Short and stout", "docs/aws.md"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "message", "status", "kind", "why", "step"), REFUSALS)
def test_a_refusal_is_one_sentence_with_the_next_step(
    aws: session.Session, wire: Wire, code: str, message: str, status: int,
    kind: type[BinventoryError], why: str, step: str,
) -> None:  # fmt: skip
    error = refused(aws, wire, RefusalError(code, message, status))
    assert type(error) is kind
    assert why in error.why
    assert step in error.next


def test_throttling_is_waited_out(aws: session.Session, wire: Wire) -> None:
    before = len(wire.asked)
    wire.fail("DescribeTrainingJob", *[RefusalError("ThrottlingException", "Rate exceeded")] * 2)
    assert describe(aws)["TrainingJobName"] == "j"
    assert len(wire.asked) == before + 3


def test_throttling_that_does_not_end_is_told(
    aws: session.Session, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ATTEMPTS", 2)
    error = refused(aws, wire, RefusalError("ThrottlingException", "Rate exceeded"), times=2)
    assert isinstance(error, OutsideError)
    assert (
        error.why
        == "AWS throttles sagemaker:DescribeTrainingJob, and still did after a minute of waiting (Rate exceeded)"
    )


def test_a_service_that_fails_by_itself_is_told_so(
    aws: session.Session, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ATTEMPTS", 2)
    error = refused(aws, wire, RefusalError("InternalFailure", "oh", 500), times=2)
    assert isinstance(error, OutsideError)
    assert "failed by itself" in error.why


def test_an_answer_that_breaks_off_is_told(aws: session.Session, wire: Wire) -> None:
    """boto3 by itself would take it for a job without a status."""
    error = refused(aws, wire, b'{"TrainingJobName": "j')
    assert isinstance(error, OutsideError)
    assert error.why.startswith("AWS's answer broke off (22 read, but total bytes expected is 44")


def test_a_bucket_that_is_not_there_is_named() -> None:
    from botocore.exceptions import ClientError

    answer: Any = {
        "Error": {"Code": "NoSuchBucket", "Message": "The specified bucket does not exist", "BucketName": "b"}
    }
    error = refusals.sentence(ClientError(answer, "PutObject"), "Data cannot be sent", "s3")
    assert type(error) is MissingError
    assert str(error) == ("Data cannot be sent. The bucket b does not exist. "
                          "Try: aws s3 mb s3://b, or another --to.")  # fmt: skip


def test_a_service_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch, aws: session.Session) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(session, "ATTEMPTS", 1)
    with pytest.raises(OutsideError, match="cannot be reached"):
        describe(session.opened())


def test_without_credentials_the_sentence_says_how_to_get_some(
    monkeypatch: pytest.MonkeyPatch, aws: session.Session, tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"no AWS credentials were found.*aws sso login|No AWS credentials"):
        describe(session.opened())


def test_without_a_region_the_sentence_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, aws: session.Session, tmp_path: Any
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="AWS_REGION"):
        session.opened()


def test_a_profile_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, aws: session.Session) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(InputError, match="nobody"):
        session.opened()


def test_credentials_of_a_profile_reach_the_client_for_s3(
    monkeypatch: pytest.MonkeyPatch, aws: session.Session, tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "")
    (tmp_path / "credentials").write_text("[site]\naws_access_key_id=theirs\naws_secret_access_key=hush\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "site")
    session.opened()
    assert os.environ["AWS_ACCESS_KEY_ID"] == "theirs"


RENEWED = """
import datetime, json, pathlib, sys
calls = pathlib.Path(sys.argv[1])
calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
print(json.dumps({"Version": 1, "AccessKeyId": f"key{len(calls.read_text())}", "SecretAccessKey": "hush",
                  "SessionToken": "token", "Expiration": soon.isoformat()}))
"""


def test_credentials_that_end_are_lent_anew(
    monkeypatch: pytest.MonkeyPatch, aws: session.Session, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "")
    (tmp_path / "renewed.py").write_text(RENEWED)
    process = f"{sys.executable} {tmp_path / 'renewed.py'} {tmp_path / 'calls'}"
    (tmp_path / "config").write_text(f"[profile site]\ncredential_process={process}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "site")
    opened = session.opened()
    first = os.environ["AWS_ACCESS_KEY_ID"]
    opened.lend()
    assert first.startswith("key") and os.environ["AWS_ACCESS_KEY_ID"] > first
    signer: Any = opened.signer()  # renews itself, whatever was lent
    assert signer()["access_key_id"] > os.environ["AWS_ACCESS_KEY_ID"]
    (tmp_path / "renewed.py").write_text("raise SystemExit('the login is over')")
    with pytest.raises(InputError, match="the login is over"):
        opened.lend()


def test_what_the_user_has_put_into_the_environment_stays(
    monkeypatch: pytest.MonkeyPatch, aws: session.Session
) -> None:
    aws.lend()
    assert aws.signer() is None
    assert (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]) == ("tester", "secret")
    assert session.opened().region == os.environ["AWS_REGION"] == "eu-central-1"
    session.opened("us-west-2")  # what was typed goes before what is exported, for s3:// as for SageMaker
    assert os.environ["AWS_REGION"] == "us-west-2"


def test_the_account_is_told_by_sts(aws: session.Session) -> None:
    assert aws.account().role("counting") == ROLE


@given(code=st.text(max_size=30), message=st.text(max_size=400), status=st.integers(200, 599))
def test_whatever_a_service_says_becomes_one_line(code: str, message: str, status: int) -> None:
    from botocore.exceptions import ClientError

    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    told = refusals.sentence(ClientError(answer, "CreateTrainingJob"), "It failed", "sagemaker")
    assert str(told).startswith("It failed. ")
    assert len(str(told)) < 800
    assert "\n" not in str(told)
    assert told.exit_status in (3, 4)
