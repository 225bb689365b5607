"""Stored models of a run: one sealed safetensors file per EMA width and step, and one of the plain weights at the end.

Snapshots hold averages as they are, with forced rows not renormalized. `reconstruct` builds an average of any width
from them (see `ema_profiles`); only then call `model.normalize_weights()`, as EDM2's forward pass would.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..experiment.ema_profiles import LARGEST_RESIDUAL, fit_profile
from ..experiment.remedies import remedy
from ..experiment.snapshot_files import Snapshot, find_damage, list_snapshots, snapshot_at
from ..system import seals
from ..system.errors import UserError
from ..system.files import replacing
from .sealed_tensors import save_sealed

SNAPSHOT_DTYPES = {"float16": torch.float16, "float32": torch.float32}


def save_snapshot(
    folder: str | Path,
    step: int,
    width: float | None,
    tensors: Mapping[str, Tensor],
    dtype: str = "float16",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write one model (whole or not at all) and return its path: step-00001500-width-0.050.safetensors.

    `width` None means plain weights: step-00001500-plain.safetensors. `dtype` is "float16" or "float32"; scalars and
    vectors (gains, biases), which take no space, and matrices that overflow float16 stay in float32.
    """
    if dtype not in SNAPSHOT_DTYPES:
        raise UserError(f"training.snapshot_dtype: {dtype!r}: must be one of {', '.join(SNAPSHOT_DTYPES)}")
    stored = {name: _to_storage(tensor.detach(), SNAPSHOT_DTYPES[dtype]) for name, tensor in tensors.items()}
    snapshot = snapshot_at(folder, step, width)
    with replacing(snapshot.path, sealed=False) as part:
        save_sealed(stored, part, {**(metadata or {}), **snapshot.metadata})
    return snapshot.path


def reconstruct(
    folder: str | Path,
    width: float | None,
    step: int,
    expected: Sequence[Snapshot] | None = None,
    require: Callable[[Sequence[Snapshot]], None] | None = None,
) -> tuple[dict[str, Tensor], float]:
    """Return the average of relative width `width` after `step` steps, from a folder's snapshots, and its residual.

    Float32 tensors on the CPU, not renormalized. A width that was tracked comes back exactly as stored (residual 0);
    None returns the plain weights, where they are stored; any other width is fitted with all snapshots up to `step`
    (see `ema_profiles.fit_profile`). Reads one tensor of one snapshot at a time.

    Args:
        expected: the snapshots that the run has stored, whether or not they are still there (all that are there). One
            that is needed and is gone is never replaced by a fit.
        require: is called with the snapshots that are needed, and raises UserError unless they are intact.

    Raises UserError when `step` has no snapshot (between two of them even the best fit is off by 7 to 26 %), when the
    residual exceeds LARGEST_RESIDUAL, or when a file is damaged or gone.
    """
    snapshots = list_snapshots(folder) if expected is None else expected
    require = require or _require_intact
    if not snapshots:
        raise UserError(f"{folder}: found no snapshots (step-*.safetensors): must be the snapshots of a trained run")
    if width is None:
        plain = [s for s in snapshots if s.width is None]
        if step not in [s.step for s in plain]:
            raise UserError(f"{folder}: no plain weights at step {step}: {_allowed_steps([s.step for s in plain])}")
        used = [(s, 1.0) for s in plain if s.step == step]
        require([s for s, _ in used])
        return _weighted_sum(used), 0.0
    averages = [(s, s.width) for s in snapshots if s.width is not None]
    steps = sorted({s.step for s, _ in averages})
    if step not in steps:
        raise UserError(f"{folder}: no EMA snapshot at step {step}: {_allowed_steps(steps)}")
    averages = [(s, tracked) for s, tracked in averages if s.step <= step]
    coefficients, residual = fit_profile([(s.step, tracked) for s, tracked in averages], step, width)
    if not residual <= LARGEST_RESIDUAL:
        widths = ", ".join(f"{tracked:g}" for tracked in sorted({tracked for _, tracked in averages}))
        raise UserError(
            f"{folder}: EMA width {width:g} at step {step}: the {len(averages)} snapshots up to this step (widths "
            f"{widths}) reconstruct it with an error of {residual:.1%}: must be within {LARGEST_RESIDUAL:.0%}; choose "
            f"a tracked width, a width closer to one, or a later step, or train with more snapshots"
        )
    used = [(s, c) for (s, _), c in zip(averages, coefficients.tolist(), strict=True) if c]
    require([s for s, _ in used])
    return _weighted_sum(used), residual


def _require_intact(snapshots: Sequence[Snapshot]) -> None:
    for snapshot in snapshots:
        damage = find_damage(snapshot)
        if damage is not None:
            raise seals.damaged(snapshot.path, damage, remedy(snapshot.path))


def _weighted_sum(snapshots: Sequence[tuple[Snapshot, float]]) -> dict[str, Tensor]:
    """Return the sum of models times coefficients, in float32; only one tensor of one file is held beside the sum."""
    total: dict[str, Tensor] = {}
    first = snapshots[0][0].path.name
    for (_, _, path), coefficient in snapshots:
        try:
            with safe_open(path, framework="pt") as snapshot:
                names = snapshot.keys()
                if total and set(names) != total.keys():
                    raise UserError(f"{path}: holds other parameters than {first}: both must be of the same run")
                for name in names:
                    tensor = snapshot.get_tensor(name)
                    if name not in total:
                        total[name] = tensor.to(torch.float32, copy=True).mul_(coefficient)
                    elif tensor.shape == total[name].shape:
                        total[name].add_(tensor, alpha=coefficient)
                    else:
                        raise UserError(
                            f"{path}: {name}: found shape {tuple(tensor.shape)}, must be {tuple(total[name].shape)} "
                            f"as in {first}"
                        )
        except (SafetensorError, OSError) as error:
            raise seals.damaged(path, str(error), remedy(path)) from None
    return total


def _to_storage(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.ndim < 2:
        dtype = torch.float32
    stored = tensor.to(dtype)
    if not stored.isfinite().all():
        stored = tensor.float()
    return stored.cpu().contiguous()


def _allowed_steps(steps: Sequence[int]) -> str:
    if not steps:
        return "this run has stored none"
    if len(steps) <= 8:
        return f"must be one of {', '.join(map(str, steps))}"
    return f"must be one of {', '.join(map(str, steps[:3]))}, ... {steps[-1]} ({len(steps)} in total)"
