"""The verbs of Weightferry as plain functions.

A *source* or *like* is a path, an open checkpoint, a live Keras model, a ``torch.nn.Module``, a
state dict, a ``get_weights()`` list or, for *like* only, a factory such as
``keras.applications:DenseNet121``, which is built without allocating its weights.
"""

from __future__ import annotations

import os
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.algebra.base import Law
from converter.errors import UsageError
from converter.execution.conversion import Conversion
from converter.execution.deciding import Wanted, decide
from converter.execution.progress import Progress
from converter.formats.base import Checkpoint
from converter.formats.numpy_positions import is_nameless, named_after
from converter.formats.registry import FORMATS, Format, open_checkpoint, sniff, target_format
from converter.formats.torch_norms import with_norms
from converter.formats.wording import quoted
from converter.mapping.quantized import DEQUANTIZED
from converter.mapping.rules import Mapping
from converter.planning.part import require_rest
from converter.tensors.dtype import DType, get_dtype
from converter.tensors.manifest import Family, Manifest

if TYPE_CHECKING:
    from converter.execution.executor import Written
    from converter.validation.report import Report

Paths = Sequence[str | os.PathLike[str]]


def open(  # noqa: A001  # the word every user of files expects
    source: object,
    *,
    like: object = None,
    select: str | None = None,
    architecture: str | os.PathLike[str] | None = None,
    norms: str | None = None,
    dequantize: bool = False,
) -> Checkpoint:
    """Open a checkpoint; nothing but names, shapes and dtypes is read.

    Args:
        source: A path or something live, see the module.
        like: For a ``get_weights()`` list, live or in a file: the Keras model or checkpoint that
            gives it names.
        select: Which of several state dicts in one file (``"ema"``).
        architecture: A JSON architecture, or a Keras file, for a file that holds weights only.
        norms: ``"materialise"`` computes each weight that PyTorch keeps in the parts of
            weight_norm or spectral_norm; by default the parts are kept, and a notice says so.
        dequantize: Whether quantised Keras layers are read as the float32 numbers that their codes
            stand for; by default the codes are read.

    Raises:
        UnknownFormatError: If the content is of no known format.
        CheckpointError: If the file is broken, unsafe or holds no weights.
        UsageError: If ``source`` is nothing that holds weights.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if dequantize:
            select = _dequantized(path, select)
        found = open_checkpoint(path, select=select, architecture=_path(architecture))
    else:
        found = _open_live(source, like)
    return with_norms(_named(found, like), norms)


def _dequantized(path: Path, select: str | None) -> str:
    """Return what selects the numbers of a file that may hold codes."""
    if select is not None:
        raise UsageError("cannot select a part and dequantise: a file allows one or the other")
    found = sniff(path)
    if found.family != "keras" or found.id == "keras_legacy":
        raise UsageError(
            f"cannot dequantise {quoted(path.name)}: it is a {found.title}, and only Keras 3 files "
            "say how their codes are meant"
        )
    return DEQUANTIZED


def _open_live(source: object, like: object) -> Checkpoint:
    from converter.live.opening import open_live

    found = open_live(source, like)
    if found is None:
        raise UsageError(
            f"cannot open a {type(source).__name__}: it is no path, model, module, state dict or "
            "list of arrays"
        )
    return found


def _named(found: Checkpoint, like: object) -> Checkpoint:
    """Return arrays without names under those of a Keras model, where ``like`` is one."""
    if like is None or not is_nameless(found.manifest):
        return found
    model = like if isinstance(like, Manifest) else _open_like(like)
    if model is None:
        return found
    manifest = model if isinstance(model, Manifest) else model.manifest
    return named_after(found, model) if manifest.family == "keras" else found


def plan(
    source: object,
    *,
    mapping: Mapping | str | None = None,
    to: str | None = None,
    like: object = None,
    sizes: Dict[str, int] | None = None,
    dtype: str | DType | None = None,
    require: str | Law | None = None,
    mapping_folders: Paths = (),
    norms: str | None = None,
    only: str | None = None,
    prefix: str | None = None,
) -> Conversion:
    """Decide every step of a conversion; no value is read and nothing is written.

    Args:
        source: What to read, see the module.
        mapping: The name or path of a mapping, ``"by-kind"``, or ``None`` to find the one that
            covers the checkpoint, and else convert by kind.
        to: ``"torch"`` or ``"keras"``; by default the family of ``like``, or else the other
            family than the source's.
        like: What the target must look like, see the module.
        sizes: Sizes that shapes do not determine (``{"heads": 12}``).
        dtype: Type of floating-point targets, such as ``"bfloat16"``; kept by default.
        require: The weakest law allowed, such as ``"exact"``.
        mapping_folders: Further folders that hold mappings.
        norms: As in :func:`open`; by default weights in parts are computed on the way to Keras.
        only: A pattern of names on either side; the rest keeps the values that ``like`` has.
        prefix: ``OLD=NEW``: how names of the source begin, and how they shall.

    Raises:
        PlanError: With every reason why the two sides do not fit together.
        MappingError: If no mapping fits, or several do.
        CheckpointError: If the source cannot be read.
        UsageError: If the arguments contradict each other.
    """
    require_rest(only, like)
    wanted = Wanted(
        mapping,
        to,
        sizes or {},
        get_dtype(dtype) if dtype is not None else None,
        Law(require) if require is not None else None,
        tuple(Path(folder) for folder in mapping_folders),
        norms,
        only,
        prefix,
    )
    checkpoint = open(source, like=like, norms=norms)
    return decide(checkpoint, _open_like(like, meta=only is None), wanted)


def convert(
    source: object,
    target: str | os.PathLike[str],
    *,
    mapping: Mapping | str | None = None,
    to: str | None = None,
    like: object = None,
    sizes: Dict[str, int] | None = None,
    dtype: str | DType | None = None,
    require: str | Law | None = None,
    mapping_folders: Paths = (),
    norms: str | None = None,
    only: str | None = None,
    prefix: str | None = None,
    format: str | None = None,  # noqa: A002  # the word that every caller uses
    max_shard_size: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Plan and write in one call; see :func:`plan` and :meth:`Conversion.save`.

    Args:
        source: What to read, see the module.
        target: The file to write; its ending says the format.
        mapping: As in :func:`plan`, like all up to ``prefix``.
        to: By default what the format of the target can hold.
        like: See :func:`plan`.
        sizes: See :func:`plan`.
        dtype: See :func:`plan`.
        require: See :func:`plan`.
        mapping_folders: See :func:`plan`.
        norms: See :func:`plan`.
        only: See :func:`plan`.
        prefix: See :func:`plan`.
        format: Identifier of the target's format, where the ending does not say it.
        max_shard_size: Largest size of one file in bytes, or ``None`` for one file.
        force: Whether a target that exists is replaced.
        progress: Called with each progress event.
    """
    with open(source, like=like) as checkpoint:
        conversion = plan(
            checkpoint,
            mapping=mapping,
            to=to or default_family(target, like=like, format=format),
            like=like,
            sizes=sizes,
            dtype=dtype,
            require=require,
            mapping_folders=mapping_folders,
            norms=norms,
            only=only,
            prefix=prefix,
        )
        return conversion.save(
            target, format=format, max_shard_size=max_shard_size, force=force, progress=progress
        )


