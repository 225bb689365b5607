"""One step of a trainer, and the state that it keeps."""

import pytest
import torch
from helpers.tiny_runs import make_spec, rows, train_in
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from mpdit.data.latents import Latents
from mpdit.model import diffusion
from mpdit.system.errors import UserError
from mpdit.training.distributed import Ranks
from mpdit.training.trainer import Trainer


class NoWaiting(TorchDispatchMode):
    """Fails on any operation that makes the host wait for a device: reading a value, or a size that depends on one."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        assert function not in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.masked_select.default,
        ), function
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("config", ["A", "C", "E"])
def test_no_step_waits_for_the_device(latents, config, monkeypatch):
    trainer = Trainer(make_spec(config, gradient_clip=1.0), Latents(latents), Ranks(0, 1, torch.device("cpu")))
    trainer.advance()
    monkeypatch.setattr(diffusion, "_any_is_0", lambda t: True)  # as it answers on devices that have to be waited for
    for name in ("tolist", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, lambda tensor: pytest.fail("the host waits for the device"))
    with NoWaiting():
        trainer.advance()
        trainer.advance()
        with pytest.raises(AssertionError):
            bool(trainer.loss_sums.diverged_at)


def test_forced_rows_stay_on_the_sphere(uninterrupted):
    state = load_file(uninterrupted / "checkpoints" / "step-00000012.safetensors")
    for name, weight in state.items():
        if name.startswith("model/") and weight.ndim == 2:
            norms = torch.linalg.vector_norm(weight, dim=-1)
            torch.testing.assert_close(norms, torch.ones_like(norms))


def test_bfloat16_is_an_autocast_and_leaves_all_state_in_float32(tmp_path, latents, uninterrupted):
    assert train_in(tmp_path, make_spec(precision="bfloat16"), latents) == 0
    state = load_file(tmp_path / "checkpoints" / "step-00000012.safetensors")
    assert {str(tensor.dtype) for name, tensor in state.items() if not name.startswith("tally/")} == {"torch.float32"}
    ours, exact = (float(rows(folder)[-1]["loss"]) for folder in (tmp_path, uninterrupted))
    assert ours != exact and ours == pytest.approx(exact, rel=0.02)


def test_a_batch_that_the_devices_cannot_share_evenly_is_an_error(latents):
    with pytest.raises(UserError, match=r"training\.batch_size: 8 is not divisible by the number of devices, 3"):
        Trainer(make_spec(), Latents(latents), Ranks(0, 3, torch.device("cpu")))


def test_a_checkpoint_of_another_model_is_an_error(latents):
    trainer = Trainer(make_spec(), Latents(latents), Ranks(0, 1, torch.device("cpu")))
    trainer.advance()
    state = trainer.state_dict()
    with pytest.raises(UserError, match=r"parameter blocks\.0\.foreign is not in the model"):
        trainer.load_state_dict(1, {**state, "model/blocks.0.foreign": torch.zeros(1)})
    del state["model/final.output.gain"]
    with pytest.raises(UserError, match=r"parameter final\.output\.gain is missing"):
        trainer.load_state_dict(1, state)
