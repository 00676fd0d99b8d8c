"""A RoBERTa whose only type of token is no zero: it is added to the positions that Keras has."""

from __future__ import annotations

import numpy as np
import oracles
import pytest

import converter
from converter.live.sources import build_source
from converter.mapping import library

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles]


def test_the_row_of_the_type_is_in_every_position_of_keras():
    """fairseq's own checkpoints have zeros there; those that were trained on need not."""
    import torch

    case = library.get("roberta").proofs["roberta_backbone"]
    oracles.prepare(case)
    model = build_source(case.keras, family="keras")
    module = build_source(case.torch, family="torch").eval()
    torch.nn.init.normal_(module.embeddings.token_type_embeddings.weight)
    model.set_weights(converter.plan(module, like=model).get_weights())

    ids = np.random.default_rng(0).integers(2, 31, (3, 9)).astype("int32")
    wanted, floor = oracles.noise_floor(
        module, input_ids=torch.from_numpy(ids).long(), attention_mask=torch.ones(3, 9)
    )
    inputs = {"token_ids": ids, "padding_mask": np.ones((3, 9), "int32")}
    assert oracles.relative_error(oracles.run_keras(model, inputs), wanted) < 30 * floor
