"""The cheap form of forced normalization takes the steps of the textbook form, and clips and logs in its scale."""

import math

import pytest
import torch
from helpers.tiny_models import awaken, inputs, tiny

from mpdit.training.forced_norm import ForcedNormalization, clip_gradients, force_rows, gradient_norm, parameter_groups

STEPS, LR, EPS = 20, 1e-2, 1e-8


def pair(config: str = "E", modulation: str = "scale_shift"):
    """Return one model in float64 twice: with unit rows, and in the textbook form, with rows of norm sqrt(n)."""
    cheap = awaken(tiny(config, modulation).double())
    textbook = tiny(config, modulation, weights="normalized").double()
    rows = cheap.sphere_rows()
    with torch.no_grad():
        for name, parameter in textbook.named_parameters():
            source = dict(cheap.named_parameters())[name]
            parameter.copy_(source * math.sqrt(source.shape[1]) if name in rows else source)
    cheap.normalize_weights()  # they were normalized in float32
    force_rows(list(textbook.sphere_rows("normalized").values()))
    return cheap, textbook


def loss_of(model, step: int) -> torch.Tensor:
    x, t, y = inputs(model, seed=step, dtype=torch.float64)
    return (model(x, t, y)[:, :2] - x).square().mean() + model(x, t, y)[:, 2:].pow(4).mean()


@pytest.mark.parametrize(
    ("config", "modulation"),
    [("D", "scale_shift"), ("E", "scale_shift"), ("E", "scale_rotate"), ("E", "rotate_full"), ("E", "shift")],
)
@pytest.mark.parametrize("max_norm", [None, 0.05])
def test_the_cheap_form_takes_the_steps_of_the_textbook_form(config, modulation, max_norm):
    """20 steps of Adam in float64, with and without clipping, agree to 1e-10 in every weight and every output.

    The textbook form is written out: rows divided by their norm in the forward pass under autograd, all parameters in
    one group with one lr and eps, and each row put back to norm sqrt(n) before every forward pass (EDM2, section 2.3).
    """
    cheap, textbook = pair(config, modulation)
    groups, forced = parameter_groups(cheap, LR, EPS), ForcedNormalization(cheap.sphere_rows().values())
    cheap_adam = torch.optim.Adam(groups, betas=(0.9, 0.99))
    textbook_adam = torch.optim.Adam(textbook.parameters(), lr=LR, eps=EPS, betas=(0.9, 0.99))
    start = {name: parameter.detach().clone() for name, parameter in cheap.named_parameters()}
    for step in range(STEPS):
        with torch.no_grad():
            for weight in textbook.sphere_rows("normalized").values():
                weight.mul_(math.sqrt(weight.shape[1]) / weight.norm(dim=1, keepdim=True))
        textbook_adam.zero_grad()
        textbook_loss = loss_of(textbook, step)
        textbook_loss.backward()
        textbook_norm = torch.cat([parameter.grad.flatten() for parameter in textbook.parameters()]).norm()
        if max_norm:
            for parameter in textbook.parameters():
                parameter.grad *= min(1, max_norm / textbook_norm)
        textbook_adam.step()

        cheap_adam.zero_grad()
        cheap_loss = loss_of(cheap, step)
        cheap_loss.backward()
        forced.project_gradients()
        cheap_norm = gradient_norm(groups)
        if max_norm:
            clip_gradients(groups, max_norm, cheap_norm)
        cheap_adam.step()
        forced.renormalize()

        torch.testing.assert_close(cheap_loss, textbook_loss, rtol=1e-10, atol=0)
        torch.testing.assert_close(cheap_norm, textbook_norm, rtol=1e-10, atol=0)
    force_rows(list(textbook.sphere_rows("normalized").values()))
    rows = cheap.sphere_rows()
    for name, parameter in textbook.named_parameters():
        own = dict(cheap.named_parameters())[name]
        own = own * math.sqrt(own.shape[1]) if name in rows else own
        torch.testing.assert_close(own, parameter, rtol=0, atol=1e-10)
        assert (own - parameter).abs().max() < 1e-3 * (dict(cheap.named_parameters())[name] - start[name]).abs().max()


@pytest.mark.parametrize("broken", ["projection", "lr", "eps", "renormalization"])
def test_each_part_of_the_cheap_form_is_needed(broken):
    """If one is left out, the two forms differ: the test above can fail."""
    cheap, textbook = pair()
    eps = 1e-3  # large enough to make a difference
    groups, forced = parameter_groups(cheap, LR, eps), ForcedNormalization(cheap.sphere_rows().values())
    for group in groups:
        group["lr"] = LR if broken == "lr" else group["lr"]
        group["eps"] = eps if broken == "eps" else group["eps"]
    optimizers = [torch.optim.Adam(groups), torch.optim.Adam(textbook.parameters(), lr=LR, eps=eps)]
    for step in range(3):
        force_rows(list(textbook.sphere_rows("normalized").values()))
        for model, optimizer in zip((cheap, textbook), optimizers, strict=True):
            optimizer.zero_grad()
            loss_of(model, step).backward()
            if model is cheap and broken != "projection":
                forced.project_gradients()
            optimizer.step()
            if model is cheap and broken != "renormalization":
                forced.renormalize()
    assert (loss_of(cheap, 0) - loss_of(textbook, 0)).abs() > 1e-6


def test_groups_hold_every_parameter_once_with_its_scale():
    model = tiny("E", "rotate_full")
    groups = parameter_groups(model, 1e-2, 1e-8)
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(dict(model.named_parameters()))
    for group in groups:
        n = group["fan_in"]
        assert group["lr"] == group["base_lr"] == pytest.approx(1e-2 / math.sqrt(n))
        assert group["eps"] == pytest.approx(1e-8 * math.sqrt(n))
        assert all(parameter.shape[1:] == ((n,) if n > 1 else ()) for parameter in group["params"])
        assert all(name.endswith("gain") for name in group["names"]) == (n == 1)
    assert [group["fan_in"] for group in groups] == [1, 9, 16, 64, 256]  # 2 x 2 x 2 values and the constant one: 9