def validate(
    source: object,
    target: object,
    *,
    keras: object = None,
    torch: object = None,
    inputs: object = None,
    mapping: Mapping | str | None = None,
    seed: int = 0,
    like: object = None,
    architecture: str | os.PathLike[str] | None = None,
    mapping_folders: Paths = (),
    levels: Sequence[str] = (),
    rtol: float | None = None,
    atol: float | None = None,
    control_seconds: float = 20.0,
    keras_backend: str | None = None,
    keras_python: str | None = None,
    explain: bool = True,
) -> Report:
    """Say whether two checkpoints are the same model.

    Between the families, both models are run on the same inputs and their outputs compared. Where
    nothing says how to build the PyTorch module, and within one family, values are compared
    instead, bit for bit, through the plan.

    Args:
        source: One side, see the module.
        target: The other.
        keras: What builds the Keras model: a factory, or a live model to be filled. Not needed for
            ``.keras`` files and for architectures of the library.
        torch: What builds the PyTorch module; not needed for architectures of the library.
        inputs: Arrays by Keras input name, or a file of them, of images or of ids; else random.
        mapping: As in :func:`plan`.
        seed: Of the random inputs and weights.
        like: For a ``get_weights()`` list: the model that gives it names.
        architecture: As in :func:`open`, for the side that needs it.
        mapping_folders: Further folders that hold mappings.
        levels: Which of ``mapping``, ``structure``, ``values``, ``outputs-random`` and ``outputs``
            to run; by default the strongest that can be run, and the first two.
        rtol: Relative difference of an element that is allowed, in the place of the noise floor.
        atol: Absolute difference of an element that is allowed, likewise.
        control_seconds: How long plans broken on purpose may take, in seconds; 0 for none.
        keras_backend: Run Keras in a process of its own on ``torch``, ``tensorflow`` or ``jax``.
        keras_python: The interpreter of that process, by default this one.
        explain: Whether to look for the layers that differ, and why, where outputs do.

    Raises:
        UsageError: If a model cannot be built or run, or a level is unknown or cannot be run.
        MappingError: If the mapping that was named cannot be used.
    """
    from converter.validation.asking import ask
    from converter.validation.checkpoints import validate_checkpoints

    asked = ask(
        levels,
        inputs=inputs,
        mapping=mapping,
        folders=tuple(Path(folder) for folder in mapping_folders),
        seed=seed,
        tolerances=(rtol, atol),
        control_seconds=control_seconds,
        keras_process=(keras_backend, keras_python),
        explain=explain,
    )
    with (
        open_side(source, like, architecture) as first,
        open_side(target, like, architecture) as second,
    ):
        factories: dict[Family, object] = {"keras": keras, "torch": torch}
        return validate_checkpoints(first, second, factories=factories, asked=asked)


