"""What a model is on S3: the bundle itself, with what AWS's own image needs beside it; the same is uploaded once."""

from __future__ import annotations

import re
from pathlib import Path

from binventory.cloud import artefact, images, session, source
from binventory.counting import bundle as bundles
from clouds import Cloud


def test_the_archive_is_the_bundle_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    bundle = bundles.load("open")
    code = artefact.code(source.wheel(), source.requirements())
    data = artefact.packed(bundle, code)
    assert data == artefact.packed(bundle, code)
    (tmp_path / "model.tar.gz").write_bytes(data)
    assert bundles.load(tmp_path / "model.tar.gz").members() == bundle.members()


def test_aws_own_image_gets_the_handler_and_hashed_pins_of_what_counting_needs() -> None:
    name, wheel = source.wheel()
    code = artefact.code((name, wheel), source.requirements())
    assert code[name] == wheel
    assert b"def model_fn" in code["inference.py"]
    first, *pins = re.split(r"\n(?=\S)", code["requirements.txt"].decode().strip())
    assert re.fullmatch(rf"/opt/ml/model/code/{re.escape(name)} --hash=sha256:[0-9a-f]{{64}}", first)
    assert all("--hash=sha256:" in pin for pin in pins)
    names = {pin.partition("==")[0] for pin in pins}
    assert {"onnxruntime", "numpy", "pillow", "msgspec"} <= names
    assert not names & {"timm", "nncf", "onnx", "torch", "boto3"}


def test_the_last_image_for_inference_lies_in_every_regions_registry() -> None:
    image = "pytorch-inference:2.6.0-cpu-py312-ubuntu22.04-sagemaker"
    assert images.inference("eu-central-1") == f"763104351884.dkr.ecr.eu-central-1.amazonaws.com/{image}"
    assert images.inference("me-south-1").startswith("217643126080.")


def test_what_lies_there_is_not_uploaded_again(cloud: Cloud) -> None:
    aws = session.opened()
    address = artefact.stored(aws, b"bytes", cloud.store, "models/x", None)
    etags = [aws.client("s3").head_object(Bucket="private", Key=address.split("/", 3)[3])["LastModified"]]
    assert artefact.stored(aws, b"bytes", cloud.store, "models/x", None) == address
    etags.append(aws.client("s3").head_object(Bucket="private", Key=address.split("/", 3)[3])["LastModified"])
    assert etags[0] == etags[1]
