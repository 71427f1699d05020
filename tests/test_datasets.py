# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause

import os

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_digits

from ldmlr_sklearn.datasets import (
    load_digits_lt,
    load_image_folder,
    make_long_tailed,
)


def balanced_labels(n_classes, n_rows):
    return np.tile(np.arange(n_classes), n_rows)


@pytest.mark.parametrize(
    ("n_classes", "imbalance_factor", "total"),
    # CIFAR-10-LT and CIFAR-100-LT as the literature builds them.
    [(10, 100, 12406), (10, 10, 20431), (100, 100, 10847), (100, 10, 19573)],
)
def test_exponential_profile_gives_the_sizes_of_the_literature(
    n_classes, imbalance_factor, total
):
    y = balanced_labels(n_classes, 50_000 // n_classes)
    rows, y_long = make_long_tailed(
        np.arange(len(y)), y, imbalance_factor=imbalance_factor, random_state=0
    )
    counts = np.bincount(y_long)
    assert counts.sum() == total
    assert counts[0] == imbalance_factor * counts[-1]
    assert np.all(np.diff(counts) <= 0)
    np.testing.assert_array_equal(y[rows], y_long)
    assert np.all(np.diff(rows) > 0)  # no row twice, the order kept


def test_profile_survives_rounding():
    # 49 * (1 / 49) is 0.9999999999999999
    y = balanced_labels(2, 49)
    _, y_long = make_long_tailed(y, y, imbalance_factor=49)
    assert np.bincount(y_long).tolist() == [49, 1]


@pytest.mark.parametrize(
    ("n_classes", "expected"),
    [(4, [40, 40, 4, 4]), (5, [40, 40, 40, 4, 4])],
)
def test_step_profile(n_classes, expected):
    y = balanced_labels(n_classes, 40)
    _, y_long = make_long_tailed(y, y, imbalance_factor=10, profile="step")
    assert np.bincount(y_long).tolist() == expected


def test_class_order_goes_from_head_to_tail():
    y = np.array(["ant", "bee", "cat"])[balanced_labels(3, 100)]
    _, y_long = make_long_tailed(
        y, y, imbalance_factor=100, class_order=["cat", "ant", "bee"]
    )
    classes, counts = np.unique(y_long, return_counts=True)
    assert dict(zip(classes, counts, strict=True)) == {"cat": 100, "ant": 10, "bee": 1}


def test_profile_holds_where_a_later_class_falls_short():
    y = np.repeat([0, 1, 2], [1000, 60, 1000])
    _, y_long = make_long_tailed(y, y, imbalance_factor=4)
    # 121 is the largest head for which class 1 has enough: 121 / 2 is 60.
    assert np.bincount(y_long).tolist() == [121, 60, 30]


def test_imbalance_factor_one_balances():
    y = np.repeat([0, 1, 2], [50, 60, 70])
    _, y_long = make_long_tailed(y, y, imbalance_factor=1)
    assert np.bincount(y_long).tolist() == [50, 50, 50]


def test_random_state_decides_which_rows_stay():
    y = balanced_labels(3, 50)
    rows = np.arange(len(y))
    first, again, other = (
        make_long_tailed(rows, y, imbalance_factor=10, random_state=seed)[0]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_kind_of_rows_is_kept_in_kind():
    y = balanced_labels(2, 10)
    rows = np.arange(20)
    chosen, _ = make_long_tailed(rows, y, imbalance_factor=5, random_state=0)

    def long_tailed(X, labels=y):
        return make_long_tailed(X, labels, imbalance_factor=5, random_state=0)

    images = rows.reshape(-1, 1, 1, 1) * np.ones((20, 4, 4, 3), np.uint8)
    kept, _ = long_tailed(images)
    np.testing.assert_array_equal(kept, images[chosen])
    assert kept.dtype == images.dtype

    files, labels = long_tailed([f"{row}.png" for row in rows], y.tolist())
    assert files == [f"{row}.png" for row in chosen]
    assert isinstance(labels, list)

    frame = pd.DataFrame({"row": rows}, index=rows + 100)
    kept, labels = long_tailed(frame, pd.Series(y, index=frame.index, name="class"))
    pd.testing.assert_frame_equal(kept, frame.iloc[chosen])
    pd.testing.assert_index_equal(labels.index, kept.index)

    for make in (sparse.csr_array, sparse.coo_matrix):
        kept, _ = long_tailed(make(np.eye(20)))
        assert isinstance(kept, make)
        np.testing.assert_array_equal(kept.toarray(), np.eye(20)[chosen])

    kept, _ = long_tailed(sparse.csr_array(np.eye(20)))
    np.testing.assert_array_equal(kept.toarray(), np.eye(20)[chosen])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"imbalance_factor": 0.5}, r"must be a float in the range \[1.0, inf\)"),
        ({"profile": "linear"}, "'profile' parameter .* must be a str among"),
        ({"class_order": [0, 1]}, "must name every class of y exactly once"),
        ({"class_order": [0, 1, 1]}, "must name every class of y exactly once"),
        ({"class_order": [[0, 1, 2]]}, "must name every class of y exactly once"),
        ({"imbalance_factor": 21}, "leaves no row of class 2: .* allow 20 for the"),
        ({"y": np.zeros(60)}, "needs at least two classes. Got 1"),
        ({"y": np.zeros(59)}, "inconsistent numbers of samples"),
        ({"y": np.linspace(0, 1, 60)}, "Unknown label type: continuous"),
    ],
)
def test_make_long_tailed_refuses(arguments, message):
    y = balanced_labels(3, 20)
    arguments = {"X": y, "y": y, "imbalance_factor": 10, **arguments}
    with pytest.raises(ValueError, match=message):
        make_long_tailed(**arguments)


