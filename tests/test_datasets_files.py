# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""CIFAR archives and image lists, made here in their formats."""

import contextlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldmlr_sklearn import FeatureEncoder
from ldmlr_sklearn.datasets import load_cifar, load_image_list, make_long_tailed

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
RNG = np.random.default_rng(0)


def batches(kind, n_rows=20):
    """File -> contents, as the authors of CIFAR pickle them."""
    n_classes = 10 if kind == "cifar-10-batches-py" else 100
    key = "labels" if n_classes == 10 else "fine_labels"
    files = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    files = files if n_classes == 10 else ["train", "test"]
    contents = {}
    for file in files:
        contents[file] = {
            "data": RNG.integers(256, size=(n_rows, 3072), dtype=np.uint8),
            key: RNG.integers(n_classes, size=n_rows).tolist(),
        }
    names = [f"class {number}" for number in range(n_classes)]
    meta, name_key = ("batches.meta", "label_names")
    if n_classes == 100:
        meta, name_key = ("meta", "fine_label_names")
    contents[meta] = {name_key: names}
    return contents


def pickle_two(contents):
    """Pickle as Python 2 did: its strings are bytes of Latin-1."""
    buffer = io.BytesIO()
    pickler = pickle._Pickler(buffer, protocol=2, fix_imports=True)
    dispatch = dict(pickler.dispatch)

    def save_str(self, text):
        data = text.encode("latin1")
        self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        self.memoize(text)

    def save_bytes(self, data):
        self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)
        self.memoize(data)

    dispatch[str], dispatch[bytes] = save_str, save_bytes
    pickler.dispatch = dispatch
    pickler.dump(contents)
    return buffer.getvalue()


def write_folder(root, kind, write=pickle.dumps):
    contents = batches(kind)
    (root / kind).mkdir(parents=True)
    for name, content in contents.items():
        (root / kind / name).write_bytes(write(content))
    return contents


@pytest.mark.parametrize("write", [pickle.dumps, pickle_two])
@pytest.mark.parametrize("kind", ["cifar-10-batches-py", "cifar-100-python"])
def test_cifar_in_every_wrapping(tmp_path, kind, write):
    contents = write_folder(tmp_path, kind, write)
    with tarfile.open(tmp_path / "archive.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / kind, kind)
    train = [name for name in contents if name.startswith(("data_batch", "train"))]
    rows = np.concatenate([contents[name]["data"] for name in train])
    key = "labels" if kind == "cifar-10-batches-py" else "fine_labels"
    for path in (tmp_path, tmp_path / kind, tmp_path / "archive.tar.gz"):
        cifar = load_cifar(path)
        assert cifar.images.shape == (20 * len(train), 32, 32, 3)
        assert cifar.images.dtype == np.uint8
        # A row is the red plane, then the green and the blue one.
        np.testing.assert_array_equal(cifar.images[:, 0, 1, 2], rows[:, 2049])
        np.testing.assert_array_equal(cifar.images[:, 1, 0, 0], rows[:, 32])
        labels = [label for name in train for label in contents[name][key]]
        assert cifar.target.tolist() == labels
        assert len(cifar.images_test) == len(cifar.target_test) == 20
        assert cifar.target_names[3] == "class 3"


class Evil:
    def __reduce__(self):
        return (print, ("code has run",))


def test_code_in_a_pickle_never_runs(tmp_path, capsys):
    write_folder(tmp_path, "cifar-10-batches-py")
    file = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    for content in (Evil(), {"data": Evil()}, np.array([Evil()], dtype=object)):
        file.write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match=r"data_batch_2 is damaged.*print"):
            load_cifar(tmp_path)
    assert "code has run" not in capsys.readouterr().out


def test_cifar_that_is_damaged_or_incomplete(tmp_path):
    contents = write_folder(tmp_path, "cifar-10-batches-py")
    folder = tmp_path / "cifar-10-batches-py"
    file = folder / "data_batch_3"
    for content, message in (
        (pickle.dumps(contents["test_batch"])[:-50], "data_batch_3 is damaged, or no"),
        (pickle.dumps([1, 2]), "data_batch_3 holds a list, expected the dictionary"),
        (pickle.dumps({"labels": [1]}), r"data of shape None and 1 labels"),
        (
            pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}),
            r"data of shape \(2, 3072\) and 1 labels\. Expected uint8 rows",
        ),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_cifar(tmp_path)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_3"):
        load_cifar(tmp_path)
    with tarfile.open(tmp_path / "archive.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    with pytest.raises(FileNotFoundError, match=r"does not hold .*data_batch_3"):
        load_cifar(tmp_path / "archive.tar.gz")
    file.write_bytes(pickle.dumps(contents["data_batch_3"]))
    (folder / "batches.meta").write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match=r"batches.meta holds no list label_names"):
        load_cifar(tmp_path)


