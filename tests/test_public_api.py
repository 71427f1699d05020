# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What the package shows, and which module of it may import what."""

import ast
import importlib
import inspect
import operator
import re
import subprocess
import sys
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier

import ldmlr_sklearn
from ldmlr_sklearn import _documentation

ROOT = Path(ldmlr_sklearn.__file__).parent

# The import table of the design. Besides the standard library a module may import
# only what its row names: libraries, and modules whose rows stand below its own. A
# module without a row fails, as does a row without a module.
SCIENCE = {"numpy", "sklearn"}
IMPORT_TABLE = {
    "__init__": {
        "_feature_encoder",
        "_head_classifier",
        "_label_shift_classifier",
        "_latent_diffusion_oversampler",
        "_ldmlr_classifier",
    },
    "_ldmlr_classifier": {
        *SCIENCE,
        "_documentation",
        "_fitting",
        "_frames",
        "_heads",
        "_label_shift",
        "_latent_diffusion_oversampler",
        "_typing",
        "_weighted_parts",
    },
    "_label_shift_classifier": {
        *SCIENCE,
        "_documentation",
        "_fitting",
        "_label_shift",
        "_typing",
        "_weighted_parts",
    },
    "_head_classifier": {
        *SCIENCE,
        "scipy",
        "torch",
        "_documentation",
        "_fitting",
        "_head_training",
        "_losses",
        "_torch_utils",
        "_typing",
    },
    "_head_training": {"numpy", "torch", "_losses", "_scheduled_net"},
    "_feature_encoder": {
        *SCIENCE,
        "torch",
        "_backbones",
        "_documentation",
        "_callbacks",
        "_encoder",
        "_fitting",
        "_images",
        "_losses",
        "_persistence",
        "_result_cache",
        "_torch_utils",
        "_typing",
    },
    # dask and accelerate are optional, and imported when they are asked for.
    "_encoder": {
        "_encoder._features",
        "_encoder._file",
        "_encoder._identity",
        "_encoder._lazy_encoding",
        "_encoder._processes",
        "_encoder._training",
        "_encoder._training_cache",
        "_encoder._with_head",
    },
    "_encoder._lazy_encoding": {"numpy", "dask"},
    "_encoder._file": {
        "torch",
        "_backbones",
        "_images",
        "_persistence",
        "_saved_parameters",
        "_torch_utils",
    },
    "_encoder._training_cache": {
        "torch",
        "_backbones",
        "_encoder._identity",
        "_result_cache",
        "_torch_utils",
    },
    "_encoder._training": {
        *("numpy", "tqdm"),
        "_encoder._augmentation",
        "_encoder._batches",
        "_encoder._checkpoint",
        "_encoder._training_net",
        "_encoder._with_head",
        "_losses",
        "_scheduled_net",
        "_torch_utils",
    },
    "_encoder._with_head": {
        *("numpy", "torch"),
        "_encoder._features",
        "_losses",
        "_torch_utils",
    },
    "_encoder._training_net": {
        *("numpy", "torch", "skorch"),
        "_encoder._features",
        "_scheduled_net",
    },
    "_encoder._batches": {"torch", "_torch_utils"},
    "_encoder._augmentation": {
        *("numpy", "torch"),
        "_encoder._autoaugment",
        "_torch_utils",
    },
    "_encoder._autoaugment": {"torch", "torchvision"},
    "_encoder._checkpoint": {"torch", "_persistence"},
    "_encoder._processes": {"torch", "accelerate", "_torch_utils"},
    "_encoder._identity": {"torch", "_encoder._features", "_torch_utils"},
    "_encoder._features": {
        *("numpy", "torch", "tqdm"),
        "_encoder._feature_cache",
        "_torch_utils",
    },
    "_encoder._feature_cache": {"numpy", "_persistence"},
    "_scheduled_net": {"torch", "skorch"},
    "_losses": {"torch"},
    # Only what makes networks by name meets timm, and not before it is asked to;
    # safetensors and huggingface_hub come with timm.
    "_backbones": {"_backbones._build"},
    "_backbones._build": {
        "torch",
        "_backbones._named",
        "_backbones._weight_files",
    },
    "_backbones._named": {
        *("timm", "torch"),
        "_backbones._paper_networks",
        "_backbones._pretrained",
    },
    "_backbones._pretrained": {"timm", "torch", "huggingface_hub"},
    "_backbones._paper_networks": {"timm", "torch"},
    "_backbones._weight_files": {"torch", "safetensors"},
    "_images": {
        "_images._arrays",
        "_images._datasets",
        "_images._opening",
        "_images._pictures",
        "_images._pixel_format",
        "_images._shapes",
    },
    "_images._opening": {
        *("numpy", "PIL", "torch"),
        "_images._arrays",
        "_images._datasets",
        "_images._pictures",
        "_images._shapes",
        "_torch_utils",
    },
    "_images._arrays": {
        *("numpy", "dask"),
        "_images._shapes",
        "_images._source",
        "_torch_utils",
    },
    "_images._datasets": {
        *("numpy", "PIL", "torch"),
        "_images._pictures",
        "_images._shapes",
        "_images._source",
        "_torch_utils",
    },
    "_images._pictures": {
        *("numpy", "PIL", "torch"),
        "_images._source",
        "_torch_utils",
    },
    "_images._pixel_format": {
        *("numpy", "torch"),
        "_images._shapes",
        "_images._source",
    },
    "_images._source": {"numpy", "torch", "_torch_utils"},
    "_images._shapes": set(),
    "_latent_diffusion_oversampler": {
        *SCIENCE,
        "imblearn",
        "joblib",
        "scipy",
        "torch",
        "tqdm",
        "_callbacks",
        "_cached_training",
        "_diffusion_parameters",
        "_diffusion_training",
        "_documentation",
        "_fitting",
        "_frames",
        "_oversampler_file",
        "_result_cache",
        "_torch_utils",
        "diffusion",
        "_typing",
    },
    "_oversampler_file": {"_persistence", "_saved_parameters", "_trained_diffusion"},
    "_saved_parameters": {"numpy"},
    "_callbacks": {"sklearn"},
    # pandas is loaded by who passes frames of it.
    "_frames": {"numpy", "pandas", "imblearn"},
    "_cached_training": {
        *SCIENCE,
        "scipy",
        "torch",
        "_diffusion_training",
        "_persistence",
        "_result_cache",
        "_torch_utils",
        "_trained_diffusion",
    },
    "_result_cache": {"joblib", "filelock", "_persistence"},
    "_diffusion_training": {
        "numpy",
        "torch",
        "_class_gaussians",
        "_class_posterior",
        "_columns",
        "_guidance",
        "_torch_utils",
        "_trained_diffusion",
        "diffusion",
    },
    "_trained_diffusion": {
        "numpy",
        "joblib",
        "torch",
        "_class_posterior",
        "_columns",
        "_diffusion_parameters",
        "_guidance",
        "_torch_utils",
        "diffusion",
    },
    "_diffusion_parameters": {"numpy", "diffusion"},
    "_columns": {"numpy", "scipy"},
    "_guidance": {*SCIENCE, "scipy"},
    "_class_gaussians": {
        *SCIENCE,
        "_class_posterior",
        "_torch_utils",
        "diffusion",
    },
    "_class_posterior": {*SCIENCE, "scipy", "_heads"},
    "_heads": {*SCIENCE, "scipy"},
    "inspection": {
        "inspection._class_counts",
        "inspection._class_recall",
        "inspection._feature_plane",
        "inspection._generation_quality",
        "inspection._generation_ratio",
        "inspection._loss_curve",
    },
    "inspection._class_counts": {*SCIENCE, "inspection._axes"},
    "inspection._class_recall": {*SCIENCE, "_typing", "inspection._axes"},
    "inspection._feature_plane": {*SCIENCE, "_typing", "inspection._axes"},
    "inspection._generation_quality": {
        *SCIENCE,
        "_typing",
        "inspection._axes",
        "metrics",
    },
    "inspection._generation_ratio": {
        *SCIENCE,
        "scipy",
        "inspection._axes",
        "sampling_strategies",
        "_typing",
    },
    "inspection._loss_curve": {*SCIENCE, "inspection._axes"},
    # The only module that meets matplotlib, and not before something is drawn.
    "inspection._axes": {"numpy", "matplotlib"},
    "_label_shift": SCIENCE,
    "_weighted_parts": {"sklearn"},
    "sampling_strategies": {"numpy", "_typing", "metrics"},
    "datasets": {
        "datasets._cifar",
        "datasets._image_files",
        "datasets._long_tailed",
    },
    "datasets._cifar": {*SCIENCE, "_typing"},
    "datasets._image_files": {*SCIENCE, "_typing"},
    "datasets._long_tailed": {*SCIENCE, "scipy", "_typing"},
    "metrics": {
        "metrics._classification",
        "metrics._fidelity",
        "metrics._generation_report",
        "metrics._novelty",
    },
    "metrics._classification": {*SCIENCE, "_typing"},
    "metrics._generation_report": {
        *SCIENCE,
        "metrics._fidelity",
        "metrics._novelty",
        "metrics._rows",
        "_typing",
    },
    "metrics._fidelity": {*SCIENCE, "_typing", "metrics._rows"},
    "metrics._novelty": {*SCIENCE, "_typing", "metrics._rows"},
    "metrics._rows": SCIENCE,
    "_persistence": {"numpy", "safetensors", "torch", "_torch_utils"},
    "_documentation": set(),
    "_fitting": {*SCIENCE, "torch", "sklearn_compat", "_typing"},
    "_torch_utils": {"numpy", "torch"},
    # Names of types: torch and PIL are loaded for type checkers alone.
    "_typing": {*SCIENCE, "joblib", "scipy", "torch", "PIL"},
    # The core: torch alone, and nothing of the estimators.
    "diffusion": {
        "diffusion._ddim",
        "diffusion._denoiser",
        "diffusion._gaussian_mixture",
        "diffusion._schedule",
        "diffusion._training",
    },
    "diffusion._training": {"torch", "diffusion._denoiser", "diffusion._schedule"},
    "diffusion._gaussian_mixture": {
        "torch",
        "diffusion._ddim",
        "diffusion._schedule",
    },
    "diffusion._ddim": {"torch", "diffusion._schedule"},
    "diffusion._denoiser": {"torch"},
    "diffusion._schedule": {"torch"},
}
PUBLIC_MODULES = ["datasets", "inspection", "metrics", "sampling_strategies"]


