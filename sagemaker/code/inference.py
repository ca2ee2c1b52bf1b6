"""A door for SageMaker's handler-based images (multi-model-server, TorchServe): four functions, no logic of their own.

The image imports them from ``code/inference.py`` beside the bundle in ``model.tar.gz``. What they take and give is
told in ``binventory.counting.wire``, and is what ``binventory serve --hosting`` takes and gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sagemaker_inference.errors import GenericInferenceToolkitError

from binventory import Count, Counter
from binventory.counting import wire
from binventory.errors import BinventoryError

Prediction = tuple[wire.Asked, list[Count | BinventoryError]]


def model_fn(model_dir: str) -> Counter:
    """The counter of the bundle in the model's folder, once it has counted a photo."""
    counter = Counter.load(model_dir)
    counter.try_out()
    return counter


def input_fn(body: bytes | bytearray | str, content_type: str | None) -> wire.Asked:
    """The photos that a request asks for. The toolkit hands JSON and CSV over as text, which is refused like any."""
    with _told():
        return wire.asked(content_type, body.encode() if isinstance(body, str) else bytes(body))


def predict_fn(asked: wire.Asked, counter: Counter) -> Prediction:
    """What was asked, and one outcome a photo."""
    return asked, list(counter.count_each(wire.carried(asked)))


def output_fn(prediction: Prediction, accept: str) -> tuple[bytes, str]:
    """The answer's body and its content type."""
    asked, outcomes = prediction
    with _told():
        kind = wire.answer_type(accept, asked.several)
        return wire.answer(kind, asked.names, outcomes, asked.several), kind


@contextmanager
def _told() -> Iterator[None]:
    """Our errors with their HTTP status, as the image's toolkit wants them."""
    try:
        yield
    except BinventoryError as error:
        raise GenericInferenceToolkitError(error.http_status, str(error)) from None
