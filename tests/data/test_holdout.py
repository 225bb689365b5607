"""Pictures that are never trained on: left out of the training latents, and encoded apart."""

import numpy as np
import pytest
from helpers.packings import PACKINGS, WRITERS, data_of, noise_picture, write_folder, write_zip

from mpdit.__main__ import main
from mpdit.data.encode import encode
from mpdit.data.holdout import heldout_data, heldout_source
from mpdit.data.latents import Latents
from mpdit.data.shards import encode_in_shards
from mpdit.data.sources import open_source, rgb_images, save_index
from mpdit.experiment.parse import parse_data
from mpdit.system.errors import UserError

# Seven pictures of one class, nine of the other, no two alike
FILES = {f"{name}/{index}.png": noise_picture(10 * index + len(name), suffix="png")
         for name, count in (("cat", 7), ("horse", 9)) for index in range(count)}  # fmt: skip
MNIST = parse_data({"name": "mnist8", "source": "mnist", "resolution": 8, "holdout": 40})


def contents(latents):
    return [row.tobytes() for row in latents.mean]


def encoded(data, folder):
    """The latents that are trained on, and the held-out ones."""
    encode(open_source(data), data, folder / "train")
    encode(heldout_source(data), heldout_data(data), folder / "heldout")
    return Latents(folder / "train"), Latents(folder / "heldout")


@pytest.mark.parametrize("packing", PACKINGS)
def test_held_out_pictures_are_evenly_spaced_in_each_class_and_not_among_those_trained_on(tmp_path, packing):
    data = data_of(packing, WRITERS[packing](tmp_path / "pictures", FILES), holdout=2)
    train, heldout = encoded(data, tmp_path)
    whole = data.model_copy(update={"holdout": None})
    everything = [image[..., :1].tobytes() for image, _ in rgb_images(open_source(whole), whole)]
    withheld = [1, 5, 7 + 2, 7 + 6]  # of 7, ranks 1.75 and 5.25; of 9, ranks 2.25 and 6.75
    assert [row[0].tobytes() for row in heldout.mean] == [everything[index] for index in withheld]
    assert heldout.labels.tolist() == [0, 0, 1, 1]
    assert len(set(contents(train)) | set(contents(heldout))) == 16
    assert not set(contents(train)) & set(contents(heldout))
    assert heldout.classes == train.classes


def test_no_held_out_digit_is_trained_on(tmp_path):
    train, heldout = encoded(MNIST, tmp_path)
    assert np.bincount(heldout.labels).tolist() == [40] * 10
    assert np.bincount(train.labels).tolist() == [460] * 10
    assert not set(contents(train)) & set(contents(heldout))
    whole = MNIST.model_copy(update={"holdout": None})
    encode(open_source(whole), whole, tmp_path / "whole")
    assert sorted(contents(train) + contents(heldout)) == sorted(contents(Latents(tmp_path / "whole")))


def test_no_picture_counts_less_without_a_holdout(tmp_path):
    data = data_of("zip", write_zip(tmp_path / "pictures", FILES))
    assert open_source(data).selected is None
    assert len(open_source(data)) == len(FILES)


def test_names_labels_and_pictures_belong_together(tmp_path):
    data = data_of("zip", write_zip(tmp_path / "pictures", FILES), holdout=3)
    for source in (open_source(data), heldout_source(data)):
        assert len(source) == len(source.names) == len(source.labels)
        for index, (name, label) in enumerate(zip(source.names, source.labels, strict=True)):
            picture = source.picture(index, 8)
            assert (picture.name, picture.label) == (name, label)
            assert source.classes[label] == name.split("/")[0]


def test_held_out_pictures_are_never_mirrored(tmp_path):
    data = data_of("zip", write_zip(tmp_path / "pictures", FILES), holdout=2, flips="both")
    train, heldout = encoded(data, tmp_path)
    assert (train.count, heldout.count) == (2 * 12, 4)
    assert heldout.manifest.flips == "none"


