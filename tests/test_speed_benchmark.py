# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark of speed: what it computes, on tiny data."""

import json
import time
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import ldmlr_sklearn
from ldmlr_sklearn import LatentDiffusionOversampler

MIB = 2**20
tells_memory = pytest.mark.skipif(
    not Path("/proc/self/smaps").exists(), reason="needs Linux, which tells of memory"
)


def rows(counts, n_features=3, seed=0):
    y = np.repeat(np.arange(len(counts)), counts)
    X = np.random.default_rng(seed).normal(size=(len(y), n_features)) + 2 * y[:, None]
    return X, y


def unbalanced(counts=(40, 24, 12), **kwargs):
    X, y = rows(counts, **kwargs)
    return dict(X_train=X, y_train=y, X_test=X, y_test=y)


def test_speed_is_told_as_ratios(script, monkeypatch, capsys):
    speed, parts = script("speed"), script("speed_parts")
    np.savez("given.npz", **unbalanced())
    images = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    np.savez("images.npz", X_train=images)
    monkeypatch.setattr(parts, "product_rate", lambda *_, **__: 1e11)
    monkeypatch.setattr(parts, "_sampler", partial(parts._sampler, max_steps=3))
    loops = partial(parts.loops, n_steps=2, n_rows=40, n_rounds=1)
    monkeypatch.setattr(parts, "loops", loops)
    monkeypatch.setattr(parts, "drawing", partial(parts.drawing, n_rows=100))
    monkeypatch.setattr(speed.torch.cuda, "is_available", lambda: False)
    only = "fit,sample,loops,encode,gpu"
    options = ["--images", "images.npz", "--only", only, "--json", "speed.json"]
    speed.main(["given.npz", *options])
    record = json.loads(Path("speed.json").read_text())
    fit = record["measures"]["fit"]
    (row,) = fit.values()
    assert row["value"] == pytest.approx(row["seconds"] / 10)
    assert list(fit) == ["`fit_resample`, 76 to 120 rows, over the unit"]
    assert len(record["measures"]["loops"]) == 4
    assert len(record["measures"]["encode"]) == 2
    printed = capsys.readouterr().out
    assert "Unit of time: 10.0 s" in printed and printed.count("not yet run") == 4


def test_studies_have_tables_of_their_own(script, monkeypatch, capsys):
    speed, parts = script("speed"), script("speed_parts")
    np.savez("given.npz", **unbalanced())
    monkeypatch.setattr(parts, "product_rate", lambda *_, **__: 1e11)
    small = partial(speed.speed_profile.measure, n_shown=40, n_rows=40)
    monkeypatch.setattr(speed.speed_profile, "measure", small)
    small = partial(speed.speed_profile.measure_version, n_shown=40, n_rows=40)
    monkeypatch.setattr(speed.speed_profile, "measure_version", small)
    shape = dict(rows=20, columns=2, classes=2)
    small = partial(speed.speed_growth.growth, shape, shape, (1, 2), max_steps=2)
    monkeypatch.setattr(speed.speed_growth, "growth", small)
    monkeypatch.setattr(speed.speed_memory, "peak_memory", lambda: {"fit": 2 * 10**8})
    found = {"seconds": 2.0, "n_rows": 120, "accuracy": 0.5}
    monkeypatch.setattr(speed.speed_peers, "run", lambda *_: found)
    tiny = partial(speed.speed_peers.compare, rounds=[(None, None, None)])
    monkeypatch.setattr(speed.speed_peers, "compare", tiny)
    only = "memory,profile,growth,peers"
    options = ["--only", only, "--json", "speed.json", "--growth-figure", "growth.png"]
    options += ["--before", str(Path(ldmlr_sklearn.__file__).parents[1])]
    speed.main(["given.npz", *options])
    record = json.loads(Path("speed.json").read_text())
    loops = record["profile"]["loops"]
    assert list(loops) == ["training", "drawing"]
    assert all(sum(p["shares"].values()) == pytest.approx(1) for p in loops.values())
    earlier = record["profile"]["earlier"]["loops"]
    assert earlier["training"]["flop"] == loops["training"]["flop"] > 0
    assert [len(points) for points in record["growth"].values()] == [2, 2, 2]
    assert Path("growth.png").stat().st_size > 10_000
    (entry,) = record["peers"]["rounds"]
    assert entry["results"]["SMOTE"] == found
    printed = capsys.readouterr().out
    assert "0.20 GB" in printed and "Unit of time: 10.0 s" in printed
    assert Path("speed.rst").read_text().count(".. csv-table::") == 1 + 1 + 4 + 1
    with pytest.raises(SystemExit):
        speed.main(["given.npz", "--only", "nonsense"])
    assert "no such parts: ['nonsense']" in capsys.readouterr().err


