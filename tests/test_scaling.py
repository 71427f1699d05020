# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Work that is spread over threads, processes and a cluster has the same results."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from ldmlr_sklearn import FeatureEncoder, LatentDiffusionOversampler, LDMLRClassifier
from ldmlr_sklearn._encoder import Processes

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

ROOT = Path(__file__).resolve().parents[1]
IMAGES = np.random.default_rng(0).integers(0, 256, (23, 8, 8, 3), dtype=np.uint8)
DIGITS = load_digits()
X = DIGITS.images[:120]
Y = np.where(DIGITS.target[:120] % 3 == 0, 1, 0)


def encoder(**parameters):
    return FeatureEncoder(
        "test_resnet", backbone_kwargs={"output_stride": 8}, random_state=0
    ).set_params(device="cpu", **parameters)


@pytest.fixture(scope="module")
def cluster():
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            host="127.0.0.1",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("chunks", [(5, 8, 8, 3), (23, 4, 8, 1), ((0, 20, 3), 8, 8, 3)])
def test_dask_arrays_are_encoded_block_by_block(chunks):
    fitted = encoder().fit(IMAGES)
    lazy = fitted.transform(da.from_array(IMAGES, chunks=chunks))
    assert isinstance(lazy, da.Array)
    assert lazy.shape == (23, 96)
    assert lazy.dtype == np.float32
    assert lazy.chunks[0] == da.from_array(IMAGES, chunks=chunks).chunks[0]
    features = lazy.compute(scheduler="synchronous")
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, fitted.transform(IMAGES), atol=1e-5)


def test_nothing_is_computed_before_it_is_asked_for():
    def never(block):
        raise AssertionError("computed")

    fitted = encoder().fit(IMAGES)
    lazy = da.from_array(IMAGES, chunks=(5, 8, 8, 3)).map_blocks(
        never, dtype=np.uint8, meta=np.empty((0, 0, 0, 0), np.uint8)
    )
    assert fitted.transform(lazy).shape == (23, 96)


def test_dask_rows_and_fits():
    rows = IMAGES.reshape(23, -1)
    lazy = da.from_array(rows, chunks=(6, 50))
    fitted = encoder(image_shape=(8, 8, 3)).fit(rows)
    expected = fitted.transform(rows)
    np.testing.assert_allclose(fitted.transform(lazy).compute(), expected, atol=1e-5)
    lazy = da.from_array(IMAGES / 16, chunks=(6, 8, 8, 3))
    fitted = encoder().fit(lazy)
    assert fitted.pixel_scale_ == IMAGES.max() / 16
    np.testing.assert_allclose(
        fitted.transform(lazy).compute(),
        encoder().fit_transform(IMAGES / 16),
        atol=1e-5,
    )


def test_unknown_numbers_of_rows():
    fitted = encoder().fit(IMAGES)
    lazy = da.from_array(IMAGES, chunks=(5, 8, 8, 3))
    some = fitted.transform(lazy[da.from_array(np.arange(23) % 2 == 0, chunks=5)])
    np.testing.assert_allclose(some.compute(), fitted.transform(IMAGES[::2]), atol=1e-5)


def test_dask_arrays_that_cannot_be_encoded():
    fitted = encoder().fit(IMAGES)
    for wrong, message in [
        (IMAGES[:, :4], "has images of 4 x 8 pixels"),
        (IMAGES / 255, "fitted on 8-bit ones"),
        (np.zeros(5), r"dask array of shape \(5,\) and dtype float64. Expected"),
    ]:
        with pytest.raises(ValueError, match=message):
            fitted.transform(da.from_array(wrong, chunks=-1))


def test_files_are_encoded_on_a_cluster(cluster, tmp_path):
    paths = [str(tmp_path / f"{row}.png") for row in range(23)]
    for path, image in zip(paths, IMAGES, strict=True):
        Image.fromarray(image).save(path)
    fitted = encoder(image_size=8, memory=tmp_path / "kept").fit(IMAGES)
    expected = encoder(image_size=8).fit_transform(IMAGES)
    lazy = fitted.transform(da.from_array(np.array(paths), chunks=6))
    np.testing.assert_allclose(lazy.compute(), expected, atol=1e-5)
    where = cluster.run(os.getpid)
    assert len(set(where.values()) - {os.getpid()}) == 2
    # Each block left its features, which the other process may use.
    assert len(list((tmp_path / "kept").rglob("*.safetensors"))) == 4


def search(memory=None):
    sampler = LatentDiffusionOversampler(
        max_steps=10, n_inference_steps=2, hidden_dim=16, device="cpu"
    )
    pipeline = make_pipeline(
        encoder(max_epochs=1, batch_size=32, memory=memory),
        LDMLRClassifier(oversampler=sampler, random_state=0),
    )
    grid = {"ldmlrclassifier__oversampler__guidance_scale": [0.2, 1.0]}
    return GridSearchCV(
        pipeline, grid, cv=2, scoring="neg_log_loss", refit=False, n_jobs=2
    )


