"""One step of training: hybrid loss, backward pass, projection, clipping, Adam, renormalization.

`trainer.Trainer` takes this step on the batches of a run; `step_time` times the same step on a fixed batch.
"""

from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..model.diffusion import Diffusion
from ..model.dit import DiT
from .adam import Adam
from .flat_tensors import FlatTensors
from .forced_norm import ForcedNormalization, clip_gradients, gradient_norm, parameter_groups
from .loss_sums import batch_sums


class TrainingBatch(NamedTuple):
    """What one step is computed from; all tensors are on the model's device."""

    x0: Tensor  # whitened latents (N, C, H, W), float32
    noise: Tensor  # (N, C, H, W), float32
    t: Tensor  # timesteps (N,), int64
    y: Tensor  # labels (N,), int64; dropped labels are `num_classes`


class Objective(nn.Module):
    """The hybrid loss of a model on a batch: all that is differentiated, compiled, and distributed over ranks."""

    def __init__(self, model: nn.Module, precision: str):
        super().__init__()
        self.model, self.diffusion = model, Diffusion()
        self.autocast = precision == "bfloat16"

    def forward(self, x0: Tensor, noise: Tensor, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss over a `TrainingBatch` and its `loss_sums.batch_sums`, both float32."""
        x_t = self.diffusion.add_noise(x0, noise, t)
        with torch.autocast(x0.device.type, torch.bfloat16, enabled=self.autocast):
            output = self.model(x_t, t, y)
        simple, variational = self.diffusion.losses(output, x0, noise, t)
        sums = batch_sums(simple.detach(), variational.detach(), t, self.diffusion.timesteps)
        return (simple + variational).mean(), sums


class TrainingStep:
    """Updates `model`, which is already on its device, by one step of fused Adam per call.

    The model's parameters become views of one flat tensor, `parameters`.

    Args:
        lr: base learning rate, before the schedule.
        betas: decay rates of Adam's moments.
        precision: "float32", or "bfloat16" for autocast in the forward pass of the model; weights stay float32.
        gradient_clip: largest gradient norm, in the scale of the textbook form (see `forced_norm`); None: no clipping.
        compile: use torch.compile, with CUDA graphs where there is only one process.
        world: number of processes that share each batch; gradients are averaged over them.
    """

    def __init__(
        self,
        model: DiT,
        *,
        lr: float,
        betas: tuple[float, float],
        precision: str,
        gradient_clip: float | None = None,
        compile: bool = False,
        world: int = 1,
    ):
        self.gradient_clip, self.compile = gradient_clip, compile
        groups = parameter_groups(model, lr)
        self.parameters = FlatTensors([dict(zip(group["names"], group["params"], strict=True)) for group in groups])
        self.optimizer = Adam(groups, betas)
        self._project_gradients = ForcedNormalization(model.sphere_rows().values()).project_gradients
        # All rows of one length lie side by side, and are one matrix.
        lengths = [group["fan_in"] for group in groups]
        flat = zip(self.parameters.groups(), lengths, strict=True)
        self._renormalize = ForcedNormalization(rows.view(-1, n) for rows, n in flat if n > 1).renormalize
        objective = Objective(model, precision).to(next(model.parameters()).device)
        self.timesteps = objective.diffusion.timesteps
        if compile:  # CUDA graphs cannot wait for another process
            objective.compile(mode="reduce-overhead" if world == 1 else None)
            self._project_gradients = torch.compile(self._project_gradients)
            self._renormalize = torch.compile(self._renormalize)
        self._objective: nn.Module = objective
        if world > 1:
            known = signature(DistributedDataParallel).parameters  # newer versions of torch renamed the option
            no_sync = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
            options: dict[str, Any] = {"gradient_as_bucket_view": True, no_sync: False}  # buffers are constants
            self._objective = DistributedDataParallel(objective, **options)

    def __call__(self, batch: TrainingBatch, rate_factor: float = 1.0) -> tuple[Tensor, Tensor]:
        """Take one step at `rate_factor` times the base learning rate. Never waits for the device.

        Returns the `loss_sums.batch_sums` of this rank's batch, and the norm of the gradient before clipping.
        """
        if self.compile:
            torch.compiler.cudagraph_mark_step_begin()
        loss, sums = self._objective(*batch)
        loss.backward()  # averages over ranks
        self._project_gradients()
        groups = self.optimizer.param_groups
        norm = gradient_norm(groups)
        if self.gradient_clip is not None:
            clip_gradients(groups, self.gradient_clip, norm)
        for group in groups:
            group["lr"] = group["base_lr"] * rate_factor
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._renormalize()
        return sums, norm
