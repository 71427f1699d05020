# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Arrays, pictures and datasets as batches of tensors."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image
from scipy import sparse
from torch.utils.data import DataLoader, Dataset, TensorDataset

from ldmlr_sklearn._images import (
    ArrayImages,
    DatasetImages,
    PictureImages,
    decide_pixel_format,
    find_layout,
    holds_rows,
    open_images,
    resolve_image_shape,
)

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, size=(5, 6, 7, 3), dtype=np.uint8)  # (n, h, w, c)


class ListDataset(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, row):
        return self.items[row]


def as_float(images, **settings):
    """The value of every pixel after scaling, with neither mean nor resizing."""
    source = open_images(images)
    keywords = {"size": source.shape[:2], "n_channels": None, "mean": None, "std": None}
    pixels = decide_pixel_format(source, **(keywords | settings))
    raw = source.read(slice(None), source.shape)
    return pixels, pixels.normalize(pixels.to_unit(raw))


@pytest.mark.parametrize(
    ("shape", "keywords", "expected"),
    [
        ((6, 7), {}, ((6, 7, 1), None)),
        ((6, 7, 3), {}, ((6, 7, 3), 2)),
        ((3, 6, 7), {}, ((6, 7, 3), 0)),
        ((6, 7, 1), {}, ((6, 7, 1), 2)),
        ((4, 6, 7), {}, ((6, 7, 4), 0)),
        ((3, 8, 3), {}, ((3, 8, 3), 2)),
        ((3, 8, 4), {"channels_last": False}, ((8, 4, 3), 0)),
        ((6, 7, 3), {"channels_last": False}, ((6, 7, 3), 2)),
        ((13, 6, 7), {"n_channels": 13}, ((6, 7, 13), 0)),
    ],
)
def test_layout(shape, keywords, expected):
    assert find_layout(shape, **keywords) == expected


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 6, 7), r"wrong channel count: .*\(5, 6, 7\).*\[1, 3, 4\]"),
        ((5,), "images of 1 dimensions. Expected an array of shape"),
        ((2, 3, 4, 5), "images of 4 dimensions"),
    ],
)
def test_layout_that_is_none(shape, message):
    with pytest.raises(ValueError, match=message):
        find_layout(shape)


@pytest.mark.parametrize(
    ("image_shape", "n_features", "expected"),
    [
        ((8, 8), 64, (8, 8)),
        ((1, -1), 7, (1, 7)),
        ((-1, 4, 3), 24, (2, 4, 3)),
        ([3, 4, 4], 48, (3, 4, 4)),
    ],
)
def test_image_shape_is_resolved(image_shape, n_features, expected):
    assert resolve_image_shape(image_shape, n_features) == expected


@pytest.mark.parametrize(
    "image_shape", [(8, 9), (5, -1), (-1, -1), (0, -1), (64,), (8.0, 8), (-8, -8)]
)
def test_image_shape_that_does_not_fit(image_shape):
    with pytest.raises(ValueError, match=r"image_shape=.* of 64 features"):
        resolve_image_shape(image_shape, 64)


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (np.zeros((3, 4)), True),
        (np.zeros(3), True),
        ([[1, 2], [3, 4]], True),
        ([1, 2], True),
        ([], False),
        ({}, False),
        (None, False),
        (iter(["a.png"]), False),
        ([b"a.png"], False),
        ([None, "a.png"], False),
        ([{"a": 1}], False),
        ([["a", 1.0]], True),
        (DataLoader(TensorDataset(torch.zeros(3, 4))), False),
        (pd.DataFrame(np.zeros((3, 4))), True),
        (pl.DataFrame({"a": [1.0], "b": [2.0]}), True),
        (sparse.csr_array(np.eye(3)), True),
        (sparse.coo_array(np.eye(3)), True),
        (torch.zeros(3, 4), True),
        (np.array([[{"a": 1}, 2]], dtype=object), True),
        (np.zeros((3, 4, 4)), False),
        (torch.zeros(3, 4, requires_grad=True), True),
        (torch.zeros(3, 1, 4, 4), False),
        (torch.zeros(3, 1, 4, 4, requires_grad=True), False),
        ([np.zeros((4, 4))], False),
        ([[[1, 2], [3, 4]]], False),
        (["a.png"], False),
        ("a.png", False),
        (pd.Series(["a.png"]), False),
        (pd.Series([None, "a.png"]), False),
        (pd.DataFrame({"path": ["a.png"]}), False),
        (pl.Series(["a.png"]), False),
        (np.array([["a.png"]]), False),
        (TensorDataset(torch.zeros(3, 4)), False),
    ],
)
def test_rows_are_told_from_images(X, expected):
    assert holds_rows(X) is expected


