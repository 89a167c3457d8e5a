"""The packages that run models: what each is for, and how much it is."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass

from ...messages import Message

MINIMUM_ONNXRUNTIME = (1, 24, 1)  # older ones read any file on disk through external_data


@dataclass(frozen=True)
class Package:
    """One that is worth installing.

    Attributes:
        name: for pip; it needs no other package to run models, beside onnxruntime and numpy.
        module: that Python imports.
        use: the devices that it is for.
        download, disk: bytes (2026, Linux; about that elsewhere).
        least: the oldest version that runs models; empty: any.
        systems: values of ``sys.platform`` for which there are packages; empty: all.
    """

    name: str
    module: str
    use: Message
    download: float
    disk: float
    least: str = ""
    systems: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        """The name with its oldest version, as pip reads it."""
        return f"{self.name}>={self.least}" if self.least else self.name

    @property
    def version(self) -> str:
        """Of the one that is installed; empty where there is none."""
        return version_of(self.name)

    @property
    def is_installed(self) -> bool:
        """Whether Python would find it; it is not imported."""
        return importlib.util.find_spec(self.module) is not None


ONNXRUNTIME = Package(
    "onnxruntime", "onnxruntime", Message("for_any"), 20e6, 78e6, ".".join(map(str, MINIMUM_ONNXRUNTIME))
)
OPENVINO = Package("openvino", "openvino", Message("for_intel"), 60e6, 180e6, "2025.4")
PACKAGES = (
    ONNXRUNTIME,
    OPENVINO,
    Package("onnxruntime-ep-webgpu", "onnxruntime_ep_webgpu", Message("for_gpus"), 7e6, 17e6),
    Package(  # without its ending the name is that of an empty package, which needs this one
        "onnxruntime-ep-nv-tensorrt-rtx-cu13",
        "onnxruntime_ep_nv_tensorrt_rtx",
        Message("for_nvidia"),
        147e6,
        315e6,
        systems=("linux", "win32"),
    ),
    Package("onnxruntime-qnn", "onnxruntime_qnn", Message("for_qualcomm"), 99e6, 256e6, systems=("linux", "win32")),
)


def installable() -> list[Package]:
    """Those that are not installed, of which there are packages for this system."""
    here = [one for one in PACKAGES if not one.systems or sys.platform in one.systems]
    return [one for one in here if not one.is_installed]


def package_of(module: str) -> str:
    """Name for pip of a module that runs models."""
    return next((one.name for one in PACKAGES if one.module == module), module.replace("_", "-"))


def version_of(name: str) -> str:
    """Version of an installed package; empty where it does not say."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
