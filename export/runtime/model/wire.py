"""Protobuf's wire format, as far as ONNX needs it: reads and writes messages without the protobuf package.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Union

import numpy as np

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Field = tuple[int, Union[int, memoryview]]


class BadWire(ValueError):
    """The bytes are not protobuf."""


def fields(message: memoryview) -> Iterator[Field]:
    """Yield (field number, value) of one protobuf message; values of unknown use included."""
    for number, value, _ in pieces(message):
        yield number, value


def pieces(message: memoryview) -> Iterator[tuple[int, int | memoryview, memoryview]]:
    """Yield (field number, value, the field's own bytes) of one protobuf message."""
    at, end = 0, len(message)
    while at < end:
        start = at
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 2**29:  # protobuf itself would drop the higher bits, and see another field
            raise BadWire("a field number that protobuf does not know")
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value, message[start:at]
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise BadWire(f"wire type {wire}")
        if at + length > end:
            raise BadWire("a field reaches past the end")
        yield number, message[at : at + length], message[start : at + length]
        at += length


def message_of(value: int | memoryview) -> memoryview:
    """The value of a field that holds a message."""
    if isinstance(value, int):
        raise BadWire("a number stands where a message should")
    return value


def text_of(value: int | memoryview) -> str:
    """The value of a field that holds a text."""
    return bytes(message_of(value)).decode("utf-8")


def nested(message: memoryview, *path: int) -> Iterator[memoryview]:
    """The messages that the fields with these numbers lead to, one within the other."""
    if not path:
        yield message
        return
    for number, value in fields(message):
        if number == path[0]:
            yield from nested(message_of(value), *path[1:])


def first_text(message: memoryview, number: int) -> str:
    """The text of the first field with this number; empty if there is none."""
    return next((text_of(v) for n, v in fields(message) if n == number), "")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise BadWire("ends in the middle of a number")
        byte = message[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
    raise BadWire("a number of more than 64 bits")


def of_int(number: int, value: int) -> bytes:
    """A field that holds a whole number, which may be negative."""
    return _written(number << 3 | _VARINT) + _written(value)


def of_float(number: int, value: float) -> bytes:
    """A field that holds a float32."""
    return _written(number << 3 | _FIXED32) + struct.pack("<f", value)


def of_bytes(number: int, *parts: bytes | memoryview) -> bytes:
    """A field that holds bytes, or a message of these fields."""
    return b"".join((_written(number << 3 | _BYTES), _written(sum(map(len, parts))), *parts))


def of_text(number: int, text: str) -> bytes:
    """A field that holds a text."""
    return of_bytes(number, text.encode("utf-8"))


def of_ints(number: int, values: np.ndarray) -> bytes:
    """A field that holds a list of whole numbers (N,), packed."""
    shifts = 7 * np.arange(10, dtype=np.uint64)
    groups = values.astype(np.int64).view(np.uint64)[:, None] >> shifts  # of 7 bits, the lowest first
    lasts = (groups > 0).sum(axis=1).clip(1)[:, None] - 1
    order = np.arange(10)
    coded = (groups & np.uint64(0x7F)).astype(np.uint8) | np.where(order < lasts, 0x80, 0).astype(np.uint8)
    return of_bytes(number, coded[order <= lasts].tobytes())


def of_floats(number: int, values: np.ndarray) -> bytes:
    """A field that holds a list of float32 (N,), packed."""
    return of_bytes(number, values.astype("<f4").tobytes())


def _written(value: int) -> bytes:
    value &= 2**64 - 1
    coded = bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    coded.append(value)
    return bytes(coded)
