# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What is installed is whole: wheel and sdist build, hold and import what they must."""

import inspect
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import ldmlr_sklearn

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ldmlr_sklearn"


def package_files():
    return {
        file.relative_to(ROOT).as_posix()
        for file in PACKAGE.rglob("*")
        if file.suffix == ".py" or file.name == "py.typed"
    }


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Build an sdist, and a wheel of what is in it, as an index would."""
    folder = tmp_path_factory.mktemp("dist")
    tools = folder / "tools"
    venv.create(tools, with_pip=True)
    python = tools / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "build", cwd=folder)
    run(python, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.mark.slow
def test_wheel_holds_the_package_alone(distributions):
    _, wheel = distributions
    names = set(zipfile.ZipFile(wheel).namelist())
    version = ldmlr_sklearn.__version__
    info = f"ldmlr_sklearn-{version}.dist-info/"
    assert {name for name in names if not name.startswith(info)} == package_files()
    assert f"{info}licenses/LICENSE" in names


@pytest.mark.slow
def test_sdist_holds_what_tests_and_docs_need(distributions):
    sdist, _ = distributions
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"LICENSE", "README.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml"}
    needed |= {"docs/conf.py", "tests/conftest.py", "examples/demo.py", "conftest.py"}
    assert needed | package_files() <= names
    assert not [name for name in names if "_build/" in name or ".venv" in name]


@pytest.mark.slow
def test_wheel_imports_in_a_fresh_environment(distributions, tmp_path):
    _, wheel = distributions
    fresh = tmp_path / "fresh"
    # What it depends on is taken from here: to install torch takes minutes and 6 GB.
    venv.create(fresh, with_pip=True)
    python = fresh / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=tmp_path)
    paths = [path for path in sys.path if path.endswith("site-packages")]
    code = (
        f"import sys; sys.path += {paths!r}\n"
        "import ldmlr_sklearn, ldmlr_sklearn.inspection, ldmlr_sklearn.metrics\n"
        "print(ldmlr_sklearn.__file__, ldmlr_sklearn.__version__)\n"
        "print(ldmlr_sklearn.LatentDiffusionOversampler())\n"
    )
    # Isolated: without the PYTHONPATH of who runs the tests.
    printed = run(python, "-I", "-c", code, cwd=tmp_path)
    assert str(fresh) in printed and ldmlr_sklearn.__version__ in printed


def test_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").read_bytes() == b""


def public_methods():
    return [
        pytest.param(function, id=f"{name}.{method}")
        for name in ldmlr_sklearn.__all__
        for method, function in inspect.getmembers(
            getattr(ldmlr_sklearn, name), inspect.isfunction
        )
        if function.__module__.startswith("ldmlr_sklearn") and method[0] != "_"
    ]


@pytest.mark.parametrize("function", public_methods())
def test_signatures_hide_nothing_from_editors(function):
    kinds = {p.kind for p in inspect.signature(function).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    assert inspect.Parameter.VAR_POSITIONAL not in kinds