def test_gpu_part_runs_on_any_device(script, monkeypatch):
    speed, parts = script("speed"), script("speed_parts")
    data = unbalanced()
    quick = partial(parts.on_gpu, device="cpu", n_rows=40, n_columns=4, hidden_dim=8)
    monkeypatch.setattr(parts, "on_gpu", partial(quick, max_steps=2, n_blocks=1))
    rate = parts.product_rate
    monkeypatch.setattr(parts, "product_rate", lambda *args, **_: rate(*args, size=8))
    cuda = SimpleNamespace(is_available=lambda: True)
    monkeypatch.setattr(speed, "torch", SimpleNamespace(cuda=cuda))
    found = speed.measure_gpu(data, None, None)
    assert len(found) == 4
    assert all(row["value"] > 0 for row in found.values())
    assert not any(row["shown"] == speed.NOT_YET for row in found.values())


MAPS = """\
7f00-7f01 rw-p 00000000 00:00 0
Size:            1048576 kB
Anonymous:          {} kB
7f02-7f03 r--s 00000000 fe:00 12 rows.npy
Rss:             1048576 kB
Anonymous:             0 kB
7f04-7f05 rw-p 00000000 00:00 0 [heap]
Anonymous:           300 kB
"""


def test_output_and_pages_of_files_are_not_counted(script):
    count = script("speed_memory").anonymous_bytes
    assert count(MAPS.format(500)) == 800 * 1024
    assert count(MAPS.format(500), n_output=1000 * 1024) == 300 * 1024  # half written
    assert count(MAPS.format(1500), n_output=1000 * 1024) == 800 * 1024  # a copy of it


@tells_memory
def test_peak_of_memory_is_seen(script, monkeypatch):
    memory = script("speed_memory")
    monkeypatch.setattr(memory, "INTERVAL", 0.002)
    kept = []

    def work(n_mib):
        array = np.ones(64 * MIB, dtype=np.uint8)
        time.sleep(0.5)  # for the watcher, which a busy machine may hold up
        del array
        kept.append(np.ones(n_mib * MIB, dtype=np.uint8))

    assert 60 * MIB < memory.peak_while(lambda: work(1)) < 80 * MIB
    output = memory.peak_while(lambda: work(128), n_output=128 * MIB)
    assert output < 80 * MIB


@tells_memory
def test_memory_is_measured_in_its_own_process(script):
    found = script("speed_memory").peak_memory(2_000, 8, 4, max_steps=2)
    assert list(found) == ["fit", "sample"]
    assert all(-16 * MIB < peak < 200 * MIB for peak in found.values())


def test_exponents_of_growth(script):
    growth = script("speed_growth")
    points = [dict(size=n, fit=3 * n**2, sample=n**-0.5) for n in (10, 30, 100)]
    assert growth.slope(points, "fit") == pytest.approx(2)
    assert growth.slope(points, "sample") == pytest.approx(-0.5)
    *_, (title, table) = growth.tables({"rows": points})
    assert "Exponents" in title and table[1] == ["rows", "2.00", "-0.50"]


def test_products_and_bytes_are_counted(script):
    floor = script("speed_floor")
    a = torch.ones(40, 30, requires_grad=True)
    b = torch.ones(30, 20)
    with floor.Work() as work:
        loss = (a @ b).sum()
        loss.backward()
    assert work.products.total() == 2  # there and back
    assert sum(map(floor.flop, work.products)) == 2 * (2 * 40 * 30 * 20)
    with floor.Work() as work:
        torch.add(b, b)
        b.view(-1).t()
        b.mul_(2)
    assert work.pieces == Counter({b.numel() * 4: 3 + 2})
    layout = floor.Layout.of(torch.ones(5, 4, dtype=torch.bfloat16).t())
    assert floor.Layout.of(layout.make()) == layout


def test_rates_of_loops_are_operations_over_those_of_products(script, monkeypatch):
    parts, floor = script("speed_parts"), script("speed_floor")
    X, y = rows((40, 24, 12))
    assert parts._seconds_a_step(X, y, n_steps=3) > 0
    rates = {torch.float32: 1e9, torch.bfloat16: 4e9}
    monkeypatch.setattr(parts, "product_rate", rates.__getitem__)
    monkeypatch.setattr(parts, "_seconds_a_step", lambda *_: 0.5)
    found = parts.loops(X, y, n_steps=3, n_rows=40, n_rounds=3)
    step = floor.counted(lambda: parts._sampler(max_steps=1).fit(X, y)).products
    n_flop = sum(floor.flop(product) * n for product, n in step.items())
    assert found["training", "float32"] == pytest.approx(n_flop / 0.5 / 1e9)
    for loop in ("training", "drawing"):
        assert found[loop, "float32"] == pytest.approx(4 * found[loop, "bfloat16"])


def test_products_that_add_in_place_are_counted(script):
    with script("speed_parts").counting() as counter:
        torch.zeros(4, 8).addmm_(torch.ones(4, 3), torch.ones(3, 8))
    assert counter.get_total_flops() == 2 * 4 * 3 * 8