@pytest.mark.parametrize("config", ["A", "B", "C"])
def test_configurations_without_forced_weights_have_one_plain_group(config):
    model = awaken(tiny(config))
    (group,) = parameter_groups(model, 1e-2, 1e-8)
    assert (group["lr"], group["eps"], group["fan_in"]) == (1e-2, 1e-8, 1)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    loss_of(model.double(), 0).backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    forced = ForcedNormalization(model.sphere_rows().values())
    forced.project_gradients()
    forced.renormalize()
    for old, parameter in zip(gradients, model.parameters(), strict=True):
        assert torch.equal(old, parameter.grad)
    for name, parameter in model.named_parameters():
        assert torch.equal(before[name].double(), parameter)


def test_gradient_norms_of_both_forms_are_comparable():
    """The same function of the same weights has the same logged norm in either form."""
    cheap, textbook = pair("D")
    for model in (cheap, textbook):
        loss_of(model, 0).backward()
    ForcedNormalization(cheap.sphere_rows().values()).project_gradients()
    norms = [gradient_norm(parameter_groups(model, 1.0)).item() for model in (cheap, textbook)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-12)
    assert norms[1] == pytest.approx(torch.cat([p.grad.flatten() for p in textbook.parameters()]).norm().item())


def test_clipping_limits_the_norm_and_leaves_small_gradients_as_they_are():
    model = awaken(tiny("E").double())
    groups = parameter_groups(model, 1.0)
    loss_of(model, 0).backward()
    norm = gradient_norm(groups).item()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    assert clip_gradients(groups, 2 * norm).item() == pytest.approx(norm)
    assert all(torch.equal(old, parameter.grad) for old, parameter in zip(before, model.parameters(), strict=True))
    clip_gradients(groups, norm / 3)
    assert gradient_norm(groups).item() == pytest.approx(norm / 3)
    for old, parameter in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, old / 3)


def test_parameters_without_gradients_are_ignored():
    """Such as those that the loss does not depend on, or all before the first backward pass."""
    model = awaken(tiny("E"))
    groups = parameter_groups(model, 1.0)
    ForcedNormalization(model.sphere_rows().values()).project_gradients()
    assert gradient_norm(groups).item() == 0
    model.embed(inputs(model)[0]).sum().backward()
    expected = model.patch_embedding.weight.grad.norm() / 3
    torch.testing.assert_close(gradient_norm(groups), expected)


def test_accumulated_gradients_are_projected_as_their_sum():
    whole, parts = awaken(tiny("E").double()), awaken(tiny("E").double())
    (loss_of(whole, 0) + loss_of(whole, 1)).backward()
    loss_of(parts, 0).backward()
    loss_of(parts, 1).backward()
    for model in (whole, parts):
        ForcedNormalization(model.sphere_rows().values()).project_gradients()
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_projected_gradients_are_tangent_and_rows_stay_unit():
    model = awaken(tiny("E", "scale_rotate"))
    forced = ForcedNormalization(model.sphere_rows().values())
    optimizer = torch.optim.Adam(parameter_groups(model, 0.1))
    for step in range(3):
        x, t, y = inputs(model, seed=step)
        optimizer.zero_grad()
        (model(x, t, y) - 1).square().mean().backward()
        forced.project_gradients()
        for weight in forced.weights:
            assert ((weight * weight.grad).sum(-1).abs() <= 1e-6 * weight.grad.norm(dim=-1) + 1e-12).all()
        optimizer.step()
        forced.renormalize()
        for weight in forced.weights:
            torch.testing.assert_close(weight.norm(dim=-1), torch.ones(len(weight)))


def test_stored_norms_grow_in_config_c_but_not_in_config_d():
    """With plain weight normalization they grow, which lowers the effective learning rate: Config D prevents it."""
    norms = {}
    for config in "CD":
        model = awaken(tiny(config))
        forced = ForcedNormalization(model.sphere_rows().values())
        optimizer = torch.optim.Adam(parameter_groups(model, 0.05))
        weight = model.blocks[0].attention.qkv.weight
        start = weight.norm(dim=-1).mean().item()
        for step in range(10):
            optimizer.zero_grad()
            x, t, y = inputs(model, seed=step)
            (model(x, t, y)[:, :2] - x).square().mean().backward()
            forced.project_gradients()
            optimizer.step()
            forced.renormalize()
        norms[config] = weight.norm(dim=-1).mean().item() / start
    assert norms["C"] > 1.001
    assert norms["D"] == pytest.approx(1, abs=1e-6)


def test_averaged_weights_are_normalized_when_loaded():
    """An average of unit rows is shorter than 1; normalized, it is what EDM2's forward pass would use."""
    model, other = awaken(tiny("E", seed=0)), awaken(tiny("E", seed=1))
    state = {name: (model.state_dict()[name] + other.state_dict()[name]) / 2 for name in model.state_dict()}
    model.load_state_dict(state)
    assert model.blocks[0].mlp.up.weight.norm(dim=-1).max() < 0.99
    model.normalize_weights()
    for name, weight in model.sphere_rows().items():
        torch.testing.assert_close(weight.norm(dim=-1), torch.ones(len(weight)))
        torch.testing.assert_close(weight, state[name] / state[name].norm(dim=-1, keepdim=True))
    assert torch.equal(model.final.output.gain, state["final.output.gain"])
