"""EfficientNet-Lite0: its weights and their preparation are right, and folding changes nothing but rounding."""

import io
import zipfile

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

from mpdit.evaluation.efficientnet_lite import bundled_weights, efficientnet_lite0, prepare


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


def test_folding_changes_nothing_but_rounding():
    plain = EfficientNet.from_name("efficientnet-lite0", image_size=96)
    plain.load_state_dict(bundled_weights())
    plain.eval()
    x = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = plain.extract_features(x)
        folded = efficientnet_lite0(96).extract_features(x)
    assert expected.std() > 0.1
    torch.testing.assert_close(folded, expected, rtol=0, atol=1e-4)
