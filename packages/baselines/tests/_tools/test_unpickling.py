"""Pickles as torch and numpy write them, and pickles that ask for something else."""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rbox_baselines._tools._unpickling import Array, load
from rbox_baselines.errors import ResultsError

pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")  # of pickle.dumps


def read(tmp_path: Path, content: bytes) -> Any:
    path = tmp_path / "results.pkl"
    path.write_bytes(content)
    return load(path)


def plain(value: Any) -> Any:
    """The same with the arrays out of their holders."""
    if isinstance(value, Array):
        return value.values
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return type(value)(plain(each) for each in value) if type(value) in (list, tuple) else value


TENSORS = {
    "floats": torch.arange(15.0).reshape(3, 5),
    "half": torch.tensor([0.5, 1.25], dtype=torch.float16),
    "bfloat16": torch.tensor([0.5, 1.25], dtype=torch.bfloat16),
    "labels": torch.tensor([3, 1, 2]),
    "flags": torch.tensor([True, False]),
    "empty": torch.zeros(0, 5),
    "part": torch.arange(24.0).reshape(4, 6)[1:, :5],
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "gradient": torch.ones(2, requires_grad=True),
    "scalar": torch.tensor(2.5),
}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", TENSORS)
def test_tensors(tmp_path: Path, name: str, protocol: int) -> None:
    found = plain(read(tmp_path, pickle.dumps({"a": TENSORS[name]}, protocol=protocol)))["a"]
    assert found.tolist() == TENSORS[name].tolist()
    assert found.shape == tuple(TENSORS[name].shape)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@settings(max_examples=25)
@given(
    array=hnp.arrays(
        st.sampled_from(["f4", ">f8", "i8", "u1", "?"]), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)
    ),
    by_columns=st.booleans(),
)
def test_arrays(tmp_path_factory: pytest.TempPathFactory, protocol: int, array: np.ndarray, by_columns: bool) -> None:
    array = np.asfortranarray(array) if by_columns else array
    found = plain(read(tmp_path_factory.mktemp("arrays"), pickle.dumps([array], protocol=protocol)))[0]
    np.testing.assert_array_equal(found, array)
    assert found.shape == array.shape


@pytest.mark.parametrize("protocol", [2, 5])
def test_plain_values(tmp_path: Path, protocol: int) -> None:
    values = [
        {"img_id": "P0001", "img_path": "/data/ü.png", "ori_shape": (96, 64), "flip": None, "scale_factor": (1.5, 1.5)},
        [True, 1, -(2**70), 2.5, b"", b"\xff\x00", {"counts": b"a"}, torch.Size([2, 3]), np.float32(0.5), np.int64(7)],
        OrderedDict(a=1),
    ]
    assert plain(read(tmp_path, pickle.dumps(values, protocol=protocol))) == values


