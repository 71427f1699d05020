# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What the README shows runs as it stands."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_first_example_runs(capsys):
    first, *_ = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.S)
    exec(compile(first, "README.md", "exec"), {})
    assert float(capsys.readouterr().out) > 0.75


def test_the_commands_are_targets_of_the_makefile():
    commands = re.findall(r"^make ([\w-]+)", README.read_text("utf-8"), re.M)
    targets = re.findall(r"^([\w-]+):", (README.parent / "Makefile").read_text(), re.M)
    assert commands and set(commands) <= set(targets)
