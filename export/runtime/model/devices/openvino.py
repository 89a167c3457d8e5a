"""Runs a checked model in OpenVINO (package ``openvino``, beside any onnxruntime)."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np

from ...errors import ModelFault, first_line
from ...messages import Message
from .known import cache_folder

OPENVINO = "OpenVINO"  # on the CPU; of other devices OpenVINO:GPU and so on
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_CPU = "CPU"
_TELEMETRY = "openvino_telemetry"
_importing = threading.Lock()
# The first call of a process runs alone: where several threads make it, OpenVINO (2026.4.1) can wait for itself for ever.
_first, _begun = threading.Lock(), threading.Event()


def is_installed() -> bool:
    """Whether the package is there; does not import it."""
    return importlib.util.find_spec("openvino") is not None


def is_openvino(provider: str) -> bool:
    """Whether a provider is a device of OpenVINO."""
    return provider.partition(":")[0] == OPENVINO


def device_of(provider: str) -> str:
    """OpenVINO's name of the device."""
    return provider.partition(":")[2] or _CPU


def openvino_devices() -> list[str]:
    """Providers for the devices that OpenVINO finds, the CPU last; none where it is not installed or does not start."""
    if not is_installed():
        return []
    try:
        names = _core().available_devices
    except ModelFault:
        return []
    return [*(f"{OPENVINO}:{name}" for name in names if name != _CPU), *([OPENVINO] if _CPU in names else [])]


def fault() -> Message | None:
    """Why it offers no device, if so; it is installed."""
    try:
        return None if _core().available_devices else Message("no_device")
    except ModelFault as found:
        return found.message


def device_name(provider: str) -> str:
    """The device as OpenVINO calls it."""
    return str(_core().get_property(device_of(provider), "FULL_DEVICE_NAME"))


def reduced_precisions(provider: str) -> list[str]:
    """Precisions below fp32 that a device has units for: at most one, the fastest."""
    device = device_of(provider)
    name = "bf16" if device == _CPU else "fp16"  # CPUs calculate slower in fp16 than in fp32
    return [name] if name.upper() in _core().get_property(device, "OPTIMIZATION_CAPABILITIES") else []


class OpenVinoSession:
    """What ``providers.called`` needs of a session.

    Each stream uses one thread, as many tiles run at a time as there are streams: so the number of threads cannot change a bit
    of an output. OpenVINO has no limit for its memory: onnxruntime, which has one, must have run a tile of this size before.
    """

    def __init__(
        self,
        model: str | Path | bytes,
        shapes: Mapping[str, Sequence[int]],
        runner: tuple[str, str],
        streams: int,
        where: str,
    ) -> None:
        """Compile a checked file, or its content, for inputs of these shapes, -1 where any size fits.

        ``runner`` is a provider and a precision.

        Raises:
            ModelFault: OpenVINO does not take it.
        """
        self._where = where
        device = device_of(runner[0])
        settings, core = _settings(device, runner[1], streams), _core()

        def compiled_for(sizes: Mapping[str, Sequence[int]]) -> Any:
            graph = core.read_model(model, b"") if isinstance(model, bytes) else core.read_model(str(model))
            graph.reshape({name: list(shape) for name, shape in sizes.items()})
            return core.compile_model(graph, device, settings)

        try:
            try:
                compiled = compiled_for(shapes)
            except RuntimeError:  # 2026.4.1 cannot pool in bf16 what depends on nothing but a fixed shape
                compiled = compiled_for({name: [-1, *shape[1:]] for name, shape in shapes.items()})
            self._outputs = {name: port for port in compiled.outputs for name in port.get_names()}
            self._all = list(compiled.outputs)
            self._requests: LifoQueue[Any] = LifoQueue()
            for _ in range(streams):
                self._requests.put(compiled.create_infer_request())
        except RuntimeError as error:
            raise ModelFault("openvino_failed", where=where, reason=_reason(error)) from error

    def run(self, names: Sequence[str] | None, feed: Mapping[str, np.ndarray], options: Any = None) -> list[np.ndarray]:
        """The outputs with these names, all without names, as onnxruntime's session has it; waits for a free stream.

        Raises:
            ModelFault: OpenVINO fails.
        """
        if _begun.is_set():
            return self._answers(names, feed)
        with _first:
            answers = self._answers(names, feed)
            _begun.set()
            return answers

    def _answers(self, names: Sequence[str] | None, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        request = self._requests.get()
        try:
            answers = request.infer(dict(feed), share_inputs=True)
            return [answers[port] for port in (self._all if names is None else [self._outputs[name] for name in names])]
        except RuntimeError as error:
            raise ModelFault("openvino_failed", where=self._where, reason=_reason(error)) from error
        finally:
            self._requests.put(request)


def silently_imported() -> Any:
    """The package, whose import (2026.4.1) makes an id of this computer in the user's home and sends it to Google Analytics.

    Without its package for that it uses an empty stand-in.
    """
    with _importing:
        if "openvino" in sys.modules or _TELEMETRY in sys.modules:
            return importlib.import_module("openvino")
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # so its import fails
        try:
            return importlib.import_module("openvino")
        finally:
            del sys.modules[_TELEMETRY]


def _settings(device: str, precision: str, streams: int) -> dict[str, Any]:
    """How OpenVINO compiles a model."""
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": PRECISIONS[precision]}
    if device == _CPU:
        settings |= {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams}
        settings["ENABLE_CPU_PINNING"] = False  # several processes share the cores
    else:  # which compiles for a long time; what is kept belongs to one model, version and driver. A CPU takes half a second
        with suppress(OSError):
            kept = cache_folder() / "openvino"
            kept.mkdir(parents=True, exist_ok=True)
            if os.access(kept, os.W_OK):  # else it would refuse the device
                settings["CACHE_DIR"] = str(kept)
    return settings


def _reason(error: RuntimeError) -> str:
    """What OpenVINO says, which comes last, after the places in its own code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _core() -> Any:
    """OpenVINO's devices; raises ModelFault if the package does not start."""
    try:
        return silently_imported().Core()
    except (ImportError, OSError, RuntimeError) as error:
        raise ModelFault("openvino_start", reason=first_line(error)) from error