def test_arrays_of_numpy_before_2(tmp_path: Path) -> None:
    content = pickle.dumps([np.arange(3.0), np.float64(2)], protocol=2)
    assert content.count(b"numpy._core.multiarray") == 2
    found = plain(read(tmp_path, content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")))
    assert found[0].tolist() == [0, 1, 2]
    assert found[1] == 2


class Reduced:
    """Pickled as a call of a function."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> tuple:
        return self.reduced


def as_call(module: str, name: str, arguments: tuple, state: object = None) -> bytes:
    """A pickle that calls any function with any arguments, also one that cannot be pickled; then sets a state."""
    inner = pickle.dumps(arguments, protocol=2)[2:-1]
    build = b"" if state is None else pickle.dumps(state, protocol=2)[2:-1] + b"b"
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + inner + b"R" + build + b"."


def nested(value: object) -> bytes:
    """What a tensor's numbers are in a pickle, with another object in their place."""
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def numbers() -> bytes:
    buffer = io.BytesIO()
    torch.save(torch.zeros(4)._typed_storage(), buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


# Written beside the pickle when one of these is run after all.
MARK = "ran"
CALLS: dict[str, Callable[[str], bytes]] = {
    "os.system": lambda mark: pickle.dumps([Reduced(os.system, (f"touch {mark}",))]),
    "posix.system": lambda mark: as_call("posix", "system", (f"touch {mark}",)),
    "builtins.eval": lambda mark: pickle.dumps(Reduced(eval, (f"open({mark!r}, 'w')",))),
    "__builtin__.eval": lambda mark: as_call("__builtin__", "eval", (f"open({mark!r}, 'w')",)),
    "builtins.getattr": lambda mark: as_call("builtins", "getattr", ("os", "system")),
    "a name of a name": lambda mark: b"\x80\x04\x8c\x05torch\x8c\x0ehub.download_u\x93.",
    "torch.load": lambda mark: as_call("torch.serialization", "load", (mark,)),
    "a class": lambda mark: pickle.dumps(Path(mark)),
    "copyreg": lambda mark: pickle.dumps(Reduced(Array, ()), protocol=1),
    "an instance": lambda mark: f"(S'touch {mark}'\nios\nsystem\n.".encode(),
    "a new object": lambda mark: b"\x80\x02csubprocess\nPopen\n)\x81.",
    "a name by number": lambda mark: b"\x80\x02\x82\x01.",
    "an object elsewhere": lambda mark: b"\x80\x02Pname\n.",
    "a function within a tensor's numbers": lambda mark: as_call(
        "torch.storage", "_load_from_bytes", (nested(Reduced(os.system, (f"touch {mark}",))),)
    ),
    "a function within a tensor's numbers, as a plain pickle": lambda mark: as_call(
        "torch.storage", "_load_from_bytes", (as_call("os", "system", (f"touch {mark}",)),)
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_run(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResultsError, match="expected"):
        read(tmp_path, CALLS[name](MARK))
    assert not (tmp_path / MARK).exists()


def test_the_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ResultsError, match=r"results.pkl: .* asks for (posix|nt)\.system\n.*Nothing of the file was run"
    ):
        read(tmp_path, pickle.dumps(Reduced(os.system, ("true",))))
    with pytest.raises(ResultsError, match=r"asks for (posix|nt)\.system within it\n.*Nothing of the file was run"):
        read(tmp_path, CALLS["a function within a tensor's numbers"](MARK))


ZIPPED = io.BytesIO()
torch.save(torch.zeros(2), ZIPPED)
F4 = Reduced(np.dtype, ("f4", False, True), (3, "<", None, None, None, -1, -1, 0))

MISUSED = {
    "objects": pickle.dumps(np.array([{}, []], dtype=object)),
    "texts": pickle.dumps(np.array(["a"])),
    "structures": pickle.dumps(np.zeros(2, dtype=[("a", "f4")])),
    "a masked array": pickle.dumps(np.ma.zeros(2)),
    "a matrix": pickle.dumps(np.zeros((2, 2)).view(np.matrix)),
    "bytes in another encoding": as_call("_codecs", "encode", ("a", "rot13")),
    "bytes of a number": as_call("__builtin__", "bytes", (10**12,)),
    "a dict of pairs": as_call("collections", "OrderedDict", ([("a", 1)],)),
    "a size of anything": as_call("torch", "Size", ("abc",)),
    "a dtype of anything": as_call("numpy", "dtype", ([("a", "O")],)),
    "a dtype with a state": as_call(
        "numpy", "dtype", ("f4", False, True), (4, "<", None, None, None, -1, -1, 0, {"a": 1})
    ),
    "an array's class, called": as_call("numpy", "ndarray", ((10**6, 10**6),)),
    "an array of no class": as_call("numpy.core.multiarray", "_reconstruct", (None, (0,), b"b")),
    "too few bytes": as_call("numpy.core.numeric", "_frombuffer", (b"123", F4, (1,), "C")),
    "a huge array": as_call("numpy.core.numeric", "_frombuffer", (b"1234", F4, (10**9, 10**9), "C")),
    "sides below 0": as_call("numpy.core.numeric", "_frombuffer", (b"1234", F4, (-1, -1), "C")),
    "a scalar of nothing": as_call("numpy.core.multiarray", "scalar", (F4, b"")),
    "a function that is changed": pickle.dumps("x", protocol=2)[:2] + b"cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.",
    "a new one of a function": b"\x80\x02cnumpy\ndtype\n)\x81.",
    "a dict that is changed": as_call("collections", "OrderedDict", (), {"a": 1}),
    "numbers in a zip": as_call("torch.storage", "_load_from_bytes", (ZIPPED.getvalue(),)),
    "numbers that are a tensor": as_call("torch.storage", "_load_from_bytes", (nested(torch.zeros(2)),)),
    "numbers that are a dict": as_call("torch.storage", "_load_from_bytes", (nested({"a": 1}),)),
    "numbers cut short": as_call("torch.storage", "_load_from_bytes", (numbers()[:-8],)),
    "numbers that are none": as_call("torch.storage", "_load_from_bytes", (5,)),
    "a tensor of no numbers": as_call("torch._utils", "_rebuild_tensor_v2", (None, 0, (2,), (1,), False, {})),
}


@pytest.mark.parametrize("name", MISUSED)
def test_allowed_names_take_no_more_than_arrays_need(tmp_path: Path, name: str) -> None:
    with pytest.raises(ResultsError, match="expected"):
        read(tmp_path, MISUSED[name])


@pytest.mark.parametrize(
    "offset, size, stride",
    [
        (0, (5,), (1,)),
        (3, (2,), (1,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (3, 1)),
        (0, (10**12,), (0,)),
        (0, (2**33, 2**33), (0, 0)),
        (0, (-1,), (1,)),
        (0.5, (1,), (1,)),
        (0, "ab", (1,)),
    ],
)
def test_a_tensor_stays_within_its_four_numbers(tmp_path: Path, offset: Any, size: Any, stride: Any) -> None:
    def tensor(offset: Any, size: Any, stride: Any) -> bytes:
        storage = as_call("torch.storage", "_load_from_bytes", (numbers(),))[2:-1]
        others = b"".join(pickle.dumps(each, protocol=2)[2:-1] for each in (offset, size, stride, False, {}))
        return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + others + b"tR."

    assert plain(read(tmp_path, tensor(1, (3,), (1,)))).tolist() == [0, 0, 0]
    with pytest.raises(ResultsError, match="expected"):
        read(tmp_path, tensor(offset, size, stride))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02Nr" + struct.pack("<I", 2**32 - 1) + b".",
        b"\x80\x02Np99999999999\n.",
        b"\x80\x02]" + b"(" * 10**5 + b".",
        b"\x80\x05\x8e" + struct.pack("<Q", 2**60) + b"ab",
        pickle.dumps({"a": [1, 2]})[:-3],
        b"",
        b"not a pickle",
    ],
    ids=["far place", "far place in digits", "marks", "long bytes", "cut short", "empty", "text"],
)
def test_what_is_broken_says_so(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ResultsError, match=r"results\.pkl: expected"):
        read(tmp_path, content)


def test_deep_and_circular_values_do_no_harm(tmp_path: Path) -> None:
    assert isinstance(read(tmp_path, b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b"."), list)
    itself: list = []
    itself.append(itself)
    assert isinstance(read(tmp_path, pickle.dumps(itself)), list)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="expected a file of results, found none"):
        load(tmp_path / "none.pkl")