@pytest.mark.parametrize(
    "images",
    [
        RGB,
        RGB.transpose(0, 3, 1, 2),
        torch.tensor(RGB),
        torch.tensor(RGB).permute(0, 3, 1, 2),
        list(RGB),
        list(torch.tensor(RGB)),
        RGB.tolist(),
        TensorDataset(torch.tensor(RGB).permute(0, 3, 1, 2), torch.arange(5)),
        ListDataset(list(RGB)),
        RGB[:, ::-1][:, ::-1],
        RGB.astype(">u2"),
        RGB.astype(np.float64),
    ],
    ids=str.split(
        "last first tensor-last tensor-first arrays tensors lists dataset "
        "dataset-arrays strided swapped float"
    ),
)
def test_every_kind_of_array_is_read_alike(images):
    source = open_images(images)
    assert len(source) == 5
    assert source.shape == (6, 7, 3)
    expected = torch.tensor(RGB).permute(0, 3, 1, 2).float()
    raw = source.read(slice(1, 4), source.shape)
    torch.testing.assert_close(raw.float(), expected[1:4])
    raw = source.read(np.array([4, 0]), source.shape)
    torch.testing.assert_close(raw.float(), expected[[4, 0]])


def test_gray_arrays_get_a_channel():
    source = open_images(RGB[..., 0])
    assert source.shape == (6, 7, 1)
    assert source.read(slice(None)).shape == (5, 1, 6, 7)


def test_arrays_are_not_written_to():
    frozen = RGB.astype(np.float32)
    frozen.flags.writeable = False
    images = open_images(frozen).read(slice(None))
    images += 1
    np.testing.assert_array_equal(frozen, RGB)


@pytest.mark.parametrize(
    ("array", "scale"),
    [
        (RGB, 255.0),
        (np.minimum(RGB, 16), 255.0),
        (RGB / 255.0, 1.0),
        (RGB / 1000.0, 1.0),
        (RGB > 100, 1.0),
        (RGB % 17, 255.0),
        (RGB.astype(float) % 17, 16.0),
        (RGB.astype(float), 255.0),
        (np.minimum(RGB, 200).astype(float), 255.0),
        (RGB.astype(np.int64) * 16, 4080.0),
        (RGB * 0.0, 1.0),
    ],
)
def test_scale(array, scale):
    pixels, images = as_float(array)
    assert pixels.scale == pytest.approx(scale)
    expected = torch.tensor(array.astype(np.float32) / np.float32(scale))
    torch.testing.assert_close(images, expected.permute(0, 3, 1, 2))


def test_scale_of_a_dataset_comes_from_all_over_it():
    images = torch.ones(1000, 1, 2, 2)
    images[-400:] = 200.0  # a class of its own, sorted to the end
    read = []

    class Counted(TensorDataset):
        def __getitem__(self, row):
            read.append(row)
            return super().__getitem__(row)

    pixels, _ = as_float(Counted(images))
    assert pixels.scale == 255.0
    # The first item tells the kind, and `as_float` reads all.
    assert len(read) == 1 + 256 + 1000
    assert read[1] == 0
    assert read[256] == 999


