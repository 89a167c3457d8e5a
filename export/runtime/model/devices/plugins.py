"""onnxruntime's plugin execution providers: packages with a library each that onnxruntime loads, named onnxruntime-ep-..."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from typing import Any

from ...errors import first_line

_PREFIX, _OTHERS = "onnxruntime_ep_", ("onnxruntime_qnn",)
_lock = threading.Lock()
# Of the modules that onnxruntime was asked to load, the names of their providers here, or why they do not load: a library
# belongs to the process.
_asked: dict[str, list[str] | str] = {}
_found: dict[str, list[Any]] | None = None


def installed() -> list[str]:
    """Names of the modules of such packages; none is imported."""
    names = (module.name for module in pkgutil.iter_modules())
    return sorted(name for name in names if name.startswith(_PREFIX) or name in _OTHERS)


def plugin_devices(onnxruntime: Any) -> dict[str, list[Any]]:
    """The devices of this computer that plugins offer, by the name of the provider; a plugin that does not load offers none."""
    global _found
    with _lock:
        if _found is None:
            for name in installed():
                if name not in _asked:
                    _asked[name] = _loaded(onnxruntime, name)
            providers = {one for names in _asked.values() if not isinstance(names, str) for one in names}
            _found = {}
            for device in _devices(onnxruntime):
                if device.ep_name in providers:
                    _found.setdefault(device.ep_name, []).append(device)
        return _found


def offered(onnxruntime: Any) -> dict[str, list[str] | str]:
    """By the module of each plugin: the names of the providers that it offers here, or why it does not load."""
    plugin_devices(onnxruntime)
    return {name: _asked[name] for name in installed() if name in _asked}


def look_again() -> None:
    """Look for plugins at the next question: one was installed since."""
    global _found
    with _lock:
        _found = None


def is_accelerator(onnxruntime: Any, devices: list[Any]) -> bool:
    """Whether one of them is no CPU."""
    return any(device.device.type != onnxruntime.OrtHardwareDeviceType.CPU for device in devices)


def kinds(devices: list[Any]) -> list[str]:
    """What they are, such as "NVIDIA GPU"."""
    return sorted({f"{one.device.vendor} {one.device.type.name}".strip() for one in devices})


def _devices(onnxruntime: Any) -> list[Any]:
    return list(onnxruntime.get_ep_devices()) if hasattr(onnxruntime, "get_ep_devices") else []


def _loaded(onnxruntime: Any, name: str) -> list[str] | str:
    """The providers that a module brings."""
    before = {device.ep_name for device in _devices(onnxruntime)}
    try:
        module = importlib.import_module(name)
        known_as = module.get_ep_name() if hasattr(module, "get_ep_name") else name  # some providers take this name
        onnxruntime.register_execution_provider_library(known_as, module.get_library_path())
    except Exception as error:  # whatever a package of somebody else raises
        return first_line(error)
    return sorted({device.ep_name for device in _devices(onnxruntime)} - before)
