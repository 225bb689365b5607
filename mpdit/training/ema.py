"""Power-function EMAs of the weights: tracked in training, stored as snapshots, rebuilt at any width afterwards.

Source: Karras et al., arXiv 2312.02696 (EDM2), section 3 and appendix C. The average at time t weighs the parameters of
time tau by the profile p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1) on [0, t]. Its relative width, the standard
deviation of p over t, is what users speak of: 0.05 means that the average looks back over some 5 % of the run.

A sum of stored averages is the average under the sum of their profiles, so that an average nobody tracked is rebuilt by
fitting its profile with the profiles of the snapshots. Snapshots hold averages as they are, forced rows not
renormalised: rebuild first, then call `model.normalize_weights()`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..system.errors import UserError
from ..system.files import replacing

WIDEST = 1 / math.sqrt(12)  # gamma = 0, the plain mean over all steps; wider profiles would favour the first steps
LARGEST_RESIDUAL = 0.05  # of a reconstruction, as a share of the profile's L2 norm; see `reconstruct`
SNAPSHOT_DTYPES = {"float16": torch.float16, "float32": torch.float32}


# --- Profiles (EDM2, section 3.1 and appendix C.1) ---


def gamma_to_width(gamma: float) -> float:
    """Relative width of the profile tau^gamma: sqrt((gamma + 1) / ((gamma + 2)^2 (gamma + 3)))."""
    return math.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3)))


def width_to_gamma(width: float) -> float:
    """The exponent gamma >= 0 whose profile has the relative width `width`; UserError outside (0, 0.2887]."""
    if not 0 < width <= WIDEST:
        raise UserError(f"EMA width: {width}: must be above 0 and at most {WIDEST:.4f} (the mean over all steps)")
    inverse = (
        width**-2
    )  # (gamma + 2)^2 (gamma + 3) = (gamma + 1) / width^2, of whose roots the largest is the profile's
    return max(0.0, float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max()))


def beta(step: int, dt: int, gamma: float) -> float:
    """What the old average keeps when `dt` steps end at `step` (counted after the update): (1 - dt/step)^(gamma + 1).

    With `average <- beta average + (1 - beta) weights` the weights held over (step - dt, step] get exactly the
    integral of the continuous profile over that interval, whatever the intervals were.
    """
    if not 0 < dt <= step:
        raise ValueError(f"dt {dt} at step {step}: must be at least 1 and at most the step")
    return (1 - dt / step) ** (gamma + 1)


class PowerEMA:
    """Averages of `parameters` (name -> tensor, which the optimiser changes in place) under one profile per width.

    `averages[width][name]` are float32 tensors on the parameters' device. The first update, whose interval begins at
    step 0, replaces whatever they held.
    """

    def __init__(self, parameters: Mapping[str, Tensor], widths: Sequence[float]):
        self.gammas = {width: width_to_gamma(width) for width in widths}
        self._parameters = [parameter.detach() for parameter in parameters.values()]  # views: they follow the training
        self.averages = {
            width: {name: parameter.detach().clone() for name, parameter in parameters.items()} for width in widths
        }

    @torch.no_grad()
    def update(self, step: int, dt: int = 1) -> None:
        """Take in the parameters after `step` steps, `dt` steps since the last update. Never waits for the device."""
        for width, gamma in self.gammas.items():
            keep = beta(step, dt, gamma)
            torch._foreach_lerp_(list(self.averages[width].values()), self._parameters, 1 - keep)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages themselves (no copies) as {"0.05/blocks.0.mlp.weight": tensor, ...}, for a checkpoint."""
        return {f"{width}/{name}": tensor for width, named in self.averages.items() for name, tensor in named.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy a `state_dict` in. UserError when its widths or names are not this average's."""
        own = self.state_dict()
        if own.keys() != state.keys():
            odd = sorted(own.keys() ^ state.keys())[0]
            raise UserError(f"EMA state: {odd!r} is on one side only: must hold the same widths and parameters")
        for name, tensor in own.items():
            tensor.copy_(state[name])


# --- Snapshots ---


class Snapshot(NamedTuple):
    """One stored model: an average of relative width `width`, or the plain weights (`None`), after `step` steps."""

    step: int
    width: float | None
    path: Path


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
    vectors (gains, biases), which weigh nothing, and matrices that overflow float16 stay in float32.
    """
    if dtype not in SNAPSHOT_DTYPES:
        raise UserError(f"snapshot_dtype: {dtype!r}: must be one of {', '.join(SNAPSHOT_DTYPES)}")
    stored = {name: _to_storage(tensor.detach(), SNAPSHOT_DTYPES[dtype]) for name, tensor in tensors.items()}
    path = Path(folder) / f"step-{step:08d}-{_label(width)}.safetensors"
    about = {**(metadata or {}), "step": str(step), "width": "plain" if width is None else repr(float(width))}
    with replacing(path) as part:
        save_file(stored, part, metadata=about)
    return path


def list_snapshots(folder: str | Path) -> list[Snapshot]:
    """The snapshots in a folder by step and width, plain weights last at their step; none for a missing folder."""
    found = []
    for path in Path(folder).glob("step-*.safetensors"):
        if match := re.fullmatch(r"step-(\d{8,})-(?:width-(.+)|plain)", path.stem):
            found.append(Snapshot(int(match[1]), float(match[2]) if match[2] else None, path))
    return sorted(found, key=lambda snapshot: (snapshot.step, snapshot.width is None, snapshot.width))


def _label(width: float | None) -> str:
    if width is None:
        return "plain"
    short = f"{width:.3f}"
    return f"width-{short if float(short) == width else repr(float(width))}"


def _to_storage(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.ndim < 2:
        dtype = torch.float32
    stored = tensor.to(dtype)
    if not stored.isfinite().all():
        stored = tensor.float()
    return stored.cpu().contiguous()


# --- Post-hoc reconstruction (EDM2, section 3.2 and appendix C.2) ---


def inner_product(gamma_a, time_a, gamma_b, time_b) -> np.ndarray:
    """Integral of the product of two profiles, in closed form; arguments broadcast.

    (a + 1)(b + 1) / ((a + b + 1) late) * (early / late)^(gamma of the later one): no power can overflow in this form.
    """
    gamma_a, time_a, gamma_b, time_b = (np.asarray(v, dtype=np.float64) for v in (gamma_a, time_a, gamma_b, time_b))
    early, late = np.minimum(time_a, time_b), np.maximum(time_a, time_b)
    gamma_late = np.where(time_a > time_b, gamma_a, gamma_b)
    return (gamma_a + 1) * (gamma_b + 1) / ((gamma_a + gamma_b + 1) * late) * (early / late) ** gamma_late


def fit_profile(profiles: Sequence[tuple[int, float]], step: int, width: float) -> tuple[np.ndarray, float]:
    """Coefficients that make the profile (step, width) out of `profiles`, pairs (step, width), and the residual.

    Least squares in L2 on [0, step], then normalised to sum to one (n coefficients, float64). The residual is the
    L2 distance between the profile made and the one asked for, relative to the latter's norm: the share by which the
    average of pure noise (parameters independent from step to step) is off.
    """
    for i, profile in enumerate(profiles):
        if profile == (step, width):
            return np.eye(len(profiles))[i], 0.0
    times = np.array([time for time, _ in profiles], dtype=np.float64)
    gammas = np.array([width_to_gamma(width) for _, width in profiles])
    gamma = width_to_gamma(width)
    norms = np.sqrt(inner_product(gammas, times, gammas, times))
    norm = math.sqrt(inner_product(gamma, step, gamma, step))
    # Profiles scaled to unit norm: the system's condition is then 2e5 for 64 times, 1e10 with snapshots a step apart.
    gram = inner_product(gammas[:, None], times[:, None], gammas, times) / np.outer(norms, norms)
    wanted = inner_product(gammas, times, gamma, step) / (norms * norm)
    scaled = np.linalg.lstsq(gram, wanted, rcond=1e-13)[0]
    scaled /= (scaled * norm / norms).sum()
    residual = math.sqrt(max(0.0, 1 - 2 * scaled @ wanted + scaled @ gram @ scaled))
    return scaled * norm / norms, residual


def reconstruct(folder: str | Path, width: float | None, step: int) -> tuple[dict[str, Tensor], float]:
    """The average of relative width `width` after `step` steps, from the snapshots in `folder`, and its residual.

    Float32 tensors on the CPU, not renormalised. A width that was tracked comes back exactly as stored (residual 0);
    `None` gives the plain weights where they are stored; any other is fitted with all snapshots up to `step` (see
    `fit_profile`). Reads one tensor of one snapshot at a time.

    UserError when `step` has no snapshot (between two of them the best fit is off by 7 to 26 %), when the residual
    exceeds LARGEST_RESIDUAL, or when a file is damaged.
    """
    snapshots = list_snapshots(folder)
    if not snapshots:
        raise UserError(f"{folder}: no snapshots (step-*.safetensors): must be the snapshots folder of a trained run")
    if width is None:
        return _plain(folder, snapshots, step), 0.0
    averages = [s for s in snapshots if s.width is not None and s.step <= step]
    steps = sorted({s.step for s in snapshots if s.width is not None})
    if step not in steps:
        raise UserError(f"{folder}: no EMA snapshot at step {step}: {_existing(steps)}")
    coefficients, residual = fit_profile([(s.step, s.width) for s in averages], step, width)
    if not residual <= LARGEST_RESIDUAL:
        tracked = ", ".join(f"{w:g}" for w in sorted({s.width for s in averages}))
        raise UserError(
            f"{folder}: EMA width {width:g} at step {step}: the {len(averages)} snapshots up to there, of widths "
            f"{tracked}, rebuild it only to {residual:.1%}: must be within {LARGEST_RESIDUAL:.0%}; take a tracked "
            f"width, one nearer to them, or a later step, or train with more snapshots"
        )
    used = [(s.path, c) for s, c in zip(averages, coefficients.tolist(), strict=True) if c]
    return _weighted_sum(used), residual


def _plain(folder: str | Path, snapshots: list[Snapshot], step: int) -> dict[str, Tensor]:
    steps = [s.step for s in snapshots if s.width is None]
    if step not in steps:
        raise UserError(f"{folder}: no plain weights at step {step}: {_existing(steps)}")
    return _weighted_sum([(s.path, 1.0) for s in snapshots if s.width is None and s.step == step])


def _weighted_sum(files: Sequence[tuple[Path, float]]) -> dict[str, Tensor]:
    """Sum of models times coefficients, in float32; one tensor of one file is held beside the sum."""
    total: dict[str, Tensor] = {}
    for path, coefficient in files:
        try:
            with safe_open(path, framework="pt") as snapshot:
                names = snapshot.keys()
                if total and set(names) != total.keys():
                    raise UserError(f"{path}: holds other parameters than {files[0][0].name}: must be of one run")
                for name in names:
                    tensor = snapshot.get_tensor(name)
                    if name not in total:
                        total[name] = tensor.to(torch.float32, copy=True).mul_(coefficient)
                    elif tensor.shape == total[name].shape:
                        total[name].add_(tensor, alpha=coefficient)
                    else:
                        raise UserError(f"{path}: {name} is {tuple(tensor.shape)}: must be {tuple(total[name].shape)}")
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: damaged snapshot ({error}): must be a whole file; delete it") from None
    return total


def _existing(steps: Sequence[int]) -> str:
    if not steps:
        return "this run has stored none"
    if len(steps) <= 8:
        return f"must be one of {', '.join(map(str, steps))}"
    return f"must be one of {', '.join(map(str, steps[:3]))}, ... {steps[-1]} ({len(steps)} in all)"
