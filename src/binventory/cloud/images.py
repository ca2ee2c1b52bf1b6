"""AWS's own training image, by region and by whether the instance has a GPU. Pure.

PyTorch 2.13 for SageMaker, Python 3.12, generally available since 2026-07-20 and patched until 2027-07-20
(https://aws.github.io/deep-learning-containers/); the sagemaker-training toolkit is inside. From 2.11 on AWS's images
of PyTorch lie in the repository ``pytorch``, no longer in ``pytorch-training``.
"""

from __future__ import annotations

import re

from binventory.errors import UsageError

PYTHON = "3.12"
_REPOSITORY = "pytorch"
_TAGS = {"cpu": "2.13-cpu-amzn2023-sagemaker", "gpu": "2.13-cu133-amzn2023-sagemaker"}
_USUAL = "763104351884"
# The accounts that hold the images where it is not the usual one.
_ACCOUNTS = {
    "af-south-1": "626614931356", "ap-east-1": "871362719292", "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360", "ap-south-2": "772153158452", "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322", "ap-southeast-5": "550225433462", "ap-southeast-6": "633930458069",
    "ap-southeast-7": "590183813437",
    "ca-west-1": "204538143572", "cn-north-1": "727897471807", "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688", "eu-south-1": "692866216735", "eu-south-2": "503227376785",
    "il-central-1": "780543022126", "me-central-1": "914824155844", "me-south-1": "217643126080",
    "mx-central-1": "637423239942", "us-gov-east-1": "446045086412", "us-gov-west-1": "442386744353",
}  # fmt: skip
_GPU = re.compile(r"ml\.(g|p)\d")
_TOO_OLD = re.compile(r"ml\.(p2|p3|p3dn)\.")
"""Kepler and Volta: CUDA 13, which the image has, starts with Turing."""
# Instances whose disks are their own: encrypted by hardware, of a fixed size, and refused a key of KMS.
_LOCAL_DISKS = re.compile(r"ml\.(g4dn|g5|g6e?|g7e|p4de?|p5e?n?|p6e?-[a-z]+\d+|[a-z]+\d[a-z]*d[a-z]*|trn\d.*)\.")


_INFERENCE = "pytorch-inference:2.6.0-cpu-py312-ubuntu22.04-sagemaker"
"""AWS's last image of PyTorch for inference: patched until June 2026."""


def training(region: str, instance: str) -> str:
    """The address of the image for an instance type in a region.

    Raises UsageError where AWS names none, or the instance's GPU is too old for it.
    """
    if _TOO_OLD.match(instance):
        raise UsageError(
            f"AWS's image does not run on {instance}", "its CUDA 13 no longer knows so old a GPU",
            "--instance ml.g5.xlarge or ml.g4dn.xlarge, or an --image of your own",
        )  # fmt: skip
    tag = _TAGS["gpu" if has_gpu(instance) else "cpu"]
    return f"{_registry(region)}/{_REPOSITORY}:{tag}"


def inference(region: str) -> str:
    """AWS's last image for inference, on processors, in a region. Raises UsageError where it has none."""
    return f"{_registry(region)}/{_INFERENCE}"


def _registry(region: str) -> str:
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", region) or region.startswith(("us-iso", "eu-isoe")):
        raise UsageError(
            f"No image of AWS is known for {region}", "it is no region of AWS's that has one", "--image URI"
        )
    china = ".cn" if region.startswith("cn-") else ""
    return f"{_ACCOUNTS.get(region, _USUAL)}.dkr.ecr.{region}.amazonaws.com{china}"


def has_gpu(instance: str) -> bool:
    """Whether an instance type has a GPU of NVIDIA's."""
    return bool(_GPU.match(instance))


def has_local_disk(instance: str) -> bool:
    """Whether an instance type brings disks of its own, for which SageMaker takes no KMS key."""
    return bool(_LOCAL_DISKS.match(instance))