def module_name(file):
    """Name of a module below the package, such as "diffusion._ddim"."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    if len(parts) > 1 and parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


FILES = {module_name(file): file for file in sorted(ROOT.rglob("*.py"))}


def imports_of(source):
    """Libraries and modules of the package that a source file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {internal_or_library(name) for name in names}
    return {name for name in found if name not in sys.stdlib_module_names}


def internal_or_library(name):
    package, _, rest = name.partition(".")
    if package != "ldmlr_sklearn":
        return package
    while rest and rest not in FILES:  # drop the names of what is in the module
        rest = rest.rpartition(".")[0]
    return rest or "__init__"


def test_every_module_has_a_row_and_every_row_a_module():
    assert set(FILES) == set(IMPORT_TABLE)


@pytest.mark.parametrize("module", FILES)
def test_module_imports_only_what_its_row_allows(module):
    forbidden = imports_of(FILES[module].read_text()) - IMPORT_TABLE[module]
    assert not forbidden, f"{module} may not import {sorted(forbidden)}"


def test_rows_name_only_rows_below_them():
    rows = list(IMPORT_TABLE)
    for position, row in enumerate(rows):
        upwards = IMPORT_TABLE[row] & set(rows[: position + 1])
        assert not upwards, f"{row} would import upwards: {sorted(upwards)}"


