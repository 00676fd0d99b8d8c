"""Damaged files of arrays, modules and programs: a result or an error of our own, and quickly.

Every truncation and every single flipped byte of small files is tried in the contract of written
formats; here Hypothesis damages files of the formats that are only read, in several places.
"""

import functools
import io
import pickle
import tempfile
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hanging import processor_seconds

import converter
from converter.errors import ConverterError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.frameworks

SECONDS = 5.0
fuzzed = settings(
    max_examples=2 * settings().max_examples,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def arrays():
    random = np.random.default_rng(3)
    shapes = [((3, 2, 4), "f4"), ((7,), ">f8"), ((), "i8"), ((0, 3), "f2"), ((2, 3), "?")]
    return [random.normal(size=shape).astype(kind) for shape, kind in shapes]


def module():
    torch.manual_seed(1)
    norm = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 2))
    return torch.nn.Sequential(torch.nn.Conv1d(2, 3, 2), torch.nn.BatchNorm1d(3), norm)


def pickled(protocol):
    return pickle.dumps([*arrays(), {"a": arrays()[0]}], protocol)


def dumped(compress):
    buffer = io.BytesIO()
    joblib.dump({"weights": arrays(), "epoch": 3}, buffer, compress=compress)
    return buffer.getvalue()


def saved(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def scripted():
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # files of it stay, however deprecated it is
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(torch.nn.Conv1d(2, 3, 2)), buffer)
    return buffer.getvalue()


def npy():
    buffer = io.BytesIO()
    np.save(buffer, arrays()[0])
    return buffer.getvalue()


MAKERS = {
    **{f"pickle {protocol}": functools.partial(pickled, protocol) for protocol in range(6)},
    "joblib": functools.partial(dumped, 0),
    "joblib zlib": functools.partial(dumped, ("zlib", 3)),
    "joblib gzip": functools.partial(dumped, ("gzip", 3)),
    "joblib lz4": functools.partial(dumped, ("lz4", 3)),
    "npy": npy,
    "module": lambda: saved(torch.nn.Conv1d(2, 3, 2)),
    "old module": lambda: saved(torch.nn.Conv1d(2, 3, 2), _use_new_zipfile_serialization=False),
    "weight_norm": lambda: saved(module().state_dict()),
    "torchscript": scripted,
}


@functools.cache
def valid(name):
    if name == "joblib lz4":
        pytest.importorskip("lz4.frame")
    return MAKERS[name]()


def opens(data: bytes) -> bool:
    """Open and read everything; whether that went well. Other exceptions than ours are failures."""
    start = processor_seconds()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.bin"
        path.write_bytes(data)
        try:
            with np.errstate(all="ignore"), converter.open(path, norms="materialise") as found:
                for name in found.manifest.tensors:
                    found.read(name).tobytes()
                    found.release(name)
        except ConverterError:
            return False
        finally:
            assert processor_seconds() - start < SECONDS
    return True


@pytest.mark.parametrize("name", MAKERS)
def test_the_undamaged_file_is_read(name):
    assert opens(valid(name))


@pytest.mark.parametrize("name", MAKERS)
@fuzzed
@given(data=st.data())
def test_a_truncated_file_is_an_error_of_our_own(name, data):
    whole = valid(name)
    assert not opens(whole[: data.draw(st.integers(0, len(whole) - 1))])


@pytest.mark.parametrize("name", MAKERS)
@fuzzed
@given(data=st.data())
def test_flipped_bytes_are_never_more_than_an_error_of_our_own(name, data):
    changed = bytearray(valid(name))
    places = st.integers(0, len(changed) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=4)):
        changed[place] = data.draw(st.integers(0, 255))
    opens(bytes(changed))


@pytest.mark.parametrize("name", MAKERS)
@fuzzed
@given(data=st.data())
def test_parts_that_are_left_out_or_doubled_are_never_more_than_an_error(name, data):
    whole = valid(name)
    first, second = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    twice = data.draw(st.booleans())
    opens(whole[:second] + whole[first:] if twice else whole[:first] + whole[second:])