def test_scale_of_a_small_dataset():
    dataset = TensorDataset(torch.tensor(RGB).permute(0, 3, 1, 2).float() % 17)
    pixels, images = as_float(dataset)
    assert pixels.scale == 16.0
    assert images.max() == 1.0


def test_standardised_images_are_used_as_they_are():
    standardised = (RGB - RGB.mean()) / RGB.std()
    pixels, images = as_float(standardised, n_channels=3, mean=(0.5,), std=(0.1,))
    assert pixels.standardised
    expected = torch.tensor(standardised).float().permute(0, 3, 1, 2)
    torch.testing.assert_close(images, expected)


def test_overshoot_of_a_resize_is_not_standardisation():
    pixels, _ = as_float(RGB - 10.0)
    assert not pixels.standardised


def test_normalisation_of_repeated_gray_channels():
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    _, images = as_float(RGB[..., 0], n_channels=3, mean=mean, std=std)
    gray = RGB[..., 0] / 255.0
    expected = [(gray - m) / s for m, s in zip(mean, std, strict=True)]
    np.testing.assert_allclose(images, np.stack(expected, axis=1), atol=1e-6)


def test_gray_backbones_get_the_mean_of_the_normalisations():
    pixels, _ = as_float(RGB[..., :1], n_channels=1, mean=(0.1, 0.3), std=(0.2, 0.4))
    assert pixels.mean == pytest.approx((0.2,))
    assert pixels.std == pytest.approx((0.3,))


def test_alpha_is_dropped():
    rgba = np.concatenate([RGB, RGB[..., :1]], axis=-1)
    _, images = as_float(rgba, n_channels=3)
    torch.testing.assert_close(images, as_float(RGB)[1])


@pytest.mark.parametrize("n_channels", [1, 4])
def test_wrong_channel_count(n_channels):
    message = f"3 channels, the backbone takes {n_channels}.*'in_chans': 3"
    with pytest.raises(ValueError, match=message):
        as_float(RGB, n_channels=n_channels)


