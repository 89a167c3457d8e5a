"""Opens a checked ONNX file in onnxruntime and runs batches of tiles through it."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Union

import numpy as np

from .card import ModelCard
from .errors import ModelFault
from .guard import read_header

MINIMUM_ONNXRUNTIME = (1, 24, 1)  # older ones read any file on disk through external_data


def _onnxruntime():  # type: ignore[no-untyped-def]
    import onnxruntime

    found = tuple(int(part) for part in onnxruntime.__version__.split(".")[:3] if part.isdigit())
    if found < MINIMUM_ONNXRUNTIME:
        wanted = ".".join(map(str, MINIMUM_ONNXRUNTIME))
        raise ModelFault(
            f"onnxruntime {onnxruntime.__version__} is unsafe with files from others; install {wanted} or newer"
        )
    return onnxruntime


class Model:
    """A model ready to run.

    Attributes:
        card: its card.
        provider: the execution provider that really runs it.
    """

    def __init__(self, path: Union[str, Path], provider: Optional[str] = None) -> None:
        """Check and open a file.

        Args:
            path: the ONNX file.
            provider: name of an onnxruntime execution provider; the CPU when None.

        Raises:
            ModelFault: the file or its card is refused, or the provider is not there.
        """
        header = read_header(path)
        self.card = ModelCard.from_metadata(header.metadata, str(path))
        expected = (len(self.card.bands), self.card.tile_size, self.card.tile_size)
        if any(known not in (None, wanted) for known, wanted in zip(header.input_shape[1:], expected)):
            raise ModelFault(f"{path}: its input is {list(header.input_shape)}, but its card says {expected}")
        self._batch = header.input_shape[0]
        self._input = header.input_name
        self._where = str(path)
        self._session = _open(path, provider)
        self.provider: str = self._session.get_providers()[0]

    def run(self, tiles: np.ndarray) -> np.ndarray:
        """Run tiles of raw pixel values.

        Args:
            tiles: (N, bands, tile_size, tile_size) float32.

        Returns:
            (N, classes, tile_size, tile_size) probabilities of a segmentation, (N, classes) of a
            scene classification, (N, D) or (N, D, rows, cols) of an embedding.

        Raises:
            ModelFault: it is a detection; onnxruntime fails; or the output has another shape than the card says.
        """
        if self.card.task == "detection":
            raise ModelFault(f"{self._where}: is a detection model, which answers for one tile at a time")
        step = self._batch or len(tiles)
        parts: List[np.ndarray] = []
        for start in range(0, len(tiles), step):
            parts.append(self._run_once(tiles[start : start + step]))
        answer = np.concatenate(parts)
        self._check_shape(answer)
        return answer

    def outputs(self, tiles: np.ndarray) -> List[np.ndarray]:
        """Every output of the graph for (N, bands, tile_size, tile_size), as it is.

        A detection takes one tile and gives boxes (M, 4) as xmin, ymin, xmax, ymax in px, scores (M,), best first, and class numbers (M,).

        Raises:
            ModelFault: onnxruntime fails.
        """
        try:
            return self._session.run(None, {self._input: tiles})
        except Exception as error:  # onnxruntime's errors share no base class but this
            raise ModelFault(f"{self._where}: onnxruntime failed: {str(error).splitlines()[0]}") from error

    def _run_once(self, tiles: np.ndarray) -> np.ndarray:
        missing = (self._batch or len(tiles)) - len(tiles)
        if missing:  # a fixed batch size: fill up and cut off
            tiles = np.concatenate([tiles, np.repeat(tiles[-1:], missing, axis=0)])
        answer = self.outputs(tiles)[0]
        return answer[: len(tiles) - missing] if missing else answer

    def _check_shape(self, answer: np.ndarray) -> None:
        classes, tile = len(self.card.classes), self.card.tile_size
        wanted = {
            "segmentation": (classes, tile, tile),
            "classification": (classes,),
            "embedding": answer.shape[1:] if answer.ndim == 4 else answer.shape[1:2],  # a map, or a vector a tile
        }[self.card.task]
        if answer.shape[1:] != wanted:
            raise ModelFault(
                f"{self._where}: its output is {list(answer.shape)}, but its card says [N, {str(wanted)[1:-1]}]"
            )


def _open(path: Union[str, Path], provider: Optional[str]):  # type: ignore[no-untyped-def]
    onnxruntime = _onnxruntime()
    wanted = provider or "CPUExecutionProvider"
    available = onnxruntime.get_available_providers()
    if wanted not in available:
        raise ModelFault(f"onnxruntime here has no {wanted}; it has {', '.join(available)}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[wanted])
    except Exception as error:  # as above
        raise ModelFault(f"{path}: onnxruntime cannot open it: {str(error).splitlines()[0]}") from error
    if session.get_providers()[0] != wanted:
        raise ModelFault(f"{wanted} did not start; onnxruntime fell back to {session.get_providers()[0]}")
    return session
