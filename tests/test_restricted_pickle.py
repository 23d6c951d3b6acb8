"""Pickles: arrays and plain containers come through, every way to run something else does not."""

import collections
import datetime
import functools
import io
import os
import pickle
import pickletools
import struct
from pathlib import Path

import numpy as np
import pytest

from stclip.errors import DataError
from stclip.storage.restricted_pickle import load_pickle

PLAIN = {
    "labels": ["clap", "sit"],
    "nframes": {"clap/a": 3, "sit/ü": 2},
    "pair": (1.5, None, True, 10**30),
    "set": {1, 2},
    "bytes": b"\x00\xff",
    "ordered": collections.OrderedDict(b=1, a=2),
}
ARRAYS = {
    "tube": np.arange(15, dtype=np.float32).reshape(3, 5),
    "big endian": np.arange(4, dtype=">i4"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "none": np.zeros((0, 5), np.float32),
    "point": np.array(7),
    "flags": np.array([True, False]),
    "text": np.array(["ab", "c"]),
    "bytes": np.array([b"ab", b"c"]),
    "scalar": np.float32(1.5),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_containers_and_arrays_of_every_protocol(protocol: int) -> None:
    content = pickle.dumps({"plain": PLAIN, "arrays": ARRAYS}, protocol)
    found = load_pickle(content, "a.pkl")
    assert found["plain"] == PLAIN
    for name, array in ARRAYS.items():
        assert found["arrays"][name].dtype == array.dtype, name
        assert np.array_equal(found["arrays"][name], array), name


def python2(tube: np.ndarray) -> bytes:
    """{"a": [tube]} as Python 2 and an old numpy wrote it: protocol 2, byte strings, old names."""

    def text(content: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(content)) + content  # BINSTRING

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    dtype = (
        b"cnumpy\ndtype\n" + text(b"f4") + number(0) + number(1) + b"\x87R"
        + b"(" + number(3) + text(b"<") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    )  # fmt: skip
    shape = number(tube.shape[0]) + number(tube.shape[1]) + b"\x86"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n"
        + number(0) + b"\x85" + text(b"b") + b"\x87R"
        + b"(" + number(1) + shape + dtype + b"\x89" + text(tube.tobytes()) + b"tb"
    )  # fmt: skip
    return b"\x80\x02}" + text(b"a") + b"]" + array + b"as."


def test_a_pickle_of_python_2_and_an_old_numpy() -> None:
    tube = np.array([[1, 0, 31, 72, 319], [2, 200.5, 255, -1, 1e9]], np.float32)
    content = python2(tube)
    pickletools.dis(content, io.StringIO())  # it is a well-formed pickle
    found = load_pickle(content, "a.pkl")
    assert list(found) == ["a"]
    assert found["a"][0].dtype == np.float32
    assert np.array_equal(found["a"][0], tube)
    # and numpy itself reads the same from it
    assert np.array_equal(pickle.loads(content, encoding="latin1")["a"][0], tube)


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> object:
        return self.reduced


@pytest.mark.parametrize(
    ("evil", "name"),
    [
        (Calls(os.system, "touch PROOF"), r"(posix|nt)\.system"),
        (Calls(eval, "open('PROOF', 'w')"), r"(__builtin__|builtins)\.eval"),
        (Calls(exec, "open('PROOF', 'w')"), r"(__builtin__|builtins)\.exec"),
        (Calls(open, "PROOF", "w"), r"(io|_io)\.open"),
        (Calls(getattr, [], "append"), r"(__builtin__|builtins)\.getattr"),
        (Calls(functools.partial, print), r"functools\.partial"),
        (Calls(np.load, "evil.npy"), r"numpy\.load"),
        (Calls(np.memmap, "PROOF"), r"numpy\.memmap"),
        (Calls(np.fromfile, "PROOF"), r"numpy.*\.fromfile"),
        (datetime.date(2024, 1, 1), r"datetime\.date"),
        (Path("PROOF"), r"pathlib.*\.(Posix|Windows)?Path"),
        (np.random.default_rng(0), r"numpy\.random"),
        (np.ma.masked_array([1]), r"numpy\.ma"),
        (bytearray(b"x"), r"(__builtin__|builtins)\.bytearray"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_everything_else_is_refused_by_name(
    evil: object, name: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"a\.pkl: the pickle asks for {name}"):
        load_pickle(pickle.dumps([evil], protocol), "a.pkl")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray", "numpy"])
@pytest.mark.parametrize(
    "name", ["__builtins__", "sys.modules", "_reconstruct.__globals__", "os", "f2py", "load"]
)
def test_a_door_through_an_allowed_module_stays_shut(module: str, name: str) -> None:
    content = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
    content += b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93."  # STACK_GLOBAL
    with pytest.raises(DataError, match=r"the pickle asks for numpy"):
        load_pickle(content, "a.pkl")


def test_arrays_of_objects_are_refused() -> None:
    content = pickle.dumps(np.array([Calls(os.getcwd)], dtype=object))
    with pytest.raises(DataError, match=r"asks for (posix|nt)\.getcwd"):
        load_pickle(content, "a.pkl")
    content = pickle.dumps(np.array([[1], None], dtype=object))
    with pytest.raises(DataError, match="the pickle holds an array of dtype object"):
        load_pickle(content, "a.pkl")


def test_records_are_refused() -> None:
    content = pickle.dumps(np.zeros(2, dtype=[("a", "i4")]))
    with pytest.raises(DataError, match="the pickle holds a dtype with state"):
        load_pickle(content, "a.pkl")


def _replaced(old: bytes, new: bytes) -> bytes:
    content = pickle.dumps(np.arange(4, dtype=np.int32), 2)
    assert old in content
    return content.replace(old, new)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_replaced(b"K\x04\x85", b"K\x7f\x85"), r"an array \(127,\) of int32.* in 16 bytes"),
        (_replaced(b"K\x04\x85", b"J\xff\xff\xff\xff\x85"), r"an array \(-1,\)"),
        (_replaced(b"i4", b"O8"), "an array of dtype object"),
        (_replaced(b"latin1", b"zlib__"), "text in 'zlib__'"),
        (pickle.dumps(ARRAYS, 2)[:-40], "not a readable pickle"),
        (b"", "not a readable pickle"),
        (b"<html>", "not a readable pickle"),
        (b"\x80\x02cnumpy\ndtype\n}S'__doc__'\nS'x'\nsb.", "not a readable pickle"),
        (b"\x80\x02c__builtin__\nset\n}S'add'\nS'x'\nsb.", "not a readable pickle"),
        (b"\x80\x02]q\x00h\x00a.", "not a readable pickle"),  # a list that holds itself
        (b"\x80\x02U\x01xQ.", "refers to 'x' outside of it"),
        (b"\x80\x02cnumpy\ndtype\nN}S'_function'\nS'x'\ns\x86b.", "_function cannot be set"),
        (b"\x80\x02cnumpy\ndtype\n.", "_Call is no value"),
        (b"\x80\x02cnumpy\ndtype\nU\x02f4\x85R.", "_DType is no value"),
        (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x85R.", "without"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=rf"a\.pkl: .*{message}"):
        load_pickle(content, "a.pkl")