@pytest.fixture
def one_thread():
    """Compute with one thread, as workers do.

    BatchNorm turns last digits that depend on the threads into first ones where a
    channel of a hardly trained network hardly varies.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def scores(one_thread):
    found = search().set_params(n_jobs=1).fit(X, Y).cv_results_
    return found["split0_test_score"], found["split1_test_score"]


@pytest.mark.parametrize("backend", ["threading", "loky", "dask"])
def test_search_is_the_same_wherever_it_runs(backend, scores, request, tmp_path):
    if backend == "dask":
        request.getfixturevalue("cluster")
    with joblib.parallel_config(backend=backend):
        found = search(tmp_path).fit(X, Y).cv_results_
    np.testing.assert_allclose(found["split0_test_score"], scores[0], rtol=1e-4)
    np.testing.assert_allclose(found["split1_test_score"], scores[1], rtol=1e-4)
    assert len(list(tmp_path.rglob("trained_encoder/*.safetensors"))) == 2


TRAIN_TOGETHER = """
import os, sys
import numpy as np
from torch import nn
from ldmlr_sklearn import FeatureEncoder

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 5, 3))
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return self[2](self[1](self[0](x)))

data = np.load("data.npz")
encoder = FeatureEncoder(
    Net, max_epochs=3, batch_size=7, augmentation=None, learning_rate=0.05,
    device=sys.argv[1], random_state=0,
)
encoder.fit(data["X"], data["y"], sample_weight=data["weight"])
seedless = FeatureEncoder(Net, max_epochs=1, device=sys.argv[1])
seedless.fit(data["X"], data["y"])
np.savez(
    f"{sys.argv[1]}{os.environ.get('RANK', '')}.npz",
    Z=encoder.transform(data["X"]), W=encoder.head_weight_, loss=encoder.loss_curve_,
    seedless=seedless.head_weight_,
)
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_processes_train_what_one_does(tmp_path):
    pytest.importorskip("accelerate")
    (tmp_path / "train.py").write_text(TRAIN_TOGETHER)
    weight = np.linspace(0.2, 2, 23)
    np.savez(tmp_path / "data.npz", X=IMAGES, y=np.arange(23) % 3, weight=weight)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    torchrun += ["--master-port", str(free_port())]
    for command in (["train.py", "cpu"], [*torchrun, "train.py", "accelerate"]):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    names = ("cpu", "accelerate0", "accelerate1")
    one, first, second = (np.load(tmp_path / f"{name}.npz") for name in names)
    for key in ("Z", "W", "loss"):
        np.testing.assert_array_equal(first[key], second[key])
        np.testing.assert_allclose(first[key], one[key], atol=1e-5)
    np.testing.assert_array_equal(first["seedless"], second["seedless"])


def test_accelerate_without_a_launcher_is_one_process():
    pytest.importorskip("accelerate")
    parameters = {"max_epochs": 1, "batch_size": 8}
    y = np.arange(23) % 3
    expected = encoder(**parameters).fit(IMAGES, y).head_weight_
    alone = encoder(**parameters).set_params(device="accelerate").fit(IMAGES, y)
    np.testing.assert_allclose(alone.head_weight_, expected, atol=1e-6)


@pytest.mark.parametrize("augmentation", ["crop_flip", None])
def test_every_process_varies_its_images_in_its_own_way(augmentation, monkeypatch):
    class One(Processes):
        device = torch.device("cpu")

    curves = []
    for index in (0, -1):  # of one process both are the first, and see the same rows
        process = One()
        process.index = index
        monkeypatch.setattr(Processes, "launched", lambda process=process: process)
        model = encoder(max_epochs=1, augmentation=augmentation)
        model.set_params(device="accelerate").fit(X, Y)
        curves.append(model.loss_curve_[0])
    assert (curves[0] == curves[1]) == (augmentation is None)


def test_too_many_processes(monkeypatch):
    class Many(Processes):
        count, device = 20, torch.device("cpu")

        def __init__(self):
            pass

        def agree(self, values):
            return values

    monkeypatch.setattr(Processes, "launched", Many)
    with pytest.raises(
        ValueError, match="20 processes needs 40 samples at least, got 23"
    ):
        encoder(max_epochs=1).set_params(device="accelerate").fit(
            IMAGES, np.arange(23) % 3
        )


def test_accelerate_must_be_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match="needs the library accelerate: pip install"):
        encoder().set_params(device="accelerate").fit(IMAGES)


def test_dask_is_not_loaded_for_arrays():
    code = (
        "import sys, numpy as np, ldmlr_sklearn as l\n"
        "e = l.FeatureEncoder('cifar_resnet32').fit(np.zeros((2, 8, 8, 3), np.uint8))\n"
        "e.transform(np.zeros((2, 8, 8, 3), np.uint8))\n"
        "sys.exit(bool({'dask', 'distributed', 'accelerate'} & set(sys.modules)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
