"""What trials have found on this computer, for the next run with the same model: one small file in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FILE = "providers.json"
_MODELS, _RASTERS = 100, 50  # of which the latest are kept
_PACKAGES = ("onnxruntime", "openvino")
_UNITS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "bf16")


@dataclass
class Known:
    """Of one model on this computer.

    Attributes:
        ratios: of providers, by ``Model.runner``: how many times the CPU's speed in fp32.
        rasters: by checksum of the sample that was compared: what runs it, and the facts of that.
    """

    key: str
    ratios: dict[str, float] = field(default_factory=dict)
    rasters: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: str | Path | bytes, threads: int) -> Known:
        """What is known of a file, or of its content, run in so many threads; nothing where the file of it is missing or corrupt."""
        content = model if isinstance(model, bytes) else Path(model).read_bytes()
        key = hashlib.sha256(content).hexdigest() + "-" + hashlib.sha256(_computer(threads).encode()).hexdigest()[:16]
        entry = _read().get(key, {})
        with contextlib.suppress(TypeError, ValueError, AttributeError, KeyError):
            ratios = {str(name): float(ratio) for name, ratio in entry["ratios"].items()}
            return cls(key, ratios, dict(entry["rasters"]))
        return cls(key)

    def save(self) -> None:
        """Keep it; a folder that cannot be written is no error: the next run tries again."""
        known = _read()
        known.pop(self.key, None)
        rasters = dict(list(self.rasters.items())[-_RASTERS:])
        known[self.key] = {"ratios": self.ratios, "rasters": rasters}  # the latest last
        with contextlib.suppress(OSError):
            path = cache_folder() / _FILE
            path.parent.mkdir(parents=True, exist_ok=True)
            hidden = path.with_name(f".{_FILE}.{os.getpid()}")
            hidden.write_text(json.dumps(dict(list(known.items())[-_MODELS:]), indent=1), encoding="utf-8")
            hidden.replace(path)


def cache_folder() -> Path:
    """Where this user's programs keep what they can make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "geoaware"


def _read() -> dict[str, Any]:
    try:
        known = json.loads((cache_folder() / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _computer(threads: int) -> str:
    """What the speed depends on: the processor, its cores, and the versions of what runs models."""
    versions = []
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    name, flags = processor()
    return "; ".join([platform.machine(), name, *sorted(flags), f"{threads} threads", *versions])


def processor() -> tuple[str, set[str]]:
    """Its name, and what it can do where Linux tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine(), set()
    pairs = (line.partition(":")[::2] for line in text.splitlines())
    found = {name.strip(): value.strip() for name, value in pairs}
    return found.get("model name", platform.machine()), set(found.get("flags", found.get("Features", "")).split())


def fast_units() -> list[str]:
    """What the processor has of the units that make models faster, where Linux tells."""
    return [unit for unit in _UNITS if unit in processor()[1]]
