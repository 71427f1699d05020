# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What the README shows runs as it stands."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_first_example_runs(capsys):
    first, *_ = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.S)
    exec(compile(first, "README.md", "exec"), {})
    assert float(capsys.readouterr().out) > 0.75


def test_the_second_example_runs(tmp_path):
    """On tiny images, and with random weights, since others would be downloaded."""
    _, second, *_ = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.S)
    assert "pretrained=True" in second
    small = 'backbone_kwargs={"output_stride": 8}, image_size=16'
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for path in paths:
        pixels = rng.integers(256, size=(16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    variables = dict(
        paths_of_images=paths, labels=[0] * 9 + [1] * 3, paths_of_new_images=paths[:2]
    )
    exec(
        compile(second.replace("pretrained=True", small), "README.md", "exec"),
        variables,
    )
    assert variables["model"].classes_.tolist() == [0, 1]


def test_links_lead_to_files():
    targets = re.findall(r"\]\(([^)#:]+)\)", README.read_text("utf-8"))
    assert len(targets) > 8
    missing = [name for name in targets if not (README.parent / name).exists()]
    assert not missing


def test_the_commands_are_targets_of_the_makefile():
    commands = re.findall(r"^make ([\w-]+)", README.read_text("utf-8"), re.M)
    targets = re.findall(r"^([\w-]+):", (README.parent / "Makefile").read_text(), re.M)
    assert commands and set(commands) <= set(targets)
