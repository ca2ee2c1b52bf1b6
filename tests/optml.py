"""A folder as SageMaker mounts it at /opt/ml."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

DOORS = Path(__file__).parents[1] / "sagemaker"
FILE = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}


def opt_ml(
    base: Path, hyperparameters: Mapping[str, str], channels: Mapping[str, Path], hosts: Sequence[str] = ("localhost",),
    host: str = "localhost", code: Path = DOORS,
) -> Path:  # fmt: skip
    """The folder, with a copy of each channel; ``code`` is what the toolkit runs ``train_model.py`` of."""
    config = base / "input" / "config"
    config.mkdir(parents=True)
    program = {"sagemaker_program": "train_model.py", "sagemaker_submit_directory": str(code)}
    files = {
        "hyperparameters": {**{name: json.dumps(value) for name, value in program.items()}, **hyperparameters},
        "resourceconfig": {"current_host": host, "hosts": list(hosts), "network_interface_name": "lo"},
        "inputdataconfig": dict.fromkeys(channels, FILE),
    }
    for name, content in files.items():
        (config / f"{name}.json").write_text(json.dumps(content))
    for name, place in channels.items():
        shutil.copytree(place, base / "input" / "data" / name)
    return base
