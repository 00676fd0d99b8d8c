"""Keras 1 files: their arrays under the names and in the layouts of Keras 3.

A file with its architecture says in which order a kernel's axes are. One with weights only does
not, and no file says whether Theano computed with it, whose kernels are turned by 180 degrees. What
shapes and names tell is proposed in a notice, together with the option that decides otherwise.

Source: keras 1.2.2 ``engine/topology.py``, ``save_weights_to_hdf5_group``: TensorFlow ends the
names of variables in ``:0``, Theano does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from converter.errors import UsageError
from converter.formats.hdf5_assembly import Assembly
from converter.formats.hdf5_types import Hdf5Dataset
from converter.formats.keras_1_arrays import ordering_of, variables_of
from converter.formats.keras_1_config import class_now, class_of_automatic, names_now
from converter.formats.keras_1_evidence import class_of_arrays
from converter.formats.keras_1_facts import ARRAYS, RECIPES, Recipe
from converter.formats.keras_config import ConfigLayer
from converter.formats.wording import quoted

Weights = Mapping[str, list[tuple[str, str]]]

_ARRAY = "|".join(sorted(map(re.escape, ARRAYS), key=len, reverse=True))
_NAME = re.compile(rf"(?P<owner>.+?)_(?P<array>{_ARRAY})(?:_\d+)?")
_CHOICE = re.compile(r"(?:(?P<order>th|tf)_dim_ordering)?_?(?:(?P<kernels>th|tf)_kernels)?")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is to be read, as far as somebody said so.

    Attributes:
        is_th: Whether dimensions are ordered as in Theano.
        is_turned: Whether kernels are those of Theano.
    """

    is_th: bool | None = None
    is_turned: bool | None = None

    @classmethod
    def parse(cls, text: str | None, name: str) -> Reading:
        """Read a choice, in the words with which Keras 1 weights were published.

        Raises:
            UsageError: If it is none.

        Examples:
            >>> Reading.parse("tf_dim_ordering_th_kernels", "a.h5")
            Reading(is_th=False, is_turned=True)
        """
        found = _CHOICE.fullmatch(text) if text else None
        if text is not None and (found is None or not text.strip("_")):
            raise UsageError(
                f"cannot select {quoted(text)} in {quoted(name)}: a Keras file is one model",
                hint="only how a file of Keras 1 is read can be chosen: th_dim_ordering or "
                "tf_dim_ordering, th_kernels or tf_kernels",
            )
        parts = found.groupdict() if found is not None else {}
        order, kernels = parts.get("order"), parts.get("kernels")
        return cls(order == "th" if order else None, kernels == "th" if kernels else None)


@dataclass(slots=True)
class Upgraded:
    """The weights of a Keras 1 file as Keras 3 would have them.

    Attributes:
        weights: Layer to its weights: name, and path of the dataset or of what is made.
        made: What is made of datasets, by path.
        classes: Layer to its class, where only its arrays tell it.
        notices: What was assumed.
        is_th: Whether dimensions of its images are ordered as in Theano; ``None`` without images.
    """

    weights: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    made: dict[str, Assembly] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    is_th: bool | None = None


def is_keras_1(version: str | None, root_version: str | None, weights: Weights) -> bool:
    """Whether Keras 1 wrote a file.

    Args:
        version: The attribute ``keras_version`` beside the weights, where Keras 2 writes it.
        root_version: The same of the whole file, where Keras 1.2 writes it.
        weights: All weights.
    """
    if version is not None:
        return False
    if root_version is not None:
        return root_version.startswith("1.")
    names = [name for values in weights.values() for name, _ in values]
    return not any("/" in name for name in names)


def upgrade_weights(
    weights: Weights,
    datasets: Mapping[str, Hdf5Dataset],
    model: ConfigLayer | None,
    reading: Reading,
) -> Upgraded:
    """Make the weights of a Keras 1 file those of Keras 3.

    Args:
        weights: Layer name to its weights: name as written and path of the dataset.
        datasets: Path to dataset.
        model: The architecture in the words of Keras 3, or ``None``.
        reading: What somebody said.
    """
    return _Upgrade(weights, datasets, model, reading).run()