def test_the_index_and_the_shards_leave_out_the_same_pictures(tmp_path):
    data = data_of("tar", WRITERS["tar"](tmp_path / "pictures", FILES), holdout=2)
    train, _ = encoded(data, tmp_path)
    save_index(open_source(data), tmp_path / "index.npz")
    indexed = open_source(data, tmp_path / "index.npz")
    assert list(indexed.names) == list(open_source(data).names)
    encode_in_shards(indexed, data, tmp_path / "shards", 3, workers=1)
    assert Latents(tmp_path / "shards").fingerprint == train.fingerprint


def test_a_broken_held_out_picture_can_be_skipped(tmp_path):
    files = {**FILES, "cat/1.png": FILES["cat/1.png"][:60]}  # the first of those withheld
    data = data_of("zip", write_zip(tmp_path / "pictures", files), holdout=2, broken="skip")
    train, heldout = encoded(data, tmp_path)
    assert heldout.labels.tolist() == [0, 1, 1]
    assert heldout.manifest.skipped == ("cat/1.png",)
    assert (train.count, train.manifest.skipped) == (12, ())


@pytest.mark.parametrize("holdout", [4, 100])
def test_a_class_keeps_as_many_pictures_as_it_gives(tmp_path, holdout):
    data = data_of("zip", write_zip(tmp_path / "pictures", FILES), holdout=holdout)
    for source in (open_source, heldout_source):
        with pytest.raises(UserError, match=rf"^data.holdout: {holdout} .*class cat .* has 7; expected at most 3,.*$"):
            source(data)


def test_other_pictures_are_held_out_whole(tmp_path):
    others = {name: noise_picture(1000 + index) for index, name in enumerate(FILES) if index % 2}
    path = write_folder(tmp_path / "validation", others)
    data = data_of("zip", write_zip(tmp_path / "pictures", FILES), holdout=str(path))
    train, heldout = encoded(data, tmp_path)
    assert train.count == len(FILES)
    assert heldout.count == len(others)
    assert heldout.manifest.source.kind == "folder"
    assert heldout.classes == train.classes


@pytest.mark.parametrize(
    ("names", "problem"), [(("cat", "dog"), "class dog"), (("cat",), "class horse"), (("cat", "horse", "dog"), "dog")]
)
def test_other_pictures_of_other_classes_are_refused_in_one_line(tmp_path, names, problem):
    path = write_folder(tmp_path / "validation", {f"{name}/0.png": noise_picture(1) for name in names})
    data = data_of("zip", write_zip(tmp_path / "pictures", FILES), holdout=str(path))
    with pytest.raises(UserError, match=f"^data.holdout: .*validation: its classes .*{problem}.*$"):
        heldout_source(data)


def test_pictures_in_color_are_no_held_out_digits(tmp_path):
    path = write_folder(tmp_path / "color", {f"{digit}/0.png": noise_picture(digit) for digit in range(10)})
    with pytest.raises(UserError, match=r"^data.holdout: .*3 channels.*mnist have 1$"):
        heldout_source(MNIST.model_copy(update={"holdout": str(path)}))


def test_without_a_holdout_there_is_nothing_to_encode(tmp_path, capsys):
    data = MNIST.model_copy(update={"holdout": None})
    assert main(["encode", data.model_dump_json(), "--heldout", "--output", str(tmp_path / "latents")]) == 2
    assert "data.holdout: null; expected" in capsys.readouterr().err


def test_the_command_encodes_the_held_out_pictures(tmp_path):
    data = data_of("zip", write_zip(tmp_path / "pictures", FILES), holdout=2)
    assert main(["encode", data.model_dump_json(), "--heldout", "--output", str(tmp_path / "latents")]) == 0
    assert Latents(tmp_path / "latents").fingerprint == encoded(data, tmp_path)[1].fingerprint
