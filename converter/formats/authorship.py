"""Which program wrote a file, with its version, as far as the file or its structure tells.

Formats differ in what they record: a version (Keras, ONNX), marks that came with a version (the
records of ``torch.save``, the names in a Keras weights file), or nothing. What is only implied by
marks is said as a range, and what nothing shows is not guessed.

Source: PyTorch ``docs/source/notes/serialization.rst`` (``byteorder`` since 2.1.0) and pull request
143879 (``.format_version``, January 2025, after the branch of 2.6); keras 3.15.1 ``saving_lib.py``
and ``legacy/saving/legacy_h5_format.py``; NumPy 2.0 release notes (``numpy._core``); joblib 0.10
release notes (arrays inside the pickle).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Final

from converter.formats.wording import MAX_SHOWN, quoted

_BACKENDS: Final = {
    "tensorflow": "TensorFlow",
    "theano": "Theano",
    "cntk": "CNTK",
    "torch": "PyTorch",
    "jax": "JAX",
    "numpy": "NumPy",
    "mxnet": "MXNet",
}
# Value of ``format`` in the metadata of safetensors files to the library that saved the tensors.
_SAVED_FROM: Final = {
    "pt": "PyTorch",
    "tf": "TensorFlow",
    "flax": "Flax",
    "np": "NumPy",
    "mlx": "MLX",
    "paddle": "PaddlePaddle",
}
RECORD: Final = "weightferry"  # key of the record that a conversion leaves


def converted(metadata: Mapping[str, str], foreign: str | None) -> str | None:
    """Return who wrote a file: this tool, where its record is there, else ``foreign``.

    Examples:
        >>> converted({"weightferry": '{"tool": "weightferry", "version": "1.2"}'}, "Keras 3.6.0")
        'Weightferry 1.2, in the form of Keras 3.6.0'
        >>> converted({}, None) is None
        True
    """
    text = metadata.get(RECORD)
    if text is None or len(text) > 2**16:
        return foreign
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return foreign
    version = record.get("version") if isinstance(record, dict) else None
    if not isinstance(version, str):
        return foreign
    ours = f"Weightferry {_plain(version)}"
    return f"{ours}, in the form of {foreign}" if foreign is not None else ours


def of_keras(
    version: str | None, *, backend: str | None = None, has_backslashes: bool = False
) -> str:
    """Return what wrote a Keras file that records its version.

    Examples:
        >>> of_keras("2.1.3", backend="tensorflow"), of_keras("2.2.4-tf")
        ('Keras 2.1.3 (TensorFlow)', 'tf.keras 2.2.4')
        >>> of_keras("2.15.0", has_backslashes=True)
        'Keras 2.15.0 on Windows'
    """
    if version is None:
        name = "Keras (no version recorded)"
    elif version.endswith("-tf"):
        name, backend = f"tf.keras {_plain(version.removesuffix('-tf'))}", None
    else:
        name = f"Keras {_plain(version)}"
    if backend is not None:
        name += f" ({_BACKENDS.get(backend, _plain(backend))})"
    return f"{name} on Windows" if has_backslashes else name


def of_keras_1(version: str | None, weights: Collection[str]) -> str:
    """Return what wrote a file of Keras 1, which may say nothing but the names of its weights.

    Examples:
        >>> of_keras_1(None, ["dense_1_W:0"]), of_keras_1("1.2.2", ["dense_1_W"])
        ('Keras 1 (no version recorded, TensorFlow)', 'Keras 1.2.2 (Theano)')
    """
    backend = "TensorFlow" if any(name.endswith(":0") for name in weights) else "Theano"
    if version is None:
        return f"Keras 1 (no version recorded, {backend})"
    return f"Keras {_plain(version)} ({backend})"


def of_keras_3_weights(names: Collection[str | None], datasets: Collection[str]) -> str:
    """Return what wrote a weights file of Keras 3, which records no version.

    Args:
        names: The ``name`` attributes of its groups.
        datasets: Paths of its datasets.

    Examples:
        >>> of_keras_3_weights(["dense"], ["layers/dense/vars/0"])
        'Keras 3.6 or later (no version recorded; its layers have names)'
    """
    where = " on Windows" if any("\\" in path for path in datasets) else ""
    if any(name is not None for name in names):
        return f"Keras 3.6 or later{where} (no version recorded; its layers have names)"
    return f"Keras 3.0 to 3.5 or tf.keras{where} (no version recorded; its layers have no names)"


def of_torch_zip(records: Collection[str], protocol: int | None) -> str:
    """Return what wrote a checkpoint of PyTorch, by the records beside its pickle.

    Examples:
        >>> of_torch_zip({"data.pkl", "version", "byteorder"}, 2)
        'PyTorch 2.1 to 2.6, or a program that writes as it does (pickle protocol 2)'
    """
    if ".format_version" in records:
        version = "2.7 or later"
    elif "byteorder" in records:
        version = "2.1 to 2.6"
    else:
        version = "1.6 to 2.0"
    shown = "" if protocol is None else f" (pickle protocol {protocol})"
    return f"PyTorch {version}, or a program that writes as it does{shown}"


def of_torchscript(version: str) -> str:
    """Return what wrote a TorchScript archive."""
    return f"PyTorch, torch.jit.save (file version {_plain(version)})"


def of_torch_legacy(protocol: int | None) -> str:
    """Return what wrote a checkpoint in the format before the zip."""
    shown = "" if protocol is None else f" (pickle protocol {protocol})"
    return f"PyTorch before 1.6, or a later one asked for the old format{shown}"


def of_safetensors(metadata: Mapping[str, str]) -> str | None:
    """Return which library saved a safetensors file; its version is never recorded.

    Examples:
        >>> of_safetensors({"format": "pt"}), of_safetensors({})
        ("a safetensors writer for PyTorch (format 'pt', no version recorded)", None)
    """
    said = metadata.get("format")
    if said is None:
        return None
    library = _SAVED_FROM.get(said, "another library")
    return f"a safetensors writer for {library} (format {quoted(said)}, no version recorded)"


def of_onnx(producer: str, version: str, opset: int | None, ir_version: int) -> str:
    """Return what wrote an ONNX model.

    Examples:
        >>> of_onnx("pytorch", "1.11", 9, 4), of_onnx("", "", None, 8)
        ('pytorch 1.11 (opset 9, IR version 4)', 'a program that gives no name (IR version 8)')
    """
    name = f"{_plain(producer)} {_plain(version)}".strip() or "a program that gives no name"
    shown = f"opset {opset}, " if opset is not None else ""
    return f"{name} ({shown}IR version {ir_version})"


def of_numpy(formats: Collection[str]) -> str:
    """Return what wrote arrays in NumPy's own format.

    Examples:
        >>> of_numpy({"1.0"})
        'NumPy, or a program that writes as it does (array format 1.0)'
    """
    shown = ", ".join(sorted(formats))
    return f"NumPy, or a program that writes as it does (array format {shown})"


def of_pickle(named: Collection[str], protocol: int | None, compression: str | None) -> str:
    """Return what wrote a pickle of arrays, by the functions that it names.

    Examples:
        >>> of_pickle({"numpy._core.multiarray._reconstruct", "numpy.dtype"}, 4, None)
        'pickle with NumPy 2.0 or later (pickle protocol 4)'
        >>> of_pickle({"joblib.numpy_pickle.NumpyArrayWrapper"}, 4, "lz4")
        'joblib 0.10 or later (lz4, pickle protocol 4)'
        >>> of_pickle({"joblib.numpy_pickle.NDArrayWrapper"}, 2, None)
        'joblib before 0.10 (pickle protocol 2)'
    """
    wrappers = {name.rpartition(".")[2] for name in named if "joblib" in name}
    writer = "joblib 0.10 or later" if wrappers else "pickle"
    if "NDArrayWrapper" in wrappers:
        writer = "joblib before 0.10"
    if any(name.startswith("numpy._core.") for name in named):
        writer += " with NumPy 2.0 or later"
    elif any(name.startswith("numpy.core.") for name in named):
        writer += " with NumPy before 2.0"
    details = [compression] if compression is not None else []
    details.append(f"pickle protocol {'0 or 1' if protocol is None else protocol}")
    return f"{writer} ({', '.join(details)})"


def protocol_of(pickle: bytes | memoryview) -> int | None:
    r"""Return the protocol that a pickle says, ``None`` for the first two, which say none.

    Examples:
        >>> protocol_of(b"\x80\x04K\\x01."), protocol_of(b"(lp0\n.")
        (4, None)
    """
    return pickle[1] if len(pickle) > 1 and pickle[0] == 0x80 else None


def _plain(text: str) -> str:
    """Return a foreign text made safe to print, without quotes."""
    return quoted(text[:MAX_SHOWN])[1:-1]
