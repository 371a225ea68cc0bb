"""Whether an encoder's vectors can be searched by: what goes wrong with them without an error.

A training run that diverged makes the same vector of every text; a head that is missing, or weights
of another model, do it to sounds; an encoder that takes its padding for sound makes other vectors
in company than alone. Nothing raises, and every search answers, wrongly. So a few unlike texts and
sounds are embedded, together and alone, and what comes of it is measured. That tells an encoder
that is broken from one that isn't, and not a good one from a better. Imports no torch.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

import numpy as np
from pydantic import TypeAdapter, ValidationError

from alm2vec_search.domain import Waveform
from alm2vec_search.errors import ModelError, one_line
from alm2vec_search.model.hub import dtype_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from alm2vec_search.domain import Encoder

    Vectors = NDArray[np.float64]  # [n, dim]

# Moves when other numbers come of the same encoder: what was kept before is found out anew.
EXAMINATION = 1

# Cosine of unlike probes, on average. Language models that were never trained for it reach 0.9 and
# can still be searched by; here all vectors lie within 12 degrees, and ranks are rounding.
ALIKE_LIMIT = 0.98

# 1 - cosine of the same probe alone and in company, by numeric type. The order of sums moves
# float32 by 1e-6 at most; bfloat16 rounds to 8 bits, and a deep model makes 1e-3 of that. Padding
# that is heard makes 1e-2 and more.
DRIFT_LIMITS = {"float32": 1e-3, "bfloat16": 1e-2}

# How far a length may be from 1. Cosines are off by as much; rounding to bfloat16 makes 1e-3.
LENGTH_LIMIT = 1e-2

# About as long as each other: those whose lengths differ more are not batched together on a CPU.
TEXTS = (
    "a small dog barks twice in a narrow yard behind the old house",
    "heavy rain falls on a tin roof and thunder rolls far away",
    "someone plays a slow and sad melody on an upright piano",
    "a diesel engine starts with a cough and then idles unevenly",
    "two people whisper to each other in a very quiet library",
    "a glass falls from the table and breaks on the stone floor",
)
SOUNDS_S = (2.0, 2.0, 1.9, 1.8, 1.7, 1.7)  # two of a length: some encoders batch only such
SEED = 0
ALONE = (0, 2, 4)  # which are embedded alone, too: of other lengths; all of them would take longer


@dataclass(frozen=True, slots=True)
class SideHealth:
    """What the vectors of some texts, or of some sounds, are like.

    Attributes:
        vectors: how many there were, of probes together and of some alone.
        not_finite: how many of them hold something that is no number.
        zero: how many are nothing but zeros.
        length_error: how far the length of a vector is from 1, at most; None where none is finite.
        alike: cosine of two of them, on average over all pairs; None where two can't be compared.
        most_alike: the same, of the two that are nearest.
        batch_drift: 1 - cosine of the same probe embedded alone and with the others, at most; None
            where they can't be compared.
    """

    vectors: int
    not_finite: int
    zero: int
    length_error: float | None
    alike: float | None
    most_alike: float | None
    batch_drift: float | None


@dataclass(frozen=True, slots=True)
class Health:
    """What an examination found.

    Attributes:
        dtype: the numeric type that the limits are for.
        texts, sounds: None where the encoder takes no such thing.
        modality_gap: cosine of the mean text and the mean sound. For information: a wide gap is
            common among encoders that rank well.
        refusals: what the encoder said where it takes no texts, or no sounds.
    """

    dtype: str
    texts: SideHealth | None
    sounds: SideHealth | None
    modality_gap: float | None
    refusals: tuple[str, ...] = ()

    @property
    def drift_limit(self) -> float:
        """Of `batch_drift`."""
        return DRIFT_LIMITS.get(self.dtype, DRIFT_LIMITS["float32"])

    def complaints(self) -> list[str]:
        """What is wrong, with its numbers, and what to do about it; nothing where all is well."""
        return [
            complaint
            for name, side in (("text", self.texts), ("sound", self.sounds))
            if side is not None
            for complaint in _complaints(name, side, self.drift_limit)
        ]


def _complaints(name: str, side: SideHealth, drift_limit: float) -> list[str]:
    """Of one side. What is no number, or nothing, explains the rest, which isn't said then."""
    if side.not_finite:
        return [
            f"{side.not_finite} of {side.vectors} {name} vectors are not numbers: the weights are "
            "damaged, or too large for their numeric type; try float32, or use another checkpoint"
        ]
    if side.zero:
        return [
            f"{side.zero} of {side.vectors} {name} vectors are nothing but zeros: weights are "
            "missing; use another checkpoint"
        ]
    found = []
    if side.length_error is not None and side.length_error > LENGTH_LIMIT:
        found.append(
            f"{name} vectors have lengths that differ from 1 by up to {side.length_error:.2g}: "
            "they aren't normalised, and scores are no cosines"
        )
    if side.alike is not None and side.alike > ALIKE_LIMIT:
        found.append(
            f"unlike {name}s are all but the same to it, with a cosine of {side.alike:.4f} on "
            f"average, where above {ALIKE_LIMIT:g} nothing can be told apart: training diverged, "
            "or weights are missing; use another checkpoint"
        )
    if side.batch_drift is not None and side.batch_drift > drift_limit:
        found.append(
            f"{name} vectors depend on what else is in the batch, by up to {side.batch_drift:.2g} "
            f"of cosine, where {drift_limit:g} can be rounding: padding isn't masked; use "
            "ALM2VEC_BATCH_SIZE=1, or another checkpoint"
        )
    return found


