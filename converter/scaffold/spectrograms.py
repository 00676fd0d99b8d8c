"""STFTSpectrogram, whose windows and waves are weights; both frameworks convolve with them."""

from __future__ import annotations

from converter.errors import UnsupportedFileError
from converter.scaffold.convolutions import same_padding
from converter.scaffold.program import Literal, applied, call
from converter.scaffold.scope import Translation


def stft(t: Translation) -> None:
    """STFTSpectrogram over (batch, time, channels).

    Source: keras 3.15.1 layers/preprocessing/stft_spectrogram.py.
    """
    config = t.config
    if config.get("data_format") == "channels_first":
        raise UnsupportedFileError(f"cannot scaffold '{t.path}': its channels are first")
    length = config["frame_length"]
    step = config.get("frame_step") or length // 2
    points = config.get("fft_length") or 1 << (length - 1).bit_length()
    steps, ends = t.first.shape[1], (0, 0)
    if config["padding"] == "same":
        if steps is None:
            raise UnsupportedFileError(f"cannot scaffold '{t.path}': its number of steps is open")
        ends = same_padding(steps, length, step, 1)
    code = call(
        t.snippet("STFTSpectrogram"),
        Literal(config["mode"], "mode"),
        Literal(length, "frame_length"),
        Literal(step, "frame_step"),
        Literal(points // 2 + 1, "bins"),
        Literal(ends, "ends"),
        Literal(bool(config.get("expand_dims")), "expand_dims"),
    )
    t.give(t.write(applied(t.member(code), t.use("keras"))), "keras")