def open_side(source: object, like: object, architecture: object) -> Checkpoint:
    """Open one side of a comparison, with the architecture where it needs one.

    Raises:
        UsageError: If its arrays have no names.
    """
    found = open(source, like=like)
    is_bare = found.manifest.family == "keras" and all(
        layer.class_name is None for layer in found.manifest.layers
    )
    if architecture is not None and (is_bare or is_nameless(found.manifest)):
        found.close()
        found = open(source, like=like, architecture=_path(architecture))
    if is_nameless(found.manifest):
        found.close()
        raise UsageError(
            f"cannot compare {found.label}: its arrays have no names",
            hint="say whose get_weights() they are (--architecture model.keras)",
        )
    return found


def default_family(
    target: str | os.PathLike[str],
    *,
    like: object = None,
    format: str | None = None,  # noqa: A002  # the word that every caller uses
) -> Family:
    """Return whose names and layouts a new file gets when nobody says it.

    What the format can hold decides; then what the target shall look like. A file of a format that
    holds both (safetensors, npz) is written for PyTorch.

    Args:
        target: The file to write.
        like: What the target must look like, or ``None``.
        format: Identifier of the target's format, where the ending does not say it.
    """
    family = target_format(target, format).family
    if family is not None:
        return family
    model = _open_like(like)
    if model is not None and model.manifest.family is not None:
        return model.manifest.family
    return "torch"


def list_formats() -> tuple[Format, ...]:
    """Return every format: what is read, what is written, what must be installed for it."""
    return FORMATS


def _open_like(like: object, *, meta: bool = True) -> Checkpoint | None:
    from converter.live.factory import build, is_factory

    if like is None or isinstance(like, Checkpoint):
        return like
    if isinstance(like, str) and is_factory(like):
        return open(build(like, {}, family=None, meta=meta))
    return open(like)


def _path(path: Any) -> Path | None:
    return None if path is None else Path(path)