def test_cifar_refuses_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file or folder .*kriz"):
        load_cifar(tmp_path / "nothing.tar.gz")
    with pytest.raises(FileNotFoundError, match="holds neither of the folders cifar"):
        load_cifar(tmp_path)
    path = tmp_path / "broken.tar.gz"
    path.write_bytes(b"broken")
    with pytest.raises(ValueError, match="is damaged, or no archive of CIFAR"):
        load_cifar(path)
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        archive.add(path, "other")
    with pytest.raises(
        ValueError, match=r"The archive .* holds neither of the folders"
    ):
        load_cifar(tmp_path / "other.tar")
    for content, message in (
        ({"X": np.ones(3)}, r"the arrays \['X'\], but not \['X_train', 'y_train'"),
        (
            dict(X_train=[1, 2], y_train=[1], X_test=[1], y_test=[1]),
            r"y_train of .* has shape \(1,\), expected a label for each of the 2",
        ),
    ):
        np.savez(tmp_path / "data.npz", **content)
        with pytest.raises(ValueError, match=message):
            load_cifar(tmp_path / "data.npz")
    (tmp_path / "data.npz").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"is not a readable .npz file"):
        load_cifar(tmp_path / "data.npz")


def write_tar(path):
    contents = {"data": np.zeros((40, 3072), np.uint8), "fine_labels": [0] * 40}
    with tarfile.open(path, "w:gz", compresslevel=9) as archive:
        for name in ("train", "test"):
            data = pickle.dumps(contents)
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def write_npz(path):
    images, y = np.zeros((40, 8, 8, 3), np.uint8), np.repeat([0, 1], 20)
    np.savez_compressed(path, X_train=images, y_train=y, X_test=images, y_test=y)


@pytest.mark.parametrize(
    ("name", "write"), [("cifar.tar.gz", write_tar), ("cifar.npz", write_npz)]
)
def test_a_wrong_byte_anywhere_is_told_in_words(tmp_path, name, write):
    path = tmp_path / name
    write(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 200)):
        path.write_bytes(whole[:place] + b"\xa5" + whole[place + 1 :])
        with contextlib.suppress(ValueError, FileNotFoundError):
            load_cifar(path)


def test_published_images_have_the_counts_of_the_formula():
    path = SHARED / "cifar10_lt_if100_images.npz"
    if not path.is_file():
        pytest.skip(f"the published images are not in {SHARED}")
    cifar = load_cifar(path)
    _, y = make_long_tailed(
        np.arange(50_000), np.tile(np.arange(10), 5000), imbalance_factor=100
    )
    np.testing.assert_array_equal(np.bincount(cifar.target), np.bincount(y))
    assert np.bincount(cifar.target_test).tolist() == [1000] * 10
    assert len(cifar.target_names) == 10


@pytest.mark.parametrize("factor", [10, 50, 100])
@pytest.mark.parametrize(("n_classes", "n_max"), [(10, 5000), (100, 500)])
def test_class_counts_of_the_paper(n_classes, n_max, factor):
    y = np.repeat(np.arange(n_classes), n_max)
    _, kept = make_long_tailed(y, y, imbalance_factor=factor, random_state=0)
    # In whole numbers: the largest n with n^(K-1) factor^c <= n_max^(K-1).
    for c, found in enumerate(np.bincount(kept).tolist()):
        power = n_classes - 1
        assert found**power * factor**c <= n_max**power
        assert (found + 1) ** power * factor**c > n_max**power


def write_list(folder, lines):
    folder.mkdir(exist_ok=True)
    path = folder / "train.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_image_lists_are_lazy_and_go_to_the_encoder(tmp_path):
    (tmp_path / "images").mkdir()
    names = ["images/a b.png", "images/c.png"]
    for name in names:
        Image.fromarray(RNG.integers(256, size=(8, 8, 3), dtype=np.uint8)).save(
            tmp_path / name
        )
    path = write_list(tmp_path, [f"{names[0]} 7", "", f"{names[1]} 0"])
    images = load_image_list(path)
    assert images.filenames.tolist() == [str(tmp_path / name) for name in names]
    assert images.target.tolist() == [7, 0]
    encoder = FeatureEncoder("test_resnet", image_size=32, random_state=0)
    assert encoder.fit_transform(images.filenames).shape == (2, 96)
    moved = write_list(tmp_path / "lists", [f"{name} 1" for name in names])
    found = load_image_list(moved, root=tmp_path)
    assert found.filenames.tolist() == images.filenames.tolist()
    (tmp_path / names[0]).write_bytes(b"not looked at")
    load_image_list(path)
    path.write_text(path.read_text(), encoding="utf-8-sig")
    marked = load_image_list(path)
    assert marked.filenames.tolist() == images.filenames.tolist()


def test_image_lists_that_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*'path label'"):
        load_image_list(tmp_path / "train.txt")
    for name in "ab":
        (tmp_path / name).touch()
    for lines, message in (
        (["a 0", "b"], r"Line 2 of .* is 'b'\. Expected 'path label'"),
        (["a cat"], r"Line 1 of .* is 'a cat'\. Expected"),
        (["a -1"], r"Line 1 of .* is 'a -1'\. Expected"),
        ([""], "names no image"),
    ):
        with pytest.raises(ValueError, match=message):
            load_image_list(write_list(tmp_path, lines))
    path = write_list(tmp_path, ["a 0", *(f"no{n} 1" for n in range(5)), "b 1"])
    message = r"5 of the 7 images .* are missing: '.*no0', '.*no1', '.*no2', …\. Set"
    with pytest.raises(FileNotFoundError, match=message):
        load_image_list(path)