def examine(encoder: Encoder) -> Health:
    """Embed the probes together and some of them alone, and measure what comes of it.

    Raises:
        Exception: what the encoder raises, but for a `ModelError` about one kind of probe: that is
            an encoder that takes no such thing.
    """
    sounds = probe_sounds(encoder.sampling_rate)
    refusals: list[str] = []
    texts_made = _encoded(lambda part: encoder.encode_query(text=part), TEXTS, refusals)
    sounds_made = _encoded(lambda part: encoder.encode_document(audio=part), sounds, refusals)
    return Health(
        dtype=dtype_of(encoder.fingerprint),
        texts=texts_made and _measured(*texts_made),
        sounds=sounds_made and _measured(*sounds_made),
        modality_gap=texts_made and sounds_made and _gap(texts_made[0], sounds_made[0]),
        refusals=tuple(refusals),
    )


def probe_sounds(sampling_rate: int) -> list[Waveform]:
    """Six sounds that have little in common: a tone, noise, a rising chirp, clicks, a hum that
    comes and goes, and a few struck notes."""
    lots = np.random.default_rng(SEED)
    t = [np.arange(round(seconds * sampling_rate)) / sampling_rate for seconds in SOUNDS_S]
    every_s = 0.25
    sounds = [
        np.sin(2 * np.pi * 440 * t[0]),
        lots.uniform(-1, 1, len(t[1])),
        np.sin(2 * np.pi * (150 + 0.1 * sampling_rate * t[2]) * t[2]),
        lots.uniform(-1, 1, len(t[3])) * (t[3] % every_s < 0.003),
        np.sign(np.sin(2 * np.pi * 60 * t[4])) * np.sin(2 * np.pi * 3 * t[4]) ** 2,
        np.sin(2 * np.pi * 1320 * t[5]) * np.exp(-(t[5] % (2 * every_s)) / 0.1),
    ]
    return [Waveform((0.5 * sound).astype(np.float32), sampling_rate) for sound in sounds]


def _encoded(
    encode: Callable[[Any], NDArray[np.float32]], probes: Sequence[Any], refusals: list[str]
) -> tuple[Vectors, Vectors] | None:
    """Vectors of all probes together [n, dim], and of those of `ALONE` [m, dim]; None where the
    encoder takes no such thing."""
    try:
        with np.errstate(all="ignore"):  # what comes of it is measured
            together = encode(list(probes))
            alone = np.concatenate([encode([probes[row]]) for row in ALONE])
    except ModelError as error:
        refusals.append(one_line(error))
        return None
    dim = together.shape[-1]
    if together.shape != (len(probes), dim) or alone.shape != (len(ALONE), dim):
        raise ValueError(
            f"vectors of {len(probes)} and {len(ALONE)} inputs, and they have the shapes "
            f"{together.shape} and {alone.shape}"
        )
    return together.astype(np.float64), alone.astype(np.float64)


def _measured(together: Vectors, alone: Vectors) -> SideHealth:
    """For vectors of all probes together [n, dim], and of those of `ALONE` [m, dim]."""
    lengths, lengths_alone = (np.linalg.norm(part, axis=1) for part in (together, alone))  # [n] [m]
    every_length = np.concatenate([lengths, lengths_alone])
    finite = np.isfinite(every_length)
    usable, usable_alone = (_has_direction(part) for part in (lengths, lengths_alone))
    units = together[usable] / lengths[usable, None]
    cosines = (units @ units.T)[~np.eye(len(units), dtype=bool)]
    rows = np.array(ALONE)
    pairs = usable[rows] & usable_alone  # [m]
    products = (together[rows][pairs] * alone[pairs]).sum(axis=1)
    drifts = 1 - products / (lengths[rows] * lengths_alone)[pairs]
    return SideHealth(
        vectors=len(every_length),
        not_finite=int((~finite).sum()),
        zero=int((every_length == 0).sum()),
        length_error=_largest(np.abs(every_length[finite] - 1)),
        alike=float(cosines.mean()) if cosines.size else None,
        most_alike=_largest(cosines),
        batch_drift=_largest(np.maximum(drifts, 0)),
    )


def _has_direction(lengths: Vectors) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(lengths) & (lengths > 0))


def _gap(texts: Vectors, sounds: Vectors) -> float | None:
    """Cosine of the means of [n, dim] and [m, dim]; None where one of them is no direction."""
    with np.errstate(all="ignore"):
        text, sound = texts.mean(axis=0), sounds.mean(axis=0)
        length = float(np.linalg.norm(text) * np.linalg.norm(sound))
    return float(text @ sound) / length if np.isfinite(length) and length > 0 else None


def _largest(values: Vectors) -> float | None:
    return float(values.max()) if values.size else None


def file_name(fingerprint: str, device: str, batch_size: int | None) -> str:
    """A file's name for what was found of an encoder, as it is run.

    >>> file_name("0f3a9c-bfloat16", "cuda:1", None)
    '0f3a9c-bfloat16-cuda-any-1.json'
    """
    kind = device.partition(":")[0]
    return f"{fingerprint}-{kind}-{batch_size or 'any'}-{EXAMINATION}.json"


def kept(path: Path) -> Health | None:
    """What was found before; None where nothing is kept, or it is damaged."""
    try:
        return TypeAdapter(Health).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def keep(health: Health, path: Path) -> bool:
    """Write it, in place of what is damaged, but not of what others have kept meanwhile.

    Returns:
        whether it was this call that wrote it. Where it can't be written, that is no error.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-") as whole:
            whole.write(TypeAdapter(Health).dump_json(health))
            whole.flush()
            if path.exists() and kept(path) is None:
                forget(path)
            path.hardlink_to(whole.name)  # all of it at once, and only where there is none
    except OSError:
        return False
    return True


def forget(path: Path) -> None:
    """So that the next one who loads the encoder examines it anew."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
