"""What AWS says when it refuses, as one sentence each: pure, from botocore's exceptions to our errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from binventory.errors import BinventoryError, InputError, MissingError, OutsideError, UsageError

POLICIES = "docs/aws.md"
_LONGEST = 300

_THROTTLED = {
    "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottledException", "RequestThrottled",
    "TooManyRequestsException", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "SlowDown",
    "BandwidthLimitExceeded", "LimitExceededException", "PriorRequestNotComplete", "EC2ThrottledException",
}  # fmt: skip
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_UNKNOWN_KEY = {
    "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthFailure",
    "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken", "InvalidToken",
}  # fmt: skip
_FORBIDDEN = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthorizationError",
    "Forbidden",
    "403",
}
_MISSING = {"ResourceNotFound", "ResourceNotFoundException", "NotFound", "ObjectNotFoundException", "NoSuchKey",
            "NoSuchEntity", "404"}  # fmt: skip
_INVALID = {
    "ValidationException", "ValidationError", "InvalidParameterValue", "InvalidParameterException",
    "InvalidParameterCombination", "SerializationException", "InvalidRequest",
}  # fmt: skip
# The few operations whose permission has another name.
_ACTIONS = {
    "s3:HeadBucket": "s3:ListBucket", "s3:ListObjectsV2": "s3:ListBucket", "s3:HeadObject": "s3:GetObject",
}  # fmt: skip
_QUOTA = {"ResourceLimitExceeded", "ServiceQuotaExceededException"}
_TAKEN = {"ResourceInUse", "ResourceInUseException", "ConflictException"}


class TakenError(InputError):
    """There is something of that name already."""


def kinds() -> tuple[type[Exception], ...]:
    """The exceptions that ``sentence`` knows."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    return BotoCoreError, ClientError, Boto3Error, ResponseParserError, HTTPError


def sentence(error: Exception, what: str, service: str = "") -> BinventoryError:
    """An exception of botocore as our error. ``what`` begins it; ``service`` is the prefix of actions in policies."""
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        return _refused(error, what, service)
    return _not_answered(error, what)


def _refused(error: Any, what: str, service: str) -> BinventoryError:
    """What the service itself says: a code, a message, and of which operation."""
    said = error.response.get("Error", {})
    code, message = _one_line(str(said.get("Code", ""))), _one_line(str(said.get("Message", "")))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    action = _action(message) or (f"{service}:{error.operation_name}" if service else error.operation_name)
    for codes, told in _BY_CODE:
        if code in codes:
            return told(what, message, action)
    if code == "NoSuchBucket":
        return _no_bucket(what, str(said.get("BucketName", "")), message)
    if status >= 500:
        return OutsideError(what, f"AWS failed by itself ({code}: {message})", "run it again in some minutes")
    return InputError(what, f"AWS refused it ({code}: {message})", f"check the command against {POLICIES}")


def _throttled(what: str, message: str, action: str) -> BinventoryError:
    return OutsideError(what, f"AWS throttles {action}, and still did after a minute of waiting ({message})",
                        "wait some minutes and run it again; nothing is done twice")  # fmt: skip


def _expired(what: str, message: str, action: str) -> BinventoryError:  # noqa: ARG001
    return InputError(
        what, "the AWS credentials have expired", "aws sso login, or set fresh credentials, and run it again"
    )


def _unknown_key(what: str, message: str, action: str) -> BinventoryError:  # noqa: ARG001
    step = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and this machine's clock"
    return InputError(what, f"AWS does not accept the credentials ({message})", step)


def _forbidden(what: str, message: str, action: str) -> BinventoryError:
    action = _ACTIONS.get(action, action)
    resource = re.search(r"on resource: (\S+)", message)
    place = f" on {resource[1].rstrip('.')}" if resource else ""
    if "explicit deny" in message:
        why, step = (
            f"a policy denies {action}{place}",
            f"ask whoever wrote that policy ({POLICIES} says what is needed)",
        )
    else:
        why, step = f"the permission {action} is missing{place}", f"add it to your policy as in {POLICIES}"
    return InputError(what, why, step)


def _missing(what: str, message: str, action: str) -> BinventoryError:
    return MissingError(what, message or f"{action} finds nothing of that name", "check name and AWS_REGION")


