"""Brings the weights that an ONNX file keeps in other files into one file, which is then judged like any other.

What the file says of its weights is untrusted: they are taken only from plain files in its own folder, and only where
sizes agree.
"""

from __future__ import annotations

import math
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import onnx
from google.protobuf.message import DecodeError, Message

from core.errors import UserError
from core.files import flush
from export.runtime.amounts import size_text
from export.runtime.errors import ModelFault
from export.runtime.model.guard import MAX_BYTES, read_header

_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}  # of types that share bytes
_SHOWN = 80  # letters of a name that a file gives


def one_file(source: Path, out: Path | None = None) -> Path:
    """Write a model with its weights inside to a new file, by default ``<source>.onefile.onnx``; returns its path.

    A card beside the source is put beside it too.

    Raises:
        UserError: the weights lie elsewhere than in plain files of the same folder, do not fit, or all is more than 2 GB;
            or ``out`` exists.
        ModelFault: the guard refuses the result.
    """
    out = out or source.with_name(f"{source.stem}.onefile.onnx")
    card, new_card = source.with_suffix(".card.json"), out.with_suffix(".card.json")
    if out.exists() or (card.exists() and new_card.exists()):
        raise UserError(f"{out}: exists already; remove it, or choose another --out")
    model = _read(source)
    _embed(model, source)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    try:
        partial.write_bytes(model.SerializeToString())
        flush(partial)
        try:
            read_header(partial)
        except ModelFault as fault:
            fault.message = fault.message.about(source)  # nobody knows the other name
            raise
        if card.exists():
            shutil.copyfile(card, new_card)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return out


def _read(source: Path) -> onnx.ModelProto:
    """The model as its file has it."""
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    if source.stat().st_size > MAX_BYTES:
        raise UserError(f"{source}: more than 2 GB, which no ONNX file has")
    try:
        return onnx.ModelProto.FromString(source.read_bytes())
    except DecodeError:
        raise UserError(f"{source}: not an ONNX file, or a corrupt one") from None


def _embed(model: onnx.ModelProto, source: Path) -> None:
    """Read the data of all tensors from their files."""
    tensors = [tensor for tensor in _tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if not tensors:
        raise UserError(f"{source}: its weights are inside already")
    total = source.stat().st_size + sum(_size(tensor, source) for tensor in tensors)
    if total >= MAX_BYTES:
        raise UserError(f"{source}: with its weights it has {size_text(total)}; one ONNX file holds at most 2 GB")
    files: dict[str, IO[bytes]] = {}
    try:
        for tensor in tensors:
            where = {entry.key: entry.value for entry in tensor.external_data}
            location = where.get("location", "")
            if location not in files:
                files[location] = _opened(location, source)
            tensor.raw_data = _data(tensor, where, files[location], source)
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
    finally:
        for file in files.values():
            file.close()


def _tensors(message: Message) -> Iterator[Any]:
    """All tensors of a message, at any depth: weights, constants, those of sub-graphs and functions."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in (value,) if isinstance(value, Message) else value:
                if isinstance(part, onnx.TensorProto):
                    yield part
                else:
                    yield from _tensors(part)


def _size(tensor: onnx.TensorProto, source: Path) -> int:
    """Bytes that a tensor's shape and type take."""
    try:
        name = onnx.TensorProto.DataType.Name(tensor.data_type)
        bits = _BITS.get(name) or 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError):  # a number that is no type, or one without a size
        bits = 0
    if not bits or tensor.data_type == onnx.TensorProto.STRING or min(tensor.dims, default=0) < 0:
        raise UserError(
            f"{source}: refused, the tensor '{_shown(tensor.name)}' has a type or a shape that no file holds"
        )
    return -(-math.prod(tensor.dims) * bits // 8)


def _opened(location: str, source: Path) -> IO[bytes]:
    """A file with weights, opened without following links; never waits for a pipe or a device."""
    if not location or location in (".", "..") or any(sign in location for sign in "/\\:\0"):
        raise UserError(f"{source}: refused, its weights are in '{_shown(location)}', not in a file of the same folder")
    path = source.with_name(location)
    flags = (getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    try:
        if path.is_symlink():  # also where open cannot tell
            raise UserError(f"{path}: refused, it is a link; put the file itself beside {source.name}")
        file = os.fdopen(os.open(path, os.O_RDONLY | sum(flags)), "rb")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; it holds weights of {source.name}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    state = os.fstat(file.fileno())
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
        file.close()
        raise UserError(f"{path}: refused, it is no plain file, or has several names; put a copy beside {source.name}")
    return file


def _data(tensor: onnx.TensorProto, where: dict[str, str], file: IO[bytes], source: Path) -> bytes:
    """The bytes of one tensor; a stated length must be that of its shape."""
    needed, path = _size(tensor, source), source.with_name(where["location"])
    stated = {"offset": "0", "length": str(needed)} | where
    try:
        offset, length = (int(stated[key]) for key in ("offset", "length"))
    except ValueError:
        offset = length = -1
    if offset < 0 or length != needed or offset + length > os.fstat(file.fileno()).st_size:
        raise UserError(
            f"{path}: refused, the {needed:,} bytes of the tensor '{_shown(tensor.name)}' do not lie where {source.name} says"
        )
    file.seek(offset)
    return file.read(length)


def _shown(text: str) -> str:
    """A name from a file, for a sentence."""
    return repr(text[:_SHOWN])[1:-1]
