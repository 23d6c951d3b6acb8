"""Reads pickles of numpy arrays and plain containers; everything else in them is refused.

A pickle is a program. This one may build dict, list, tuple, set, str, bytes, numbers, None and
numpy arrays and scalars of numbers, booleans or text. numpy's own unpickling does not run: what a
pickle says about an array is collected and checked here and the array is built from it. So it
does not matter under which numpy or Python the pickle was written either.
"""

import io
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stclip.errors import DataError

_SIMPLE_KINDS = "biufcSU"  # numbers, booleans, text; not objects (O), not records (V)
_NUMPY = np.ndarray | np.generic
_ORDERS = {"<": "<", ">": ">", "|": "|", "=": "="}


def is_pickle(content: bytes) -> bool:
    """Whether the bytes begin as a pickle of a container does, in any protocol."""
    return content[:1] in (b"\x80", b"(", b"]", b"}")


def load_pickle(content: bytes, where: str | Path, *, encoding: str = "latin1") -> Any:
    """The content of a pickle.

    Args:
        content: The pickle's bytes.
        where: For messages.
        encoding: Of Python 2's byte strings; `latin1` is what its numpy arrays need.

    Raises:
        DataError: the pickle asks for anything but arrays and plain containers, or is damaged.
    """
    try:
        return _finished(_Unpickler(io.BytesIO(content), str(where), encoding).load())
    except DataError:
        raise
    except Exception as error:  # a damaged or hostile pickle raises almost anything
        raise DataError(
            f"{where}: not a readable pickle of arrays and plain containers "
            f"({type(error).__name__}: {error}). Get it again."
        ) from None


class _Call:
    """A function whose attributes a pickle cannot reach."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} cannot be set")

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


class _Unpickler(pickle.Unpickler):
    """Gives out only builtin types and calls of its own, nothing that a pickle could change."""

    def __init__(self, file: io.BytesIO, where: str, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self._where = where
        self._known: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): "ndarray",  # only ever an argument
            ("numpy", "dtype"): _Call(self._dtype),
            ("collections", "OrderedDict"): dict,
            ("_codecs", "encode"): _Call(
                self._latin1
            ),  # how Python 3 writes bytes in Python 2's protocol
        }
        for module in ("numpy.core", "numpy._core"):  # before and since numpy 2
            self._known[f"{module}.multiarray", "_reconstruct"] = _Call(self._empty)
            self._known[f"{module}.multiarray", "scalar"] = _Call(self._scalar)
            self._known[f"{module}.numeric", "_frombuffer"] = _Call(self._from_buffer)
        for module in ("builtins", "__builtin__"):  # Python 3 and 2
            self._known[module, "set"] = set
            self._known[module, "frozenset"] = frozenset
            self._known[module, "bytes"] = _Call(lambda: b"")  # how Python 3 writes b"" for 2

    def find_class(self, module: str, name: str) -> Any:
        """What the pickle may call, under the names it knows them by."""
        try:
            return self._known[module, name]
        except KeyError:
            raise DataError(
                f"{self._where}: the pickle asks for {module}.{name}; only numpy arrays and plain "
                "containers are read. Do not load it in any other way before you know where it "
                "comes from."
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        """Refused: it would name something outside of the pickle."""
        raise DataError(
            f"{self._where}: the pickle refers to {pid!r} outside of it; only the file is read."
        )

    def _dtype(self, name: Any, *_: Any) -> "_DType":
        return _DType(self._where, np.dtype(_text(name)))

    def _empty(self, kind: Any, *_: Any) -> "_Array":
        _expect(kind == "ndarray", self._where, f"an array of type {kind!r}")
        return _Array(self._where)

    def _scalar(self, dtype: Any, content: Any) -> Any:
        return _array(self._where, (), dtype, content, order="C")[()]

    def _from_buffer(self, content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        return _array(self._where, shape, dtype, content, order=order)

    def _latin1(self, text: Any, encoding: Any) -> bytes:
        _expect(encoding == "latin1", self._where, f"text in {encoding!r}")
        return text.encode("latin1")


@dataclass
class _DType:
    """A dtype; its state in the pickle says the byte order."""

    where: str
    dtype: np.dtype[Any]

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, subdtype, names, fields, element size, alignment, flags[, metadata])
        order = _ORDERS.get(_text(state[1]))
        simple = order is not None and all(part is None for part in state[2:5])
        _expect(simple, self.where, f"a dtype with state {state!r}")
        assert order is not None
        size = state[5]
        if self.dtype.kind in "SU" and size > 0:  # text: its length stands in the state only
            width = size if self.dtype.kind == "S" else size // 4
            self.dtype = np.dtype(f"{order}{self.dtype.kind}{width}")
        elif order != "|":
            self.dtype = np.dtype(order + self.dtype.str[1:])


@dataclass
class _Array:
    """An array whose content follows as state."""

    where: str
    array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        *_, shape, dtype, fortran, content = state
        self.array = _array(self.where, shape, dtype, content, order="F" if fortran else "C")


def _array(where: str, shape: Any, dtype: Any, content: Any, *, order: Any) -> np.ndarray:
    """Build an array of what the pickle says, which has to fit together."""
    _expect(isinstance(dtype, _DType), where, f"an array of dtype {dtype!r}")
    kind = dtype.dtype
    _expect(kind.kind in _SIMPLE_KINDS and kind.itemsize > 0, where, f"an array of dtype {kind}")
    if isinstance(content, str):  # Python 2's bytes, decoded as latin1 above
        content = content.encode("latin1")
    _expect(isinstance(content, bytes | bytearray), where, f"an array of {type(content).__name__}")
    whole = isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)
    fits = whole and math.prod(shape) * kind.itemsize == len(content) and order in ("C", "F")
    _expect(fits, where, f"an array {shape!r} of {kind}, order {order!r}, in {len(content)} bytes")
    return np.frombuffer(content, kind).reshape(shape, order=order).copy()


def _text(name: Any) -> str:
    return name.decode("latin1") if isinstance(name, bytes) else str(name)


def _expect(holds: bool, where: str, found: str) -> None:
    if not holds:
        raise DataError(
            f"{where}: the pickle holds {found}; only arrays of numbers, booleans and text are "
            "read."
        )


def _finished(value: Any) -> Any:
    """Replace what stood for arrays by the arrays; nothing of another kind may be left."""
    if isinstance(value, _Array):
        _expect(value.array is not None, value.where, "an array without content")
        return value.array
    if isinstance(value, dict):
        return {_finished(key): _finished(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_finished(item) for item in value)
    if value is None or isinstance(value, str | bytes | int | float | complex | _NUMPY):
        return value
    raise pickle.UnpicklingError(f"{type(value).__name__} is no value")