def test_resizing_arrays():
    gradient = np.tile(np.linspace(0, 1, 16), (1, 16, 1))
    _, images = as_float(gradient, size=(8, 8))
    assert images.shape == (1, 1, 8, 8)
    expected = gradient[0].reshape(8, 2, 8, 2).mean(axis=(1, 3))
    # The filter is wider than two pixels: only a straight line stays what it is.
    np.testing.assert_allclose(images[0, 0, :, 1:-1], expected[:, 1:-1], atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(value):
    images = RGB / 255.0
    images[3, 2, 1, 0] = value
    with pytest.raises(ValueError, match="contains NaN or infinity"):
        as_float(images)
    with pytest.raises(ValueError, match="contains NaN or infinity"):
        open_images(images).read(slice(3, 4))
    dataset = TensorDataset(torch.tensor(images).permute(0, 3, 1, 2))
    with pytest.raises(ValueError, match="contains NaN or infinity"):
        open_images(dataset).read(slice(3, 4), (6, 7, 3))


@pytest.mark.parametrize(
    ("fitted", "given", "message"),
    [
        (RGB, RGB / 255.0, "floating-point images.*fitted on 8-bit ones"),
        (RGB % 17 * 1.0, RGB, "8-bit images .*fitted on 0..16"),
        (RGB - 128.0, RGB, "8-bit images .*fitted on standardised ones"),
        (RGB, RGB.astype(int), None),
        (RGB * 1.0, RGB, None),
        (RGB / 255.0, RGB, None),
        (RGB, RGB, None),
    ],
)
def test_values_of_another_kind_than_in_fit(fitted, given, message):
    pixels, _ = as_float(fitted)
    if message is None:
        pixels.check_range(open_images(given))
        return
    with pytest.raises(ValueError, match=message):
        pixels.check_range(open_images(given))


STANDARDISED = (RGB - RGB.mean()) / RGB.std()
DIGITS = RGB.astype(float) % 17
SIXTEEN_BIT = RGB.astype(np.uint16) * 257


def check_values(fitted, given):
    pixels, _ = as_float(fitted)
    source = open_images(given)
    raw = source.read(slice(None), pixels.shape)
    pixels.check_values(raw, whole_numbers=source.whole_numbers)


@pytest.mark.parametrize(
    ("fitted", "given", "message"),
    [
        (RGB, SIXTEEN_BIT, r"of 0 to 6\d+, but .* 8-bit ones \(0..255\)"),
        (RGB, SIXTEEN_BIT // 16, r"of 0 to 4\d+, but .* 8-bit ones \(0..255\)"),
        (RGB, RGB.astype(int) - 128, "of -128 to .* 8-bit ones"),
        (RGB / 255.0, RGB * 1.0, "of 0 to 25., but .* images of 0..1"),
        (RGB / 255.0, RGB / 127.5 - 1, "of -1 to .* images of 0..1"),
        (RGB / 255.0, STANDARDISED, "of -1.* images of 0..1"),
        (RGB * 1.0, SIXTEEN_BIT, "images of 0..255.*same scale"),
        (RGB * 1.0, STANDARDISED, "of -1.* images of 0..255"),
        (SIXTEEN_BIT, STANDARDISED, "of -1.* images of 0..6"),
        (DIGITS, STANDARDISED, "of -1.* images of 0..16"),
        (DIGITS, SIXTEEN_BIT, "images of 0..16"),
        (STANDARDISED, RGB * 1.0, "of 0 to 25., but .* standardised ones"),
    ],
)
def test_values_on_another_scale_than_in_fit(fitted, given, message):
    with pytest.raises(ValueError, match=message):
        check_values(fitted, given)


@pytest.mark.parametrize("fitted", [RGB * 1.0, SIXTEEN_BIT, DIGITS, STANDARDISED])
def test_values_that_look_like_those_of_the_unit_scale(fitted):
    with pytest.warns(UserWarning, match="as images of 0..1 do, .* the same scale"):
        check_values(fitted, RGB / 255.0)


@pytest.mark.parametrize(
    ("fitted", "given"),
    [
        (RGB, RGB.astype(np.int64)),
        (RGB // 2 * 1.0, RGB * 1.2),  # overshoot of a resize
        (RGB / 510, RGB / 255 * 1.3 - 0.15),
        (SIXTEEN_BIT // 4, SIXTEEN_BIT),  # darker ones in training
        (STANDARDISED, 2 * STANDARDISED),
        (RGB / 25.5 - 9.5, 20.0 - RGB / 25.5),  # largest on the other side
        (RGB * 1.0, RGB * 0.0),  # black
        (SIXTEEN_BIT, np.minimum(RGB, 1).astype(np.uint16)),
    ],
)
def test_values_on_the_scale_of_fit(fitted, given):
    check_values(fitted, given)


def in_mode(mode):
    """A picture of one colour, in a mode of PIL, and its value in RGB."""
    if mode == "I;16":
        levels = np.full((6, 7), 257 * 100, dtype=np.uint16)
        return Image.fromarray(levels), (100, 100, 100)
    if mode.startswith("I of"):
        levels = np.full((6, 7), 100 if mode == "I of 8 bits" else 25700)
        return Image.fromarray(levels.astype(np.int32)), (100, 100, 100)
    picture = Image.new("RGB", (7, 6), (200, 100, 50))
    if mode in ("L", "LA"):
        return Image.new("L", (7, 6), 100).convert(mode), (100, 100, 100)
    if mode == "P":
        return picture.quantize(4), (200, 100, 50)
    return picture.convert(mode), (200, 100, 50)


@pytest.mark.parametrize(
    "mode",
    [*str.split("RGB RGBA L LA P CMYK I;16"), "I of 8 bits", "I of 16 bits"],
)
def test_modes_of_pictures(mode, tmp_path):
    picture, expected = in_mode(mode)
    pictures = [picture]
    if picture.mode not in ("CMYK", "I"):  # which PNG does not know
        picture.save(tmp_path / "picture.png")
        pictures.append(tmp_path / "picture.png")
    for one in pictures:
        raw = open_images([one]).read(slice(None), (6, 7, 3))
        assert raw.shape == (1, 3, 6, 7)
        assert raw.dtype == torch.uint8
        np.testing.assert_allclose(raw[0, :, 3, 3].numpy(), expected, atol=1)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_pictures_of_fewer_than_their_sixteen_bits_are_told(dtype, tmp_path):
    levels = np.full((6, 7), 4095, dtype=dtype)
    Image.fromarray(levels).save(tmp_path / "scan.tif")
    source = open_images([str(tmp_path / "scan.tif")])
    with pytest.warns(UserWarning, match=r"scan.tif.* 16 bits.*pixel is 4095.*arrays"):
        pixels = source.read([0], (6, 7, 1))
    assert (pixels == 15).all()


def test_black_pictures_of_sixteen_bits():
    black = Image.fromarray(np.zeros((6, 7), dtype=np.uint16))
    assert not open_images([black]).read([0], (6, 7, 1)).any()


def test_pictures_of_real_numbers_are_refused(tmp_path):
    picture = Image.fromarray(np.full((6, 7), 0.5, dtype=np.float32))
    path = tmp_path / "picture.tiff"
    picture.save(path)
    for one in (picture, path):
        with pytest.raises(TypeError, match=r"\(row 0 of X\) has pixels of real num"):
            open_images([one]).read(slice(None), (6, 7, 3))


def test_pictures_for_gray_backbones():
    picture = Image.fromarray(RGB[0])
    raw = open_images([picture]).read(slice(None), (6, 7, 1))
    np.testing.assert_array_equal(raw[0, 0], np.asarray(picture.convert("L")))


def test_pictures_are_cropped_rather_than_squeezed():
    pixels = np.zeros((8, 16), dtype=np.uint8)
    pixels[:, 4:12] = 255
    raw = open_images([Image.fromarray(pixels)]).read(slice(None), (8, 8, 1))
    assert (raw == 255).all()


@pytest.fixture
def paths(tmp_path):
    paths = [tmp_path / f"{row}.png" for row in range(len(RGB))]
    for path, image in zip(paths, RGB, strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.mark.parametrize(
    "container",
    [
        list,
        tuple,
        np.array,
        pd.Series,
        lambda paths: [str(path) for path in paths],
        lambda paths: np.array([str(path) for path in paths]),
        lambda paths: np.array([str(path) for path in paths])[:, None],
        lambda paths: pd.Series([str(path) for path in paths], index=list("edcba")),
        lambda paths: pd.DataFrame({"path": [str(path) for path in paths]}),
        lambda paths: pl.Series([str(path) for path in paths]),
    ],
)
def test_containers_of_paths(container, paths):
    source = open_images(container(paths))
    assert isinstance(source, PictureImages)
    assert source.shape is None
    raw = source.read(np.array([4, 1, 1]), (6, 7, 3))
    torch.testing.assert_close(raw, torch.tensor(RGB[[4, 1, 1]]).permute(0, 3, 1, 2))


def test_dataset_of_pictures():
    dataset = ListDataset([(Image.fromarray(image), 1) for image in RGB])
    source = open_images(dataset)
    assert isinstance(source, DatasetImages)
    assert source.shape is None
    raw = source.read(slice(0, 2), (6, 7, 3))
    torch.testing.assert_close(raw, torch.tensor(RGB[:2]).permute(0, 3, 1, 2))


def test_truncated_file_is_named(paths):
    paths[2].write_bytes(paths[2].read_bytes()[:60])
    with pytest.raises(ValueError, match=r"2\.png' \(row 2 of X\) cannot be read"):
        open_images(paths).read(slice(None), (6, 7, 3))


def test_truncated_picture_is_named(paths):
    paths[2].write_bytes(paths[2].read_bytes()[:60])
    with Image.open(paths[2]) as picture:
        source = open_images([picture])
        with pytest.raises(ValueError, match=r"2\.png' \(row 0 of X\) cannot be read"):
            source.read(slice(None), (6, 7, 3))


def test_file_that_is_no_image_is_named(paths):
    paths[1].write_text("no image")
    with pytest.raises(ValueError, match=r"1\.png' \(row 1 of X\) cannot be read"):
        open_images(paths).read(slice(None), (6, 7, 3))


def test_damaged_file_of_an_array_is_named(paths):
    paths[0].write_text("no image")
    with pytest.raises(ValueError, match=r"The image '.*0\.png' \(row 0 of X\)"):
        open_images(np.array([str(path) for path in paths])).read([0], (6, 7, 3))


def test_missing_file_is_named(paths):
    paths[3].unlink()
    with pytest.raises(FileNotFoundError, match=r"3\.png' \(row 3 of X\) does not"):
        open_images(paths).read(slice(None), (6, 7, 3))


def test_pictures_have_few_channels(paths):
    with pytest.raises(ValueError, match="1, 3 or 4 channels, 13 are expected"):
        open_images(paths).read(slice(None), (6, 7, 13))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("a.png", TypeError, "one path. Expected a list of paths"),
        (Image.new("RGB", (9, 9)), TypeError, "one PIL image. Expected a list"),
        (Image.new("L", (9, 9)), TypeError, "one PIL image. Expected a list"),
        (
            [np.zeros((4, 4)), np.zeros((5, 4))],
            ValueError,
            r"mixture.*row 1 has \(5, 4",
        ),
        ([[[1, 2], [3, 4]], [[1, 2]]], ValueError, "mixture of image shapes"),
        (
            ["a.png", Image.new("L", (2, 2)), 3],
            TypeError,
            "mixture: row 0 .*row 2 a int",
        ),
        (["a.png", np.zeros((4, 4))], TypeError, "mixture: row 0 is a str"),
        ([None, "a.png"], TypeError, "mixture: row 1 is a str, row 0 a NoneType"),
        (
            pd.Series([None, "a.png"], dtype=object),
            TypeError,
            "mixture: row 1 is a str, row 0 a NoneType",
        ),
        (None, TypeError, r"X is a NoneType\. Expected an array"),
        ({"a.png": 1}, TypeError, r"X is a dict\. Expected an array"),
        (iter(["a.png"]), TypeError, r"X is a list_iterator\. Expected an array"),
        ([b"a.png"], ValueError, r"values of type \|S5\. Expected an array"),
        (DataLoader(ListDataset([3])), TypeError, r"DataLoader.*Dataset.*X\.dataset"),
        ([], ValueError, r"0 sample\(s\) \(shape=\(0,\)\) while a minimum of 1"),
        (np.zeros((0, 4, 4)), ValueError, r"0 sample\(s\) \(shape=\(0, 4, 4\)\)"),
        (np.zeros((2, 4, 4, 3, 3)), ValueError, r"shape \(2, 4, 4, 3, 3\). Expected"),
        (np.zeros((2, 4, 4), dtype=complex), ValueError, "values of type complex128"),
        (np.array([["a", "b"]]), ValueError, r"one image or path a row.*\(1, 2\)"),
        (ListDataset([]), ValueError, "minimum of 1 is required"),
        (ListDataset([3]), TypeError, "Item 0 of the Dataset is a int"),
        (Dataset(), TypeError, "Dataset without a length"),
    ],
)
def test_what_is_no_image(X, error, message):
    with pytest.raises(error, match=message):
        open_images(X)


def test_dataset_of_mixed_shapes():
    source = open_images(ListDataset([torch.zeros(3, 6, 7), torch.zeros(3, 6, 8)]))
    with pytest.raises(ValueError, match="mixture of image shapes: item 1 of the Data"):
        source.read(slice(None), source.shape)


def test_array_of_images_in_an_object_array():
    images = np.empty(5, dtype=object)
    images[:] = list(RGB)
    assert isinstance(open_images(images), ArrayImages)