def test_counts_agree_with_those_of_torch(script):
    floor = script("speed_floor")
    X, y = rows((30, 12))
    sampler = LatentDiffusionOversampler(max_steps=2, hidden_dim=8, device="cpu")

    def work():
        sampler.fit_resample(X, y)

    with script("speed_parts").counting() as counter:
        work()
    products = floor.counted(work).products
    total = sum(floor.flop(product) * n for product, n in products.items())
    assert total == counter.get_total_flops()
    assert 0 < floor.seconds_of_products(products) < 1
    assert floor.seconds_of_copies(Counter({100: 5})) == 0
    assert floor.seconds_of_copies(Counter({10_000: 5})) > 0


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("aten::addmm", "matrix products"),
        ("aten::normal_", "random numbers"),
        ("aten::native_layer_norm", "element by element"),
        ("aten::index_select", "rows by index"),
        ("aten::select", "copies and views"),
        ("aten::_fused_adamw_", "optimiser and average"),
        ("aten::addcmul", "element by element"),
    ],
)
def test_kinds_of_operations(script, operation, kind):
    assert script("speed_profile").kind_of(operation) == kind


def test_fewer_rows_are_as_uneven(script):
    peers = script("speed_peers")
    data = unbalanced((400, 40, 120), n_features=6)
    part = peers.subset(data, 140, 2, None)
    assert np.bincount(part["y_train"]).tolist() == [100, 10, 30]
    assert part["X_train"].shape == (140, 2)
    assert part["X_test"].shape == (560, 2)
    part = peers.subset(data, 70, None, 2)  # the largest and the smallest class
    assert np.bincount(part["y_train"]).tolist() == [63, peers.MIN_ROWS]
    np.testing.assert_array_equal(part["X_test"], data["X_test"][:440])
    assert np.bincount(part["y_test"]).tolist() == [400, 40]


def test_generators_of_tables_top_up_every_class(script):
    tables = script("generators_of_tables")
    X, y = rows((9, 4, 2))

    def draw(lacking):
        label = np.flatnonzero(lacking)[0]  # too many of one class, none of the others
        return np.full((6, 3), 10.0 * label), np.full(6, label)

    X_new, y_new = tables.FromTables(lambda X, y: draw).fit_resample(X, y)
    assert np.bincount(y_new).tolist() == [9, 9, 9]
    np.testing.assert_array_equal(X_new[:15], X)
    np.testing.assert_array_equal(X_new[15:, 0], 10 * y_new[15:])
    never = tables.FromTables(lambda X, y: lambda lacking: (X[:1], y[:1]))
    assert np.bincount(never.fit_resample(X, y)[1]).tolist() == [9, 4, 2]


def test_slow_and_missing_peers_are_told(script, monkeypatch):
    peers = script("speed_peers")
    limits = []

    def run(name, path, limit):
        limits.append(limit)
        with np.load(path) as file:
            used = len(file["y_train"]) / 10
        if name == "SMOTE" and limit < 100:
            return {"stopped_after": limit}
        if name == "ADASYN":
            return {"fails": "ValueError: no"}
        return {"seconds": used, "n_rows": 5, "accuracy": 0.25}

    monkeypatch.setattr(peers, "run", run)
    absent = {"TabDM", "CTGAN", "TVAE", "ForestDiffusion"}
    monkeypatch.setattr(peers, "version", lambda n: None if n in absent else "1.0")
    rounds = [(30, None, None), (None, None, None)]
    found = peers.compare(unbalanced(), rounds, min_limit=40)
    assert limits[0] is None and set(limits[1:7]) == {40}
    assert limits[7] is None and set(limits[8:]) == {11 * 7.6}
    small, full = ({row[0]: row for row in t} for _, t in peers.tables(found))
    assert small["SMOTE"] == ["SMOTE", "no", "> 40", "> 12", "–"]
    assert full["SMOTE"][2] == "too slow with fewer rows"
    assert full["TVAE"][1:3] == ["yes", "not installed"]
    assert full["ADASYN"][2] == "fails"
    assert full[peers.OURS][2:] == ["7.60", "1.00", "25.0"]
    assert full[peers.OURS_UNTRAINED][1] == "yes"
    assert "76 rows of 3 columns in 3 classes to 120" in list(peers.tables(found))[1][0]


def test_a_peer_runs_in_its_own_process(script, monkeypatch):
    peers = script("speed_peers")
    np.savez("given.npz", **unbalanced())
    found = peers.run("RandomOverSampler", "given.npz", 100)
    assert found["n_rows"] == 120
    assert found["accuracy"] > 0.8
    assert peers.run("SMOTE", "given.npz", 0.01) == {"stopped_after": 0.01}
    assert peers.version("SMOTE") and peers.version(peers.OURS)
    untrained = peers.PEERS[peers.OURS_UNTRAINED].make(n_threads=1)
    assert untrained.max_steps == 0
    missing = peers.PEERS["SMOTE"]._replace(package="no-such-package")
    monkeypatch.setitem(peers.PEERS, "SMOTE", missing)
    assert peers.version("SMOTE") is None
    ended = SimpleNamespace(returncode=1, stderr="Traceback\nKeyError: 5\n")
    monkeypatch.setattr(peers.subprocess, "run", lambda *_, **__: ended)
    assert peers.run("SMOTE", "given.npz", 1) == {"fails": "KeyError: 5"}