# Attributes that turn tensors into arrays, or the other way round.
CONVERSIONS = {"numpy", "from_numpy", "as_tensor"}


def conversions_of(source):
    """Attributes by which a source file takes numbers from torch to numpy or back."""
    return {
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr in CONVERSIONS
    }


@pytest.mark.parametrize("module", sorted(FILES.keys() - {"_torch_utils"}))
def test_numpy_and_torch_meet_at_one_border(module):
    found = conversions_of(FILES[module].read_text())
    assert not found, f"{module} has {found}: use `_torch_utils`"


def test_conversions_are_found():
    assert len(conversions_of(FILES["_torch_utils"].read_text())) == 2
    assert conversions_of("torch.as_tensor(x)\nx.numpy()") == {
        "torch.as_tensor",
        "x.numpy",
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import numpy.linalg, math", {"numpy"}),
        ("def f():\n    from timm.models import resnet", {"timm"}),
        ("from ldmlr_sklearn import metrics", {"metrics"}),
        ("from ldmlr_sklearn import FeatureEncoder", {"__init__"}),
        ("from ldmlr_sklearn.metrics import shot_accuracy", {"metrics"}),
        ("from ldmlr_sklearn.diffusion import sample_ddim", {"diffusion"}),
        ("import ldmlr_sklearn.diffusion._ddim", {"diffusion._ddim"}),
    ],
)
def test_imports_are_found(source, expected):
    assert imports_of(source) == expected


