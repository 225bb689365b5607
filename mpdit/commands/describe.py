"""Print the modules, parameters, FLOPs and expected magnitudes of a model at initialization.

In:  a model's name, such as DiT-S/2; a configuration (Config A to E of the paper, or another of the ladder), a
     modulation, and the shape of the latents.
Out: on standard output, the tree of modules with their parameters and FLOPs (forward pass of one image; matrix
     products only, attention among them, 2 operations per multiply-add). Then, block by block, the magnitude at each
     site for unit-normal latents, and that of the residual stream for latents whose neighboring pixels are
     correlated, where the paper's lemmas, which assume independent features, no longer hold. `--no-magnitudes` skips
     this second part and does not draw the weights: for the largest models.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from ..model.dit import DiT

CORRELATIONS = (0.5, 0.9, 0.99)
SITES = ("attention_input", "attention_output", "mlp_input", "mlp_output", "residual")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="DiT-SIZE/PATCH, such as DiT-S/2")
    parser.add_argument("--config", default="E", metavar="CONFIG", help="configuration of the ladder (%(default)s)")
    parser.add_argument(
        "--configuration", metavar="CONFIGURATION",
        help="YAML file, or JSON itself, whose `configs:` and `sizes:` are known beside the shipped ones",
    )  # fmt: skip
    parser.add_argument("--modulation", default="scale_shift", metavar="NAME", help="(%(default)s)")
    parser.add_argument(
        "--input-size", type=int, default=16, metavar="N", help="height and width of the latents (%(default)s)"
    )
    parser.add_argument("--in-channels", type=int, default=4, metavar="C", help="channels of the latents (%(default)s)")
    parser.add_argument("--num-classes", type=int, default=1000, metavar="K", help="(%(default)s)")
    parser.add_argument(
        "--images", type=int, default=16, metavar="N", help="images the magnitudes are averaged over (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and latents (%(default)s)")
    parser.add_argument(
        "--magnitudes", action=argparse.BooleanOptionalAction, default=True, help="whether to measure magnitudes (yes)"
    )


def main(args: argparse.Namespace) -> None:
    from ..experiment.parse import read_ladder
    from ..system.errors import UserError

    if args.images < 1:
        raise UserError(f"--images: {args.images}: must be at least 1")
    ladder = read_ladder(args.configuration)  # before torch is imported, which a study's file may not do

    import torch

    from ..experiment.parts import in_words
    from ..model.dit import build_model

    shape = {"input_size": args.input_size, "in_channels": args.in_channels, "num_classes": args.num_classes}
    arguments = (*ladder.parse_model(args.model), ladder.config(args.config), args.modulation)
    with torch.device("meta"):
        model = build_model(*arguments, **shape)
    size, tokens = args.input_size, model.position.shape[0]
    print(f"{args.model}, Config {args.config} ({ladder.adds[args.config]}), modulation {args.modulation}")
    print(", ".join(f"{name} {value}" for name, value in vars(model.config).items()))
    if model.parts:
        print(f"with {in_words(model.parts)}")
    latents = f"latents {args.in_channels} x {size} x {size}"
    print(f"{latents}, {tokens} tokens of width {model.width}, {args.num_classes} classes\n")
    print_tree(model)
    if args.magnitudes:
        print_magnitudes(build_model(*arguments, seed=args.seed, **shape), args.images, args.seed)


def print_tree(model: "DiT") -> None:
    """Print parameters and FLOPs of each module of `model`; a list of equal blocks takes the lines of one."""
    from ..model.flops import flops_by_module
    from ..system.console import aligned

    flops = flops_by_module(model)
    rows = [("module", "form", "parameters", "MFLOPs")]
    for node in _nodes(model):
        parameters = node.copies * sum(parameter.numel() for parameter in node.module.parameters())
        operations = node.copies * flops.get(node.path, 0)
        form = node.module.extra_repr() if not list(node.module.children()) else ""
        rows.append((f"{'  ' * node.depth}{node.label}", form, f"{parameters:,}", f"{operations / 1e6:,.2f}"))
    print(*aligned(rows, text_columns=1), sep="\n")


@dataclass(frozen=True)
class Node:
    """A module in the tree: what it is called there, its name in `named_modules`, and how many equal ones it is."""

    depth: int
    label: str
    path: str
    module: "nn.Module"
    copies: int


def _nodes(
    module: "nn.Module", label: str = "model", path: str = "", depth: int = 0, copies: int = 1
) -> Iterator[Node]:
    """The module and everything below it, depth first; the first of a list of blocks represents all of them.

    Activations without parameters are left out.
    """
    from torch import nn

    from ..model.layers import Activation

    if isinstance(module, nn.ModuleList):
        label, path, copies = f"{label} ({len(module)} in total)", f"{path}.0", copies * len(module)
        module = module[0]
    yield Node(depth, label, path, module, copies)
    for name, child in module.named_children():
        if isinstance(child, Activation) and not list(child.parameters()):
            continue
        yield from _nodes(child, name, f"{path}.{name}" if path else name, depth + 1, copies)


def print_magnitudes(model: "DiT", images: int, seed: int) -> None:
    """Print M at every site of every block for unit-normal latents, and of the residual stream for correlated ones."""
    from ..system.console import aligned

    measured = {correlation: magnitudes(model, images, correlation, seed) for correlation in (0.0, *CORRELATIONS)}
    print(f"\nMagnitudes at initialization (seed {seed}) over {images} images of unit-normal latents,")
    print("and of the residual stream if neighboring pixels have correlation r")
    rows = [("block", *SITES, *(f"r = {correlation:g}" for correlation in CORRELATIONS))]
    for block in range(-1, len(model.blocks)):
        keys = [(0.0, site) for site in SITES] + [(correlation, "residual") for correlation in CORRELATIONS]
        values = (measured[correlation].get((block, site)) for correlation, site in keys)
        cells = ("" if value is None else f"{value:.3f}" for value in values)
        rows.append(("input" if block == -1 else str(block), *cells))
    print(*aligned(rows, text_columns=1), sep="\n")


def magnitudes(model: "DiT", images: int, correlation: float, seed: int) -> dict[tuple[int, str], float]:
    """M by (block, site) of `model` for random timesteps and labels and `correlated_latents`."""
    import torch

    from ..model.magnitudes import correlated_latents, probes
    from ..system.seeds import generator

    random = generator(seed, "describe")
    x = correlated_latents((images, model.in_channels, model.input_size, model.input_size), correlation, random)
    t = torch.randint(1000, (images,), generator=random)
    y = torch.randint(model.num_classes + 1, (images,), generator=random)
    with torch.inference_mode(), probes(model) as recorded:
        model(x, t, y)
    return recorded.pop_all()
