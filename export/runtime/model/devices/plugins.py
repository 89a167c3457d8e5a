"""onnxruntime's plugin execution providers: packages with a library each that onnxruntime loads, named onnxruntime-ep-..."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from typing import Any

_PREFIX, _OTHERS = "onnxruntime_ep_", ("onnxruntime_qnn",)
_lock = threading.Lock()
_found: dict[str, list[Any]] | None = None  # a library belongs to the process


def installed() -> list[str]:
    """Names of the modules of such packages; none is imported."""
    names = (module.name for module in pkgutil.iter_modules())
    return sorted(name for name in names if name.startswith(_PREFIX) or name in _OTHERS)


def plugin_devices(onnxruntime: Any) -> dict[str, list[Any]]:
    """The devices of this computer that plugins offer, by the name of the provider; a plugin that does not load offers none."""
    global _found
    with _lock:
        if _found is None:
            before = {device.ep_name for device in _devices(onnxruntime)}
            for name in installed():
                _register(onnxruntime, name)
            _found = {}
            for device in _devices(onnxruntime):
                if device.ep_name not in before:
                    _found.setdefault(device.ep_name, []).append(device)
        return _found


def is_accelerator(onnxruntime: Any, devices: list[Any]) -> bool:
    """Whether one of them is no CPU."""
    return any(device.device.type != onnxruntime.OrtHardwareDeviceType.CPU for device in devices)


def _devices(onnxruntime: Any) -> list[Any]:
    return list(onnxruntime.get_ep_devices()) if hasattr(onnxruntime, "get_ep_devices") else []


def _register(onnxruntime: Any, name: str) -> None:
    try:
        module = importlib.import_module(name)
        known_as = module.get_ep_name() if hasattr(module, "get_ep_name") else name  # some providers take this name
        onnxruntime.register_execution_provider_library(known_as, module.get_library_path())
    except Exception:  # whatever a package of somebody else raises: what it lacks is listed by export.devices
        return