def test_import_loads_neither_timm_nor_torchvision():
    code = (
        "import sys, ldmlr_sklearn, ldmlr_sklearn.inspection\n"
        "heavy = {'timm', 'torchvision', 'matplotlib', 'dask', 'accelerate'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'loaded: {sorted(heavy)}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", ldmlr_sklearn.__version__)


def defined_in(module):
    """Public classes and functions that a module, or what is in it, defines."""
    return {
        name: member
        for name, member in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(member) or inspect.isfunction(member))
        and f"{member.__module__}.".startswith(f"{module.__name__}.")
    }


def estimators():
    """Names of the estimators, wherever but among the heads they are defined."""
    # `LDMLRClassifier` alone makes a head; nets of skorch are estimators too.
    files = FILES.keys() - {"_heads", "_scheduled_net", "_encoder._training_net"}
    modules = [importlib.import_module(f"ldmlr_sklearn.{file}") for file in files]
    return {
        name
        for module in modules
        for name, member in defined_in(module).items()
        if inspect.isclass(member) and issubclass(member, BaseEstimator)
    }


def test_all_lists_every_estimator():
    listed = ldmlr_sklearn.__all__
    assert len(set(listed)) == len(listed)
    assert set(listed) - set(PUBLIC_MODULES) == estimators() | {"__version__"}


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_all_of_a_public_module_lists_what_it_offers(name):
    module = getattr(ldmlr_sklearn, name)
    assert set(defined_in(module)) <= set(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)


# All checks of numpydoc but those of taste: an extended summary, a See Also section
# and an example in every method, names for what is returned, the layout of quotes.
CHECKS = {
    *("GL03", "GL05", "GL06", "GL07", "GL08", "GL10"),
    *("SS01", "SS02", "SS03", "SS04", "SS05", "SS06"),
    *("PR01", "PR02", "PR03", "PR04", "PR05", "PR06", "PR07", "PR08", "PR09", "PR10"),
    *("RT01", "RT03", "RT04", "RT05", "YD01"),
    *("SA02", "SA03", "SA04"),
}


def public_objects():
    """Dotted names of the estimators and of what the public modules define."""
    public = [name for name in ldmlr_sklearn.__all__ if name in estimators()]
    for name in PUBLIC_MODULES:
        module = importlib.import_module(f"ldmlr_sklearn.{name}")
        public += [f"{name}.{member}" for member in defined_in(module)]
    return public


