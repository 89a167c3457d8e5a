"""What can run a model: onnxruntime's execution providers, with limited memory, and OpenVINO."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelFault, first_line
from ..files import free_memory
from ..messages import Message
from .devices.known import processor
from .devices.openvino import OPENVINO, device_name, is_installed, is_openvino, openvino_devices, reduced_precisions
from .devices.openvino import PRECISIONS as PRECISIONS  # for the hosts
from .devices.openvino import fault as openvino_fault
from .devices.packages import MINIMUM_ONNXRUNTIME as MINIMUM_ONNXRUNTIME
from .devices.packages import ONNXRUNTIME, package_of, version_of
from .devices.packages import OPENVINO as OPENVINO_PACKAGE
from .devices.plugins import is_accelerator, kinds, offered, plugin_devices

CPU = "CPUExecutionProvider"
# By the short names that a user can give.
PROVIDERS = {
    "cpu": CPU,
    "openvino": OPENVINO,
    "openvino-gpu": f"{OPENVINO}:GPU",
    "openvino-npu": f"{OPENVINO}:NPU",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
    "tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
    "qnn": "QNNExecutionProvider",
}
# Providers that are only fast with many tiles at once. The number is fixed: the last bits of an output may depend on it.
BATCHED = {"CUDAExecutionProvider": 8, "TensorrtExecutionProvider": 8, "DmlExecutionProvider": 4}
# OpenVINO as a plugin calculates in bf16 where the processor can, without being asked (1.8.1).
_F32 = '{"CPU": {"INFERENCE_PRECISION_HINT": "f32"}, "GPU": {"INFERENCE_PRECISION_HINT": "f32"}}'
_LONGEST_LOOP = 30.0  # seconds for one call of a graph with loops
_MEMORY_SHARE = 0.75  # of the free memory: the most that a model may use
_bounded = False  # the allocator belongs to the process, not to a session


@dataclass(frozen=True)
class Provider:
    """What can run models on a device of this computer.

    Attributes:
        name: full name.
        device: the device as its library calls it; empty where that does not say.
        precisions: that it calculates in; the fastest first, if models are tried on it, else none.
    """

    name: str
    device: str
    precisions: tuple[str, ...]


@dataclass(frozen=True)
class Library:
    """An installed package that runs models, its providers, and why it cannot be used, if so."""

    name: str
    version: str
    providers: tuple[Provider, ...] = ()
    fault: Message | None = None

    @property
    def title(self) -> str:
        """Name and version, where it states one."""
        return f"{self.name} {self.version}".rstrip()


def onnxruntime_module() -> Any:
    """The onnxruntime package; raises ModelFault if it is not there, broken, or too old to be safe."""
    try:
        import onnxruntime
    except Exception as error:  # a broken package may raise anything
        raise ModelFault("no_onnxruntime", reason=first_line(error)) from error

    version = tuple(int(part) for part in onnxruntime.__version__.split(".")[:3] if part.isdigit())
    if version < MINIMUM_ONNXRUNTIME:
        needed = ".".join(map(str, MINIMUM_ONNXRUNTIME))
        raise ModelFault("onnxruntime_old", version=onnxruntime.__version__, needed=needed)
    return onnxruntime


def available() -> list[str]:
    """Full names of the providers that are there, the CPU last; whether they start is not known."""
    onnxruntime = onnxruntime_module()
    found = plugin_devices(onnxruntime)
    # a plugin counts as built in once it is loaded
    there = set(onnxruntime.get_available_providers()) - found.keys() - {CPU}
    names = [name for name in PROVIDERS.values() if name in there]
    plugins = [name for name, devices in found.items() if is_accelerator(onnxruntime, devices)]
    return [*openvino_devices(), *plugins, *names, CPU]


def candidates() -> Iterator[tuple[str, str]]:
    """Providers and precisions that may be faster than the CPU in fp32, the likely ones first."""
    for provider in available():
        if is_openvino(provider):
            yield from ((provider, precision) for precision in (*reduced_precisions(provider), "fp32"))
        elif provider != CPU:
            yield provider, "fp32"


def libraries() -> list[Library]:
    """What is installed, and what it offers on this computer; onnxruntime first, with the CPU first.

    Loads all of it, which takes seconds. Nothing is raised: a package that cannot be used says why.
    """
    found: list[Library] = []
    plugins: list[Library] = []
    try:
        onnxruntime = onnxruntime_module()
        others = plugin_devices(onnxruntime)
        own = [name for name in reversed(available()) if not is_openvino(name) and name not in others]
        providers = tuple(Provider(name, processor()[0] if name == CPU else "", ("fp32",)) for name in own)
        found.append(Library(ONNXRUNTIME.name, onnxruntime.__version__, providers))
        plugins = [_plugin(onnxruntime, module, what) for module, what in offered(onnxruntime).items()]
    except ModelFault as fault:
        if ONNXRUNTIME.is_installed:
            found.append(Library(ONNXRUNTIME.name, ONNXRUNTIME.version, fault=fault.message))
    if is_installed():
        names = reversed(openvino_devices())
        devices = [Provider(name, device_name(name), (*reduced_precisions(name), "fp32")) for name in names]
        found.append(Library(OPENVINO_PACKAGE.name, OPENVINO_PACKAGE.version, tuple(devices), openvino_fault()))
    return [*found, *plugins]


def _plugin(onnxruntime: Any, module: str, what: list[str] | str) -> Library:
    """A plugin of onnxruntime, by the names of its providers, or why it does not load."""
    name = package_of(module)
    if isinstance(what, str):
        return Library(name, version_of(name), fault=Message("plugin_failed", {"reason": what}))
    if not what:
        return Library(name, version_of(name), fault=Message("no_device"))
    found, there = plugin_devices(onnxruntime), available()
    providers = [
        Provider(one, ", ".join(kinds(found[one])), ("fp32",) if one in there else ()) for one in what if one in found
    ]
    return Library(name, version_of(name), tuple(providers))


def runner_of(provider: str, precision: str) -> str:
    """What runs a model, as a user reads it; ``provider_of`` reverses it."""
    return provider if precision == "fp32" else f"{provider} {precision}"


def provider_of(runner: str) -> tuple[str, str]:
    """Provider and precision."""
    provider, _, precision = runner.partition(" ")
    return provider, precision or "fp32"


def chosen(provider: str) -> str:
    """Full name of the provider that a user's choice stands for; raises ModelFault if it is not there.

    "auto" is the CPU, until ``infer.timing.trial`` has tried others on a raster.
    """
    if provider == "auto":
        return CPU
    name = PROVIDERS.get(provider.lower(), provider)
    if is_openvino(name) and not is_installed():
        raise ModelFault("no_openvino")
    onnxruntime = onnxruntime_module()
    own = onnxruntime.get_available_providers()
    if name in own:  # asked first: the others are loaded to be listed
        return name
    there = [*available(), *plugin_devices(onnxruntime), *own]
    if name not in there:
        raise ModelFault("no_provider", provider=name, available=", ".join(dict.fromkeys(there)))
    return name


def start(model: str | Path | bytes, provider: str, precision: str | None, where: str = "") -> Any:
    """An onnxruntime session of a file, or of its content, on exactly this provider.

    On the CPU a session uses one thread: tiles run in parallel instead, each on a single thread, so that the number of
    threads or tiles cannot change a bit of an output.

    Raises:
        ModelFault: the file or the provider does not start, or the provider lacks this precision.
    """
    onnxruntime, where = onnxruntime_module(), where or ("" if isinstance(model, bytes) else str(model))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised and reported by us
    if provider == CPU:
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # its plan is a second copy of all memory that a tile needs
        _bound_memory(onnxruntime)
        options.add_session_config_entry("session.use_env_allocators", "1")
    given: dict[str, Any] = {"providers": [provider], "provider_options": [provider_options(provider, precision)]}
    plugins = {} if provider == CPU else plugin_devices(onnxruntime)
    if provider in plugins:
        settings = {"load_config": _F32} if provider.startswith("OpenVINO") else {}
        options.add_provider_for_devices(plugins[provider], settings)
        given = {}
    try:
        session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, **given, enable_fallback=0
        )
    except Exception as error:
        if not is_of_onnxruntime(error):
            raise
        if is_out_of_memory(error):
            raise ModelFault("model_memory", where=where, free=free_memory()) from error
        raise ModelFault("onnxruntime_open", where=where, provider=provider, reason=first_line(error)) from error
    if session.get_providers()[0] != provider:
        raise ModelFault("provider_fell_back", provider=provider, other=session.get_providers()[0])
    return session


def called(
    session: Any,
    names: Sequence[str] | None,
    feed: dict[str, np.ndarray],
    where: str,
    loops: bool = False,
    last: bool = False,
) -> list[np.ndarray]:
    """The outputs of a session, all without names, for one batch of tiles; a graph with ``loops`` is stopped in time.

    After the ``last`` call onnxruntime frees the memory that it keeps for the next one.

    Raises:
        ModelFault: onnxruntime fails, or answers with something else than numbers.
    """
    try:
        with _stopped_in_time(loops) as options:
            if last:
                options = options or onnxruntime_module().RunOptions()
                options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
            answers = session.run(names, feed, options)
    except Exception as error:
        if not is_of_onnxruntime(error):
            raise
        if "terminate flag" in str(error):
            raise ModelFault("loop_too_long", where=where, seconds=_LONGEST_LOOP) from error
        if is_out_of_memory(error):
            tiles = next(iter(feed.values()))
            count, side, free = len(tiles), tiles.shape[-1], free_memory()
            raise ModelFault("tile_memory", where=where, count=count, side=side, free=free) from error
        raise ModelFault("onnxruntime_failed", where=where, reason=first_line(error)) from error
    if not all(isinstance(answer, np.ndarray) and answer.dtype.kind in "fiub" for answer in answers):
        raise ModelFault("not_numbers", where=where)
    return answers


@contextmanager
def _stopped_in_time(loops: bool) -> Iterator[Any]:
    """Run options that stop a call after a time limit: a loop may be endless."""
    if not loops:
        yield None
        return
    options = onnxruntime_module().RunOptions()

    def stop() -> None:
        options.terminate = True

    timer = threading.Timer(_LONGEST_LOOP, stop)
    timer.daemon = True
    timer.start()
    try:
        yield options
    finally:
        timer.cancel()


def checked_precision(precision: str | None) -> None:
    """Raise ModelFault if it is none of ``PRECISIONS``."""
    if precision is not None and precision not in PRECISIONS:
        raise ModelFault("unknown_precision", precision=precision, known=", ".join(PRECISIONS))


def provider_options(provider: str, precision: str | None) -> dict[str, str]:
    """The provider's settings for a precision, None for its default; raises ModelFault if it does not support it."""
    if provider == PROVIDERS["tensorrt"] and precision in ("fp16", "bf16"):
        return {f"trt_{precision}_enable": "1"}
    if precision in (None, "fp32"):
        return {}
    raise ModelFault("no_precision", provider=provider, precision=precision)


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_of_onnxruntime(error: BaseException) -> bool:
    """Whether onnxruntime raised it; its errors share no base class, and anything else is a fault of our own code."""
    native = (RuntimeError, MemoryError, UnicodeDecodeError)  # the last of a message that quotes a corrupt file
    return isinstance(error, native) or type(error).__module__.startswith("onnxruntime.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether onnxruntime ran out of memory."""
    text = str(error).lower()
    phrases = ("allocate memory", "smaller than requested", "bad_alloc", "bad allocation", "out of memory")
    return isinstance(error, MemoryError) or any(phrase in text for phrase in phrases)


def _bound_memory(onnxruntime: Any) -> None:
    """Limit onnxruntime's CPU allocator: a small file can ask for more memory than the machine has."""
    global _bounded
    if _bounded:
        return
    arena = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    info = onnxruntime.OrtMemoryInfo("Cpu", arena, 0, onnxruntime.OrtMemType.DEFAULT)
    limit = int(free_memory() * _MEMORY_SHARE)
    # 1: exactly as much as requested
    settings = onnxruntime.OrtArenaCfg({"max_mem": limit, "arena_extend_strategy": 1})
    try:
        onnxruntime.create_and_register_allocator(info, settings)
    except Exception as error:  # registered before, by another copy of this module in the process
        if not is_of_onnxruntime(error):
            raise
    _bounded = True
