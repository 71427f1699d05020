# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What users write. `make lint` checks the types, nothing runs it."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import torch
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from matplotlib import pyplot as plt
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch.utils.data import TensorDataset

from ldmlr_sklearn import (
    FeatureEncoder,
    HeadClassifier,
    LabelShiftClassifier,
    LatentDiffusionOversampler,
    LDMLRClassifier,
)
from ldmlr_sklearn.datasets import (
    load_cifar,
    load_digits_lt,
    load_image_folder,
    load_image_list,
    make_long_tailed,
)
from ldmlr_sklearn.diffusion import Denoiser, NoiseSchedule, denoised_by, sample_ddim
from ldmlr_sklearn.inspection import (
    ClassCountsDisplay,
    ClassRecallDisplay,
    FeaturePlaneDisplay,
    GenerationQualityDisplay,
    GenerationRatioDisplay,
    LossCurveDisplay,
)
from ldmlr_sklearn.metrics import (
    authenticity,
    density_coverage,
    frechet_distance,
    generation_report,
    shot_accuracy,
    shot_groups,
)
from ldmlr_sklearn.sampling_strategies import (
    RatioStrategy,
    ShotGroupStrategy,
    TemperedStrategy,
)


def resample(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    sampler = LatentDiffusionOversampler(guidance_scale=0.35, random_state=0)
    sampler.fit_resample(X, y, sample_weight=[1.0] * len(y))
    X_resampled, y_resampled = sampler.fit_resample(X, y)
    counts: dict[str, int] = {"rare": 100}
    for strategy in (
        RatioStrategy(0.2, floor=5),
        ShotGroupStrategy(("few", "medium")),
        ShotGroupStrategy("few"),
        TemperedStrategy(0.5),
    ):
        LatentDiffusionOversampler(sampling_strategy=strategy)
    LatentDiffusionOversampler(sampling_strategy="minority", max_steps=100)
    LatentDiffusionOversampler(sampling_strategy=counts, memory=Path("cache"))
    LatentDiffusionOversampler(sampling_strategy=lambda y: {0: 10})
    LatentDiffusionOversampler(random_state=np.random.RandomState(0), verbose=True)
    sampler.fit(X, y).save(Path("sampler.safetensors"))
    loaded = LatentDiffusionOversampler.load("sampler.safetensors")
    columns: np.ndarray = loaded.ranked_columns_
    rows: np.ndarray = loaded.sample(["rare"] * 3, random_state=0, n_jobs=2)
    return np.vstack([X_resampled[y_resampled == "rare"], rows[:, columns]])


def resample_frames(frame: pd.DataFrame, table: pl.DataFrame, y: pl.Series) -> None:
    sampler = LatentDiffusionOversampler()
    resampled, labels = sampler.fit_resample(frame, frame["kind"])
    resampled.describe()
    labels.value_counts()
    table_resampled, series_resampled = sampler.fit_resample(table, y)
    table_resampled.columns.index("a")
    series_resampled.n_unique()


def encode(images: np.ndarray, y: list[str], network: torch.nn.Module) -> None:
    encoder = FeatureEncoder("resnet18", pretrained=True).fit(images)
    encoder.transform(images)
    encoder.transform(torch.zeros(2, 3, 8, 8))
    encoder.transform([Path("a.png"), Path("b.png")])
    encoder.transform(["a.png", "b.png"])
    encoder.transform([Image.new("L", (8, 8))])
    encoder.transform(TensorDataset(torch.zeros(2, 3, 8, 8)))
    encoder.save("encoder.safetensors")
    width: int = FeatureEncoder.load("encoder.safetensors").n_features_out_
    FeatureEncoder(lambda: network, image_size=width, augmentation=None)
    FeatureEncoder(network, image_shape=(8, 8), backbone_kwargs={"output_stride": 8})
    FeatureEncoder(max_epochs=5, loss="wcdas", checkpoint="state.pt").fit(images, y)


def classify(X: np.ndarray, y: list[str], files: list[str]) -> np.ndarray:
    plain = LDMLRClassifier(random_state=0).fit(X, y)
    images = LDMLRClassifier(FeatureEncoder(), SMOTE(), HeadClassifier("cosine"))
    images.fit(files, y).predict(files)
    LDMLRClassifier(target_prior={"cat": 0.5, "dog": 0.5}, generated_weight=0.5)
    LDMLRClassifier(target_prior=[0.5, 0.5], init_head=(np.eye(2), np.zeros(2)))
    shifted = LabelShiftClassifier(LogisticRegression(), "em").fit(X, y).adapt(X)
    head = HeadClassifier("logit_adjusted", tau=0.5)
    head.fit(X, y, monitor=lambda epoch, head: epoch > 3)
    make_pipeline(LatentDiffusionOversampler(), head).fit(X, y)
    prior: np.ndarray = plain.effective_prior_ + shifted.target_prior_
    return prior * head.predict_proba(X) + shifted.predict_proba(X)


def load(path: Path) -> None:
    digits = load_digits_lt(imbalance_factor=20, random_state=0)
    make_long_tailed(digits.data, digits.target, imbalance_factor=10, profile="step")
    files, labels = make_long_tailed(["a.png"], ["cat"], imbalance_factor=10)
    files[0].upper(), labels[0].upper()
    for images in load_cifar("cifar.npz"), load_image_folder(path, extensions=[".png"]):
        images.target.max()
    load_image_list(path / "train.txt", root=path)


def score(X: np.ndarray, y: np.ndarray) -> float:
    groups: dict[str, str] = shot_groups(y, many=50)
    density, coverage = density_coverage(X, X, n_neighbors=3)
    few = shot_accuracy(y, y, y).few
    report = generation_report(X, y, X, y, X, y)
    distance: float = frechet_distance(X, X) + authenticity(X, X)
    return few + report.coverage.mean() + density + coverage + distance + len(groups)


def draw(X: np.ndarray, y: np.ndarray) -> None:
    _, ax = plt.subplots()
    sampler = LatentDiffusionOversampler().fit(X, y)
    counts = ClassCountsDisplay.from_estimator(sampler, y, ax=ax)
    counts.plot().figure_.savefig("counts.png")
    ClassCountsDisplay.from_labels(y, [*y, 1, 1]).ax_.set_title("counts")
    models = {"SMOTE": LDMLRClassifier(oversampler=SMOTE()), "ours": LDMLRClassifier()}
    ClassRecallDisplay.from_estimator(models, X, y, y_train=y).lines_[0].set_color("k")
    ClassRecallDisplay.from_predictions(y, {"ours": y}, y_train=y)
    FeaturePlaneDisplay.from_resampled(X, y, X, y, classes=[1, 2])
    GenerationQualityDisplay.from_estimator(sampler, X, y, X, y, scores=["density"])
    GenerationRatioDisplay.from_estimator(sampler, X, y, cv=3, ratios=[0.1, 0.2])
    LossCurveDisplay.from_estimator(sampler)


def diffuse() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    schedule = NoiseSchedule.from_name("cosine", 100)
    network = Denoiser(
        *(4, 2, len(schedule)), hidden_dim=8, n_blocks=1, generator=generator
    )
    denoise = denoised_by(network, schedule, "v_prediction")
    noise, labels = torch.randn(3, 4, generator=generator), torch.zeros(3).long()
    return sample_ddim(denoise, schedule, labels, noise, n_steps=5)
