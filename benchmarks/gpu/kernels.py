"""Onnxruntime's build for CUDA, small enough to travel: with the kernels of one kind of GPU alone, packed, in parts.

Its library holds each kernel for five or six kinds of GPU, in fat binaries (the section .nv_fatbin): a header of 16 bytes, then
an entry for each kind, with a header that states its length and compute capability. The entries of other kinds are
overwritten with zeros, which pack to nothing; all else keeps its place.
"""

from __future__ import annotations

import lzma
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path

MAGIC = struct.pack("<I", 0xBA55ED50)
LEFT_OUT = ("libonnxruntime.so",)  # for C programs
NAME = "onnxruntime.tar.xz"


def without_other_kernels(library: bytearray, arch: int) -> tuple[int, int]:
    """Overwrite the kernels for other GPUs in place; bytes of kernels that are left, and that were there.

    Raises:
        ValueError: there are none for this compute capability (90 stands for 9.0).
    """
    left, there, position = 0, 0, library.find(MAGIC)
    while position >= 0:
        version, header, length = struct.unpack_from("<HHQ", library, position + 4)
        entry, end = position + header, position + header + length
        if version != 1 or end > len(library):
            position = library.find(MAGIC, position + 1)
            continue
        while entry < end:
            start, size = struct.unpack_from("<IQ", library, entry + 4)
            (kind,) = struct.unpack_from("<I", library, entry + 28)
            there += size
            if kind == arch:
                left += size
            else:
                library[entry + start : entry + start + size] = bytes(size)
            entry += start + size
        position = library.find(MAGIC, end)
    if not left:
        raise ValueError(f"the library has no kernels for a compute capability of {arch / 10:g}")
    return left, there


def onnxruntime_for_cuda(wheel: Path, out: Path, arch: int, most: int) -> None:
    """Write the package in the wheel as parts of at most ``most`` bytes: ``cat out/* | tar xJ`` gives it back."""
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work:
        with zipfile.ZipFile(wheel) as packed:
            names = [name for name in packed.namelist() if not Path(name).name.startswith(LEFT_OUT)]
            packed.extractall(work, names)
        library = next(Path(work).rglob("libonnxruntime_providers_cuda.so"))
        content = bytearray(library.read_bytes())
        left, there = without_other_kernels(content, arch)
        library.write_bytes(content)
        print(f"kernels for {arch / 10:g}: {left / 1e6:.0f} of {there / 1e6:.0f} MB")
        whole = Path(work) / NAME
        with lzma.open(whole, "wb", preset=6) as target, tarfile.open(fileobj=target, mode="w") as archive:
            for path in sorted(Path(work).iterdir()):
                if path != whole:
                    archive.add(path, path.name)
        packed_bytes = whole.read_bytes()
    for number, first in enumerate(range(0, len(packed_bytes), most)):
        (out / f"{NAME}.{number}").write_bytes(packed_bytes[first : first + most])
