"""A network small enough for seconds, and drawn bins to train it on."""

from __future__ import annotations

from pathlib import Path

import pytest

from binventory.data import drawn

BACKBONE = "test_resnet"


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of the small network, with the same random numbers each time."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(timm.create_model(BACKBONE, num_classes=0).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def bins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred and sixty drawn bins."""
    folder = tmp_path_factory.mktemp("site") / "bins"
    list(drawn.write(folder, 160, 3))
    return folder
