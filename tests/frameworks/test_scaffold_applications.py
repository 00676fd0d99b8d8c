"""Scaffolded modules of keras.applications: 39 constructors, two sizes, with and without top.

The fortieth, NASNetMobile, Keras refuses on the torch backend: see test_scaffold_nasnet.py. What
every constructor came to is in ``report/scaffold.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from support.scaffold_report import Application, note
from support.scaffolding import scaffold_and_compare

pytestmark = pytest.mark.frameworks


@dataclass(frozen=True)
class Case:
    name: str
    longest: int | None = None


NAMES = """
    ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge DenseNet121 DenseNet169
    DenseNet201 EfficientNetB1 EfficientNetB2 EfficientNetB3 EfficientNetB4 EfficientNetB5
    EfficientNetB6 EfficientNetB7 EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2
    EfficientNetV2B3 EfficientNetV2S EfficientNetV2M EfficientNetV2L InceptionResNetV2 InceptionV3
    MobileNet MobileNetV2 MobileNetV3Large MobileNetV3Small NASNetLarge ResNet101 ResNet101V2
    ResNet152 ResNet152V2 ResNet50V2 VGG16 VGG19 Xception
"""
CASES = [*map(Case, NAMES.split()), Case("ResNet50", 150), Case("EfficientNetB0", 200)]
SIZES = [(96, 96, 3), (97, 75, 3)]
FAMILIES = """
    ConvNeXtTiny DenseNet121 EfficientNetB0 EfficientNetV2B0 InceptionResNetV2 InceptionV3 MobileNet
    MobileNetV2 MobileNetV3Small NASNetLarge ResNet50 ResNet50V2 VGG16 Xception
"""


def _build(name: str, shape, *, top: bool = True):
    import keras

    keras.backend.clear_session()
    further = {"classes": 7, "classifier_activation": None} if top else {"pooling": None}
    make = getattr(keras.applications, name)
    return make(weights=None, input_shape=shape, include_top=top, **further)


def _checked(name: str, shape, *, top: bool, longest: int | None = None) -> None:
    compared = scaffold_and_compare(_build(name, shape, top=top))
    size, shown = "x".join(map(str, shape[:2])), "yes" if top else "no"
    worst = f"{compared.worst:.1f}"
    note(Application(name, size, shown, "Keras on torch", compared.lines, worst))
    assert compared.source.stubs == {}
    assert compared.report.verdict == "pass", "\n".join(compared.report.lines())
    assert longest is None or compared.lines < longest


@pytest.mark.parametrize(
    ("name", "longest"), [("ResNet50", 150), ("EfficientNetB0", 200), ("DenseNet121", 100)]
)
def test_deep_models_are_short(name, longest):
    _checked(name, (65, 43, 3), top=True, longest=longest)


@pytest.mark.long
@pytest.mark.parametrize("shape", SIZES, ids=["even", "odd"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_constructor(case, shape):
    _checked(case.name, shape, top=True, longest=case.longest)


@pytest.mark.long
@pytest.mark.parametrize("name", FAMILIES.split())
def test_without_the_classifier(name):
    _checked(name, (97, 75, 3), top=False)


def test_there_are_forty_constructors_and_only_nasnet_mobile_is_left_to_another_test():
    import keras

    every = {name for name in dir(keras.applications) if name[:1].isupper()}
    assert every - {case.name for case in CASES} == {"NASNetMobile"}
    assert len(every) == 40