def resolve(name):
    """Find what a dotted name below the package stands for."""
    return operator.attrgetter(name)(ldmlr_sklearn)


def public_methods():
    methods = []
    for name in public_objects():
        owner = resolve(name)
        if inspect.isclass(owner):
            methods += [
                f"{name}.{method}"
                for method, function in inspect.getmembers(owner, inspect.isfunction)
                if not method.startswith("_")
                and function.__module__.startswith("ldmlr_sklearn")
            ]
    return methods


def callables():
    """Dotted names to public functions, constructors, methods and properties."""
    core = importlib.import_module("ldmlr_sklearn.diffusion")
    found = {}
    for name in [*public_objects(), *(f"diffusion.{name}" for name in core.__all__)]:
        owner = resolve(name)
        if inspect.isfunction(owner):
            found[name] = owner
        if inspect.isclass(owner):
            members = inspect.getmembers(owner, inspect.isroutine)
            members += [
                (attribute, member.fget)
                for attribute, member in inspect.getmembers(owner)
                if isinstance(member, property)
            ]
            found |= {
                f"{name}.{method}": member
                for method, member in members
                if (method[0] != "_" or method in ("__init__", "__call__"))
                and (member.__module__ or "").startswith("ldmlr_sklearn")
            }
    return found


@pytest.mark.parametrize(("name", "called"), callables().items())
def test_signature_is_annotated(name, called):
    """That the annotations are right is checked by mypy, in `make lint`."""
    signature = inspect.signature(called)
    bare = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.annotation is parameter.empty
        and parameter.name not in ("self", "cls")
    ]
    is_constructor = name.endswith("__init__")
    if signature.return_annotation is signature.empty and not is_constructor:
        bare.append("return")
    assert not bare


def documented_attributes(owner):
    """Names in the Attributes section of a docstring."""
    lines = NumpyDocString(inspect.cleandoc(owner.__doc__))["Attributes"]
    return {name.strip() for line in lines for name in line.name.split(",")}


@pytest.mark.parametrize(
    "owner",
    [member for member in map(resolve, public_objects()) if inspect.isclass(member)],
)
def test_attributes_are_annotated(owner):
    properties = {key for key, value in vars(owner).items() if hasattr(value, "fget")}
    missing = documented_attributes(owner) - set(owner.__annotations__) - properties
    assert not missing


def complaints(name, checks):
    found = validate(f"ldmlr_sklearn.{name}")["errors"]
    return [f"{code}: {message}" for code, message in found if code in checks]


@pytest.mark.parametrize("name", public_objects())
def test_docstring(name):
    assert not complaints(name, CHECKS | {"EX01", "SA01"})


@pytest.mark.parametrize("name", public_methods())
def test_docstring_of_method(name):
    assert not complaints(name, CHECKS)


def test_every_public_object_is_on_the_reference_page():
    page = (ROOT.parent / "docs" / "api.rst").read_text("utf-8")
    blocks = re.findall(
        r"(?:currentmodule|automodule):: (\S+)"
        r".*?toctree: generated/\n\n((?:   \w+\n)+)",
        page,
        re.S,
    )
    listed = [
        f"{module}.{name}".removeprefix("ldmlr_sklearn.")
        for module, names in blocks
        for name in names.split()
    ]
    assert sorted(listed) == sorted(public_objects())


@pytest.mark.parametrize("name", sorted(estimators()))
def test_display_of_an_estimator_links_to_its_page(name, monkeypatch):
    estimator = getattr(ldmlr_sklearn, name)
    takes_estimator = "estimator" in inspect.signature(estimator).parameters
    estimator = estimator(DummyClassifier()) if takes_estimator else estimator()
    monkeypatch.setattr(_documentation, "site", "https://site.test")
    page = f"https://site.test/generated/ldmlr_sklearn.{name}.html"
    assert f'href="{page}"' in estimator._repr_html_()
    monkeypatch.setattr(_documentation, "site", "")
    assert "generated/ldmlr_sklearn" not in estimator._repr_html_()
