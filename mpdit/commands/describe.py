"""A model of the grid -> its modules, parameters, FLOPs of an image, and expected magnitudes at initialisation.

In:  a model's name, such as DiT-S/2, and a letter, a modulation and the shape of the latents.
Out: printed: the tree of modules with parameters and FLOPs (one image, forward, 2 for a multiplication and an addition;
     matrix products, attention among them); and, by block, the magnitude at each site on unit-normal latents, and that
     of the residual stream on latents whose neighbouring pixels are correlated, where lemmas for independent features
     no longer hold. `--no-magnitudes` leaves the weights undrawn: for the largest models.
"""

import argparse

CORRELATIONS = (0.5, 0.9, 0.99)
SITES = ("attention_input", "attention_output", "mlp_input", "mlp_output", "residual")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="DiT-SIZE/PATCH, such as DiT-S/2")
    parser.add_argument("--config", default="E", metavar="LETTER", help="of the ladder (%(default)s)")
    parser.add_argument("--modulation", default="scale_shift", metavar="KIND", help="(%(default)s)")
    parser.add_argument("--input-size", type=int, default=16, metavar="N", help="side of the latents (%(default)s)")
    parser.add_argument("--in-channels", type=int, default=4, metavar="C", help="of the latents (%(default)s)")
    parser.add_argument("--num-classes", type=int, default=1000, metavar="K", help="(%(default)s)")
    parser.add_argument("--images", type=int, default=16, help="for the magnitudes (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and latents (%(default)s)")
    parser.add_argument("--magnitudes", action=argparse.BooleanOptionalAction, default=True)


def main(args: argparse.Namespace) -> None:
    import torch

    from ..experiment.ladder import ADDS
    from ..model.dit import create_model
    from ..system.errors import UserError

    if args.images < 1:
        raise UserError(f"--images: {args.images}: must be at least 1")
    shape = {"input_size": args.input_size, "in_channels": args.in_channels, "num_classes": args.num_classes}
    with torch.device("meta"):
        model = create_model(args.model, args.config, args.modulation, **shape)
    size, tokens = args.input_size, model.position.shape[0]
    print(f"{args.model}, config {args.config} ({ADDS[args.config]}), {args.modulation}")
    print(", ".join(f"{name} {value}" for name, value in vars(model.config).items()))
    latents = f"latents {args.in_channels} x {size} x {size}"
    print(f"{latents}, {tokens} tokens of width {model.width}, {args.num_classes} classes\n")
    print_tree(model)
    if args.magnitudes:
        print_magnitudes(create_model(args.model, args.config, args.modulation, seed=args.seed, **shape), args)


def print_tree(model) -> None:
    """Parameters and FLOPs of each module of `model` (on the meta device); equal blocks are told once."""
    counted = count_flops(model)
    print(f"{'module':<28}{'form':>20}{'parameters':>14}{'MFLOPs':>11}")
    for depth, name, module, times in _tree(model):
        parameters = times * sum(parameter.numel() for parameter in module.parameters())
        flops = times * sum(counted.get(part, 0) for part in module.modules())
        form = module.extra_repr() if not list(module.children()) else ""
        print(f"{'  ' * depth + name:<28}{form:>20}{parameters:>14,}{flops / 1e6:>11,.2f}")


def _tree(module, name: str = "model", depth: int = 0, times: int = 1):
    """(depth, name, module, how often it is there) of every module; of a list of blocks, the first stands for all."""
    from torch import nn

    if isinstance(module, nn.ModuleList):
        module, name, times = module[0], f"{name}, {len(module)} in all", times * len(module)
    yield depth, name, module, times
    for child_name, child in module.named_children():
        yield from _tree(child, child_name, depth + 1, times)


def count_flops(model) -> dict:
    """FLOPs of each module's own matrix products for one image, by module; `model` on the meta device.

    2 R n a vector for a matrix (R, n); 4 T^2 D for the two products of attention over T tokens of width D.
    """
    import torch

    from ..model.layers import Attention, Linear

    flops = {}

    def count(module, inputs, output):
        (x, *_) = inputs
        if isinstance(module, Attention):
            flops[module] = 4 * x.shape[1] * x[0].numel()
        else:
            flops[module] = 2 * module.weight.numel() * (x.numel() // x.shape[-1])

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, (Attention, Linear))]
    x = torch.empty(1, model.in_channels, model.input_size, model.input_size, device="meta")
    index = torch.empty(1, dtype=torch.int64, device="meta")
    with torch.no_grad():
        model(x, index, index)
    for hook in hooks:
        hook.remove()
    return flops


def print_magnitudes(model, args: argparse.Namespace) -> None:
    """M at every site of every block on unit-normal latents, and of the residual stream on correlated ones."""
    found = {correlation: magnitudes(model, args.images, correlation, args.seed) for correlation in (0, *CORRELATIONS)}
    print(f"\nmagnitudes at initialisation (seed {args.seed}) on {args.images} images of unit-normal latents,")
    print("and of the residual stream where neighbouring pixels have correlation r")
    correlated = "".join(f"{f'r = {correlation:g}':>10}" for correlation in CORRELATIONS)
    print(f"{'block':>5}{''.join(f'{site:>18}' for site in SITES)}{correlated}")
    for block in range(-1, len(model.blocks)):
        values = (found[0].get((block, site)) for site in SITES)
        sites = "".join(f"{'' if value is None else f'{value:.3f}':>18}" for value in values)
        correlated = "".join(f"{found[correlation][block, 'residual']:>10.3f}" for correlation in CORRELATIONS)
        print(f"{block if block >= 0 else 'input':>5}{sites}{correlated}")


def magnitudes(model, images: int, correlation: float, seed: int) -> dict[tuple[int, str], float]:
    """M by (block, site) of `model` for random timesteps and labels and `correlated_latents`."""
    import torch

    from ..model.magnitudes import correlated_latents, probes
    from ..system.seeds import generator

    draw = generator(seed, "describe")
    x = correlated_latents((images, model.in_channels, model.input_size, model.input_size), correlation, draw)
    t = torch.randint(1000, (images,), generator=draw)
    y = torch.randint(model.num_classes + 1, (images,), generator=draw)
    with torch.inference_mode(), probes(model) as found:
        model(x, t, y)
    return found.take()