@dataclass(slots=True)
class _Owner:
    """A layer that arrays are named after."""

    layer: str
    name: str
    class_name: str | None
    config: Mapping[str, object]
    arrays: dict[str, str] = field(default_factory=dict)


class _Upgrade:
    def __init__(
        self,
        weights: Weights,
        datasets: Mapping[str, Hdf5Dataset],
        model: ConfigLayer | None,
        reading: Reading,
    ) -> None:
        self._weights = weights
        self._datasets = datasets
        self._reading = reading
        self._described = dict(_described(model)) if model is not None else {}
        self._result = Upgraded()
        self._owners: dict[tuple[str, str], _Owner] = {}
        self._others: dict[str, list[tuple[str, str]]] = {}

    def run(self) -> Upgraded:
        result = self._result
        self._sort()
        fresh = names_now([*self._weights, *(owner for _, owner in self._owners)])
        for owner in self._owners.values():
            self._classify(owner, fresh)
        turned = self._is_turned()
        order = self._ordering()
        kept = []
        for layer in self._weights:
            now = fresh.get(layer, layer)
            values = result.weights.setdefault(now, [])
            for owner in (one for (of, _), one in self._owners.items() if of == layer):
                made = self._make(owner, order=order, is_turned=turned)
                if made is None:
                    kept.append(owner)
                    values.extend(self._as_named(owner, fresh))
                    continue
                base = fresh.get(owner.name, owner.name)
                for name, assembly in made.items():
                    path = f"{now}/{base}/{name}"
                    result.made[path] = assembly
                    values.append((f"{base}/{name}", path))
            values.extend(self._others.get(layer, ()))
        self._say(fresh, kept)
        return result

    def _sort(self) -> None:
        """Tell from every name which layer's array it is."""
        for layer, values in self._weights.items():
            for name, dataset in values:
                base = re.sub(r":\d+$", "", name).rpartition("/")[2]
                own = base.removeprefix(f"{layer}_")
                found = _NAME.fullmatch(base)
                if own != base and own in ARRAYS:
                    owner, array = layer, own
                elif found is not None:
                    owner, array = found["owner"], found["array"]
                else:
                    self._others.setdefault(layer, []).append((name, dataset))
                    continue
                one = self._owners.setdefault((layer, owner), _Owner(layer, owner, None, {}))
                if array in one.arrays:
                    self._others.setdefault(layer, []).append((name, dataset))
                else:
                    one.arrays[array] = dataset

    def _classify(self, owner: _Owner, fresh: Mapping[str, str]) -> None:
        plain = re.sub(r"^(forward|backward)_", "", owner.name)
        names = (owner.name, fresh.get(owner.name, owner.name), plain, fresh.get(plain, plain))
        described = next((self._described[one] for one in names if one in self._described), None)
        if described is not None:
            owner.class_name, owner.config = described.class_name, described.config
            return
        known = class_of_automatic(owner.name) or class_of_automatic(plain)
        if known not in RECIPES:
            shapes = {array: self._datasets[path].shape for array, path in owner.arrays.items()}
            known = class_of_arrays(shapes, owner.name)
            if known is not None:
                self._result.classes[fresh.get(owner.name, owner.name)] = known
        owner.class_name = known

    def _make(
        self, owner: _Owner, *, order: bool | None, is_turned: bool
    ) -> dict[str, Assembly] | None:
        said = owner.config.get("data_format")
        is_th = said == "channels_first" if isinstance(said, str) else bool(order)
        return variables_of(
            class_now(owner.class_name or ""),
            owner.arrays,
            self._datasets,
            is_th=is_th,
            is_turned=is_turned,
        )

    def _as_named(self, owner: _Owner, fresh: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        base = fresh.get(owner.name, owner.name)
        for array, dataset in owner.arrays.items():
            yield f"{base}/{array}", dataset

    def _kernels(self) -> list[_Owner]:
        """Return the layers with a kernel that Theano has turned."""
        return self._with(lambda recipe: recipe.is_kernel)

    def _ordered(self) -> list[_Owner]:
        """Return the layers whose axes lie otherwise where dimensions are ordered as in Theano."""
        return self._with(lambda recipe: bool(recipe.th))

    def _with(self, wanted: Callable[[Recipe], bool]) -> list[_Owner]:
        return [
            one
            for one in self._owners.values()
            if any(map(wanted, chain(*RECIPES.get(class_now(one.class_name or ""), ()))))
        ]

    def _is_turned(self) -> bool:
        if self._reading.is_turned is not None:
            return self._reading.is_turned
        names = [name for values in self._weights.values() for name, _ in values]
        turned = not any(name.endswith(":0") for name in names)
        if self._kernels():
            self._result.notices.append(
                "names of weights without ':0' are of Theano: convolution kernels are turned by "
                "180 degrees. If they are TensorFlow's, choose so: --select tf_kernels."
                if turned
                else "names of weights with ':0' are of TensorFlow: convolution kernels are not "
                "turned. If they are Theano's, choose so: --select th_kernels."
            )
        return turned

    def _ordering(self) -> bool | None:
        """Whether dimensions are ordered as in Theano, for layers that do not say so."""
        said = {
            str(one.config["data_format"])
            for one in self._ordered()
            if isinstance(one.config.get("data_format"), str)
        }
        self._result.is_th = "channels_first" in said if said else None
        unsaid = [
            one for one in self._ordered() if not isinstance(one.config.get("data_format"), str)
        ]
        if not unsaid:
            return None
        votes = []
        for one in unsaid:
            shapes = {name: self._datasets[path].shape for name, path in one.arrays.items()}
            found = (shapes.get(name) for name in ("W", "W_i", "pointwise_kernel"))
            kernel = next(filter(None, found), ())
            votes.append(
                ordering_of(kernel, shapes.get("b", shapes.get("b_i"))) if kernel else None
            )
        decided = [vote for vote in votes if vote is not None]
        if self._reading.is_th is not None:
            order = self._reading.is_th
        else:
            order = decided.count(True) * 2 > len(decided) if decided else self._is_theano()
            self._result.notices.append(_proposal(votes, is_th=order))
        self._result.is_th = order
        return order

    def _is_theano(self) -> bool:
        names = (name for values in self._weights.values() for name, _ in values)
        return not any(name.endswith(":0") for name in names)

    def _say(self, fresh: Mapping[str, str], kept: list[_Owner]) -> None:
        said = "Keras 1 wrote it: weights have the names and layouts of Keras 3"
        if fresh:
            old, new = next(iter(fresh.items()))
            said += (
                f", and layers without a name of their own too ({quoted(new)} for {quoted(old)})"
            )
        self._result.notices.insert(0, f"{said}.")
        if kept:
            shown = ", ".join(
                f"{quoted(one.name)} ({one.class_name or 'class unknown'})" for one in kept[:5]
            )
            self._result.notices.append(f"kept as Keras 1 named and laid them out: {shown}.")


def _described(model: ConfigLayer) -> Iterator[tuple[str, ConfigLayer]]:
    for layer in (*model.layers, *(one for parts in model.parts.values() for one in parts)):
        yield layer.name, layer
        yield from _described(layer)


def _proposal(votes: list[bool | None], *, is_th: bool) -> str:
    agreeing = sum(vote is is_th for vote in votes)
    order = "(out, in, height, width)" if is_th else "(height, width, in, out)"
    other = "tf_dim_ordering" if is_th else "th_dim_ordering"
    why = (
        f"as the sizes of {agreeing} of {len(votes)} kernels and biases suggest"
        if agreeing
        else "which nothing in the file shows"
    )
    return (
        f"kernels are taken to lie as {order}, {why}. Give the architecture (--architecture "
        f"model.json) to be certain, or choose otherwise: --select {other}."
    )