def test_digits_have_a_long_tailed_and_a_balanced_part():
    digits = load_digits_lt(imbalance_factor=20, test_size=0.25)
    counts = np.bincount(digits.target)
    assert counts[0] // 20 == counts[-1]
    assert np.all(np.diff(counts) <= 0)
    assert set(np.bincount(digits.target_test)) == {43}  # a quarter of 174
    for part in ("", "_test"):
        images = digits["images" + part]
        assert images.shape == (len(digits["target" + part]), 8, 8)
        np.testing.assert_array_equal(images.reshape(-1, 64), digits["data" + part])


def test_digits_parts_are_rows_of_the_original_and_disjoint():
    digits, original = load_digits_lt(), load_digits()
    label_of = dict(zip(map(bytes, original.data), original.target, strict=True))
    train, test = set(map(bytes, digits.data)), set(map(bytes, digits.data_test))
    assert not train & test
    for part in ("", "_test"):
        found = [label_of[bytes(row)] for row in digits["data" + part]]
        np.testing.assert_array_equal(found, digits["target" + part])


def test_digits_class_order_and_random_state():
    order = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    digits = load_digits_lt(class_order=order, random_state=1)
    assert np.all(np.diff(np.bincount(digits.target)) >= 0)
    again = load_digits_lt(class_order=order, random_state=1)
    np.testing.assert_array_equal(digits.data, again.data)
    other = load_digits_lt(class_order=order, random_state=2)
    assert not np.array_equal(digits.data_test, other.data_test)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test_size": 0.001}, "leaves no row to test on: the smallest class has 174"),
        ({"test_size": 1.0}, "'test_size' parameter .* must be a float in the range"),
        ({"imbalance_factor": 1000}, "leaves no row of class 9"),
    ],
)
def test_load_digits_lt_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_digits_lt(**arguments)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_image_folder_lists_images_by_class(tmp_path):
    touch(
        tmp_path,
        "dog/2.png",
        "dog/1.JPG",
        "cat/deep/er/1.jpeg",
        "cat/notes.txt",
        "cat/.hidden.png",
        "cat/.cache/1.png",
        ".git/1.png",
        "readme.png",
    )
    images = load_image_folder(tmp_path)
    assert [os.path.relpath(file, tmp_path) for file in images.filenames] == [
        "cat/deep/er/1.jpeg",
        "dog/1.JPG",
        "dog/2.png",
    ]
    assert images.target.tolist() == [0, 1, 1]
    assert images.target_names.tolist() == ["cat", "dog"]


@pytest.mark.parametrize("extensions", [[".npy"], (".NPY",), ".npy"])
def test_image_folder_takes_other_extensions(tmp_path, extensions):
    touch(tmp_path, "cat/1.png", "cat/1.npy")
    images = load_image_folder(str(tmp_path), extensions=extensions)
    assert images.filenames.tolist() == [str(tmp_path / "cat" / "1.npy")]


def test_image_folder_refuses(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder '.*nowhere'"):
        load_image_folder(tmp_path / "nowhere")

    touch(tmp_path, "file.png")
    with pytest.raises(NotADirectoryError, match=r"'.*file.png' is a file"):
        load_image_folder(tmp_path / "file.png")
    with pytest.raises(ValueError, match="holds no folder"):
        load_image_folder(tmp_path)

    touch(tmp_path, "cat/1.png", "dog/readme.txt")
    with pytest.raises(ValueError, match=r"No image in the class folder\(s\) \['dog'"):
        load_image_folder(tmp_path)
    for extensions in ((), (1,)):
        with pytest.raises(ValueError, match="extensions must be file endings"):
            load_image_folder(tmp_path, extensions=extensions)
    with pytest.raises(ValueError, match="'path' parameter of load_image_folder"):
        load_image_folder(3)
