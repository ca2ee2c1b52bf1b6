"""The one place where clients of AWS are made, and where botocore's errors become ours.

Region, profile and credentials come as botocore finds them (``AWS_REGION``, ``AWS_DEFAULT_REGION``, ``AWS_PROFILE``,
``~/.aws``, an instance's role), and ``AWS_ENDPOINT_URL`` and ``AWS_ENDPOINT_URL_SAGEMAKER`` … lead elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from binventory.cloud import refusals
from binventory.errors import BinventoryError, UsageError

if TYPE_CHECKING:
    from obstore.store import S3CredentialProvider

ATTEMPTS = 8
"""How often a request is made before a throttled or silent service is told of; the waits between sum to a minute."""


@dataclass(frozen=True, slots=True)
class Session:
    """A region of AWS, and boto3's session that makes clients there."""

    region: str
    made: Any

    def client(self, service: str) -> Any:
        """A client of a service (``sagemaker``, ``logs``, ``sts`` …). Raises UsageError for an endpoint or region
        that is none."""
        from botocore.config import Config

        settings = Config(
            retries={"mode": "adaptive", "total_max_attempts": ATTEMPTS},
            connect_timeout=10,
            read_timeout=70,  # an endpoint may take a minute to answer
            user_agent_appid="binventory",
        )
        try:
            client = self.made.client(service, region_name=self.region, config=settings)
        except ValueError as error:  # what botocore says of an endpoint that is no address
            raise UsageError(
                f"No client for {service} can be made", str(error), "check AWS_ENDPOINT_URL and AWS_REGION"
            ) from None
        client.meta.events.register("before-parse", _refuse_truncated)
        return client

    def account(self) -> Account:
        """Whose credentials these are. Raises as ``told`` does."""
        found = ask(self.client("sts"), "get_caller_identity", "The AWS account cannot be told")
        arn = str(found["Arn"])
        return Account(str(found["Account"]), arn.split(":")[1], arn)

    def lend(self) -> None:
        """Put credentials that boto3 finds elsewhere than in the environment there, as they are now, for ``s3://``.

        Those of a role or a login hold for an hour or so, and boto3 renews them: this is called before each time that
        something is read from S3 or written after a wait. What the user has put there stays.

        Raises as ``told`` does where they cannot be renewed.
        """
        with told("AWS cannot be asked"):
            credentials = self._elsewhere()
            if credentials is None:
                return
            now = credentials.get_frozen_credentials()
            named = {"AWS_ACCESS_KEY_ID": now.access_key, "AWS_SECRET_ACCESS_KEY": now.secret_key}
            os.environ.update(named | ({"AWS_SESSION_TOKEN": now.token} if now.token else {}))

    def signer(self) -> S3CredentialProvider | None:
        """What signs one long transfer to S3 and renews itself meanwhile; None where the environment's own do."""
        with told("AWS cannot be asked"):
            if self._elsewhere() is None:
                return None
            from obstore.auth.boto3 import Boto3CredentialProvider

            # boto3 hands none out that end within ten minutes.
            provider: S3CredentialProvider = Boto3CredentialProvider(self.made, ttl=timedelta(minutes=10))
            return provider

    def _elsewhere(self) -> Any:
        """The credentials that boto3 has found, None where there are none or they are the environment's own."""
        credentials = self.made.get_credentials()
        return None if credentials is None or credentials.method == "env" else credentials


@dataclass(frozen=True, slots=True)
class Account:
    """An AWS account: its twelve digits, its partition (``aws``, ``aws-cn`` …), and who asks."""

    number: str
    partition: str
    arn: str

    def role(self, name: str) -> str:
        """The ARN of a role of this account."""
        return f"arn:{self.partition}:iam::{self.number}:role/{name}"


def opened(region: str | None = None) -> Session:
    """A session with AWS. Nothing is asked yet.

    Credentials that boto3 finds elsewhere than in the environment (a profile, a login by the browser, an instance's
    role) are put there for the rest of this process, where the client for ``s3://`` looks for them; so is the region,
    over what the environment says where ``region`` is given.

    Raises UsageError where boto3 is not installed or no region is known, InputError for a profile that is none.
    """
    try:
        import boto3
    except ModuleNotFoundError:
        raise UsageError(
            "The cloud's verbs cannot run", "boto3 is not installed", "pip install 'binventory[cloud]'"
        ) from None
    with told("AWS cannot be asked"):
        # botocore itself knows AWS_DEFAULT_REGION alone.
        made = boto3.Session(region_name=region or os.environ.get("AWS_REGION") or None)
        found = made.region_name
        if not found:
            raise UsageError("No AWS region is known", "neither the environment nor ~/.aws/config names one",
                             "AWS_REGION=eu-central-1, or --region")  # fmt: skip
    if region or not os.environ.get("AWS_REGION"):
        os.environ["AWS_REGION"] = found
    session = Session(found, made)
    session.lend()
    return session


def _refuse_truncated(response_dict: dict[str, Any], operation_model: Any, **_: Any) -> None:
    """botocore takes half a body for a whole one, and what JSON it cannot parse for an answer without members."""
    from botocore.exceptions import IncompleteReadError

    body, stated = response_dict["body"], response_dict["headers"].get("content-length", "")
    if operation_model.http.get("method") == "HEAD":  # which states the length of a body that it does not send
        return
    if isinstance(body, bytes) and stated.isdigit() and len(body) != int(stated):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=int(stated))


def ask(client: Any, operation: str, what: str, **request: Any) -> dict[str, Any]:
    """What a service answers. ``operation`` as boto3 writes it; ``what`` begins the sentence if it fails.

    Throttling and silence are waited out first. Raises as ``told`` does.
    """
    with told(what, client.meta.service_model.signing_name):
        answer: dict[str, Any] = getattr(client, operation)(**request)
    return answer


def pages(client: Any, operation: str, what: str, key: str, **request: Any) -> Iterator[dict[str, Any]]:
    """All entries of a listing, over its pages, as they come. Raises as ``told`` does."""
    with told(what, client.meta.service_model.signing_name):
        for page in client.get_paginator(operation).paginate(**request):
            yield from page[key]


@contextmanager
def told(what: str, service: str = "") -> Iterator[None]:
    """botocore's errors as ours. ``service``: the prefix of its actions in policies, as in ``sagemaker:…``.

    Raises InputError for what the user or their account must change (credentials, permissions, values), MissingError
    for what is not there, and OutsideError for quotas, throttling, and a network or service that fails.
    """
    try:
        yield
    except BinventoryError:
        raise
    except refusals.kinds() as error:
        raise refusals.sentence(error, what, service) from None
