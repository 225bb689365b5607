"""The paper's figures and those that extend them: names, captions, and what each is drawn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..rendering.deciding_metric import TOO_FEW_SAMPLES
from ..rendering.figures import magnitudes, over_training, probes, samples, score_curves
from ..study import ArtifactData, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BASELINE = "A"
COMPARED_UNDER_CORRELATION = ("A", "C", "E")  # plain, with magnitude preservation, and without LayerNorm
USUAL_WIDTH = 0.05  # the EMA width of the paper's samples

# Sentences that several captions share.
SEEDS = "Lines are means over seeds, shaded from the lowest to the highest seed."
METRICS = f"Where there are {TOO_FEW_SAMPLES}, KID is the one to go by."
OTHER_FEATURES = (
    "Gray: real images compared with real images. Distances on features other than Inception's are called FD and KD."
)


@figure(
    "magnitudes",
    title="Residual stream by block",
    experiments=("table1",),
    reads=("runs", "magnitudes"),
    caption="Magnitude of the residual stream by block, at initialization and after training: means over noise levels "
    "and seeds, shaded from the lowest to the highest noise level. Block 0 is the input of the first block.",
)
def residual_stream_by_block(data: ArtifactData) -> Figure:
    return magnitudes.residual_stream_by_block(data["runs"], data["magnitudes"])


@figure(
    "loss",
    title="Training loss",
    experiments=("table1",),
    reads=("runs", "training"),
    caption="Training loss (the mean squared error of the predicted noise plus the variational term), and its ratio to "
    "the loss of Config A. Runs with the same seed see the same images with the same noise, so the ratio is taken seed "
    "by seed and step by step. Lines are means over seeds. A cross marks the last finite loss of a run that diverged.",
)
def loss(data: ArtifactData) -> Figure:
    return over_training.loss_curves(data["runs"], data["training"], BASELINE)


@figure(
    "heldout_loss",
    title="Held-out loss",
    experiments=("table1",),
    reads=("runs", "heldout"),
    caption="Held-out loss over training: the mean squared error of the predicted noise on images that were never "
    "trained on (the half that does not tune), of the EMA. In the middle, its ratio to that of Config A, seed by seed. "
    "Right, the loss on as many images that were trained on, minus the held-out loss: below zero where the model fits "
    f"those better. All runs are shown the same images with the same timesteps and noises. {SEEDS}",
)
def heldout_loss(data: ArtifactData) -> Figure:
    return over_training.heldout_loss_curves(data["runs"], data["heldout"], BASELINE)


@figure(
    "samples",
    experiments=("table1",),
    reads=("runs", "fid", "samples"),
    caption="Samples of each configuration, one class per column. Images at the same position start from the same "
    "noise.",
)
def sample_grids(data: ArtifactData) -> Figure:
    return samples.sample_grids(data["runs"], data["fid"], data["samples"])


@figure(
    "magnitudes_over_training",
    title="Residual stream over training",
    experiments=("table1",),
    reads=("runs", "magnitudes"),
    caption="Magnitude of the residual stream over training, averaged over blocks (left) and after the last block "
    f"(right), averaged over noise levels. {SEEDS} Step 0 is the initialization; later points are snapshots of the "
    "EMA. In the paper it grows in Config A, and stays bounded in Configs C and E.",
)
def residual_stream_over_training(data: ArtifactData) -> Figure:
    return over_training.residual_stream_over_training(data["runs"], data["magnitudes"])


@figure(
    "sites",
    title="Magnitudes within a block",
    experiments=("table1",),
    reads=("runs", "magnitudes"),
    caption="Magnitudes within a block: the inputs of attention and of the MLP (after normalization and modulation), "
    "their outputs (before the gate), and the residual stream after each block. Above, by block after training; below, "
    "over training, as the mean over blocks, shaded from the lowest to the highest block. All are means over noise "
    "levels and seeds. Config D still has the LayerNorm that Config E removes.",
)
def sites(data: ArtifactData) -> Figure:
    return magnitudes.sites_within_a_block(data["runs"], data["magnitudes"])


@figure(
    "weights",
    title="Norms of weights",
    experiments=("table1",),
    reads=("runs", "magnitudes"),
    caption="Norms of weights: the root mean square norm of the rows as the EMA stores them, relative to the norm of a "
    "row that preserves magnitude. Left, over training, as the mean over blocks, shaded from the lowest to the highest "
    "block; right, by block after training, with the embeddings (in) and the final layer (out). Lines are means over "
    "seeds. Without forced normalization the norms of Config C can only grow. Configs D and E put each row back on the "
    "sphere after every step; an average of such rows is shorter than 1 where they have moved.",
)
def weights(data: ArtifactData) -> Figure:
    return over_training.weight_norms(data["runs"], data["magnitudes"])


@figure(
    "gains",
    title="Learned gains",
    experiments=("table1", "table2"),
    reads=("runs", "magnitudes"),
    caption="Learned gains over training, one signed scalar per head and block, starting at 0; means over seeds. "
    "Solid: the attention branch; dashed: the MLP branch; from dark to light: from the first block to the last. The "
    "final layer has gains of its own for scale, shift, noise and variance. Configs A and B have no gains.",
)
def gains(data: ArtifactData) -> Figure:
    return over_training.learned_gains(data["runs"], data["magnitudes"])


@figure(
    "fid_over_training",
    title="FID over training",
    experiments=("over_training",),
    reads=("runs", "fid"),
    caption="FID (left) and KID (right) over training, of samples from snapshots of the EMA under one protocol. "
    f"{SEEDS} {METRICS} {OTHER_FEATURES}",
)
def fid_over_training(data: ArtifactData) -> Figure:
    return score_curves.fid_over_training(data["runs"], data["fid"])


@figure(
    "learning_rate",
    title="FID by learning rate",
    experiments=("learning_rate",),
    reads=("runs", "fid"),
    caption="FID (left) and KID (right) by learning rate, at the last step of each run. "
    f"{SEEDS} Marked above are the rates at which runs of a configuration diverged, with the number of seeds: there "
    f"the line has a gap, since the seeds that are left would flatter the rate. {METRICS} {OTHER_FEATURES}",
)
def learning_rate(data: ArtifactData) -> Figure:
    return score_curves.fid_by_learning_rate(data["runs"], data["fid"])


@figure(
    "ema_width",
    title="FID by EMA width",
    experiments=("ema_width",),
    reads=("runs", "fid"),
    caption=f"FID (left) and KID (right) by the width of the EMA, reconstructed after training. {SEEDS} A star marks "
    f"the best width of a configuration, by the metric that decides (KID where there are {TOO_FEW_SAMPLES}). "
    "Where a run has several sampling seeds, it is chosen on the first and the others are shown, so that the choice "
    f"does not flatter the result. Dotted: the width used elsewhere. {OTHER_FEATURES}",
)
def ema_width(data: ArtifactData) -> Figure:
    return score_curves.fid_by_ema_width(data["runs"], data["fid"], USUAL_WIDTH)


@figure(
    "angles",
    title="Angles of rotation",
    experiments=("table2",),
    reads=("runs", "angles"),
    caption="Angles by which pairs of features are rotated, as the root mean square over pairs and images, by block "
    f"and noise level after training (from dark to light: from little to much noise). {SEEDS} All angles start at 0.",
)
def angles(data: ArtifactData) -> Figure:
    return probes.rotation_angles(data["runs"], data["angles"])


@figure(
    "correlated",
    title="Correlated inputs",
    experiments=("table1",),
    reads=("runs", "magnitudes"),
    caption="Magnitudes under correlated inputs, at initialization and after training: instead of noisy images the "
    "models get normal latents of magnitude 1 whose neighboring pixels have the correlation on the x axis (0: "
    "independent, as the lemmas assume). Lines are means over blocks, noise levels and seeds, shaded from the lowest "
    "to the highest block.",
)
def correlated(data: ArtifactData) -> Figure:
    return probes.correlated_inputs(data["runs"], data["magnitudes"], COMPARED_UNDER_CORRELATION)