def _invalid(what: str, message: str, action: str) -> BinventoryError:
    """ValidationException is what SageMaker says of nearly everything; the message tells what is meant."""
    lower = message.lower()
    if "could not assume role" in lower or "sts:assumerole" in lower:
        return InputError(what, f"SageMaker may not take the role ({message})",
                          f"let sagemaker.amazonaws.com assume it, as in {POLICIES}")  # fmt: skip
    if "no s3 objects found" in lower or "nosuchbucket" in lower or "bucket does not exist" in lower:
        return MissingError(what, message, "check the s3:// address, and that the bucket lies in the job's region")
    if re.search(r"not found|could not find|does not exist|cannot find", lower):
        return _missing(what, message, action)
    if "already exist" in lower:
        return _taken(what, message, action)
    if _action(message):
        return _forbidden(what, message, action)
    return InputError(what, f"AWS refuses a value ({message})", "correct that value")


def _quota(what: str, message: str, action: str) -> BinventoryError:  # noqa: ARG001
    named = re.search(r"service limit '([^']+)' is ([\d.,]+)", message)
    why = f"the account's quota '{named[1]}' is {named[2]}" if named else f"a quota is reached ({message})"
    quota = f"'{named[1]}'" if named else "a higher one"
    return OutsideError(
        what, why, f"ask for {quota} under Service Quotas, Amazon SageMaker, or take another --instance"
    )


def _taken(what: str, message: str, action: str) -> BinventoryError:  # noqa: ARG001
    return TakenError(what, message or "the name is taken", "another --name")


def _no_bucket(what: str, bucket: str, message: str) -> BinventoryError:
    name = f"the bucket {bucket} does not exist" if bucket else message.rstrip(".")
    step = f"aws s3 mb s3://{bucket or 'BUCKET'}, or another --to"
    return MissingError(what, name, step)


_BY_CODE: tuple[tuple[set[str], Callable[[str, str, str], BinventoryError]], ...] = (
    (_THROTTLED, _throttled), (_EXPIRED, _expired), (_UNKNOWN_KEY, _unknown_key), (_FORBIDDEN, _forbidden),
    (_MISSING, _missing), (_INVALID, _invalid), (_QUOTA, _quota), (_TAKEN, _taken),
)  # fmt: skip


def _not_answered(error: Exception, what: str) -> BinventoryError:
    """What botocore says before the service has answered, or where the answer broke off."""
    from botocore import exceptions as known
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError, ProtocolError

    if isinstance(error, (known.NoCredentialsError, known.PartialCredentialsError)):
        return InputError(what, "no AWS credentials were found",
                          "aws sso login, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")  # fmt: skip
    if isinstance(error, (known.TokenRetrievalError, known.SSOError)):
        return _expired(what, "", "")
    if isinstance(error, (known.ProfileNotFound, known.CredentialRetrievalError, known.ConfigParseError)):
        return InputError(what, _one_line(str(error)), "check AWS_PROFILE and ~/.aws/config")
    if isinstance(error, (known.NoRegionError, known.InvalidRegionError)):
        return UsageError(what, _one_line(str(error)), "AWS_REGION=eu-central-1, or --region")
    if isinstance(error, known.ParamValidationError):
        reason = str(error).removeprefix("Parameter validation failed:\n").replace("\n", "; ")
        return InputError(what, f"the request does not fit ({_one_line(reason)})", "correct that value")
    truncated = (known.IncompleteReadError, known.ResponseStreamingError, ResponseParserError, ProtocolError)
    if isinstance(error, truncated):
        return OutsideError(what, f"AWS's answer broke off ({_one_line(str(error))})", "run it again")
    if isinstance(error, (known.HTTPClientError, known.ConnectionError, HTTPError)):
        return OutsideError(what, f"AWS cannot be reached ({_one_line(str(error))})",
                            "check the network, AWS_REGION and AWS_ENDPOINT_URL, and run it again")  # fmt: skip
    return OutsideError(what, _one_line(str(error)) or type(error).__name__, "run it again")


def _action(message: str) -> str:
    """The action that a message names, as in ``is not authorized to perform: iam:PassRole``."""
    named = re.search(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z*]+)", message)
    return named[1] if named else ""


def _one_line(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text[:_LONGEST] + "…" if len(text) > _LONGEST else text
