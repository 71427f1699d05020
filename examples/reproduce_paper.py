# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The tables and figures of the LDMLR paper, one command for each.

    python examples/reproduce_paper.py table1 FEATURES.npz ...
    python examples/reproduce_paper.py table1 IMAGES.npz --train
    python examples/reproduce_paper.py table1 CIFAR.tar.gz --factor 100 --train
    python examples/reproduce_paper.py table2 --lists train.txt test.txt --root FOLDER
    python examples/reproduce_paper.py groups FEATURES.npz
    python examples/reproduce_paper.py ratio FEATURES.npz
    python examples/reproduce_paper.py image-space IMAGES.npz --weights ENCODER
    python examples/reproduce_paper.py figure3 FEATURES.npz
    python examples/reproduce_paper.py steps FEATURES.npz

FEATURES.npz holds X_train, y_train, X_test, y_test and, if it likes, head_weight and
head_bias; IMAGES.npz the same of images. Images need --weights, the file of a trained
encoder, or --train, which trains by the paper's recipes (on one GPU, hours).

Every number is the last epoch of a head, with constructor defaults, as mean ± standard
deviation over seeds; nothing is chosen by the test rows. "picked" is what choosing the
epoch of the head by the test rows would have shown instead: the paper's way. Beside the
paper's method ("LDMLR", ours) stand what it does not print: no row added, as many rows
repeated ("replay"), and as many from Gaussians of one covariance. Gains over replay and
over no row added have paired 95 % intervals, a bootstrap over the test rows, for all
classes and for each group of classes.

Every data set has a record of its own, ``COMMAND_DATA.json`` with a table (``.rst``).
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import paper_data
import paper_runs
from accuracy import machine
from accuracy_tables import as_rst, as_text
from image_diffusion import generate_images
from paper_figures import draw_growth, draw_images, draw_ratio
from paper_numbers import TABLE_1, TABLE_2, data_set_of, is_imagenet_lt
from paper_runs import GROUPS, Generators, amounts, balancing, follow
from paper_tables import difference_tables, differences, tables

from ldmlr_sklearn.metrics import frechet_distance
from ldmlr_sklearn.sampling_strategies import RatioStrategy

OUT = Path(__file__).parent / "benchmarks" / "paper"
SAMPLERS = ("none", "LDMLR", "replay", "Gaussian")
RATIOS = (0.0, 0.1, 0.2, 0.5, 1.0)


def named(row, sampler):
    """Name a row of the table as the paper does."""
    return row if sampler == "none" else f"{row} + {sampler}"


def record(name, row, seed, found, paper=None, seconds=0.0, **more):
    """One line of the JSON file."""
    found = dict(found)
    hits = found.pop("hits", None)
    seconds += found.pop("head_seconds", 0.0)
    return {
        "data": name,
        "row": row,
        "seed": seed,
        "paper": paper,
        **{key: round(value, 4) for key, value in found.items()},
        **more,
        "seconds": round(seconds, 2),
        "_hits": hits,  # which test rows were right, for intervals; not written
    }


def heads_on(split, rows, seed, options, kinds=("cross_entropy", "wcdas")):
    """Score all heads on rows that a generator returned; row -> scores."""
    X, y, _ = rows
    found = {}
    for loss in kinds:
        found |= follow(
            split,
            X,
            y,
            seed,
            loss=loss,
            max_epochs=options.head_epochs,
            concentration=options.concentration,
        )
    return found


def compare_methods(name, split, options, printed, kinds=("cross_entropy", "wcdas")):
    """Yield records of CE, label shift and WCDAS, each with all samplers."""
    if split.head is not None and "cross_entropy" in kinds:
        for row, found in paper_runs.published(split).items():
            yield record(name, row, 0, found, printed.get(row.split(",")[0]))
    for seed in range(options.seeds):
        generators = Generators(split, seed, options.max_steps)
        for sampler in SAMPLERS:
            rows = generators.draw(sampler, balancing(split.y_train))
            for row, found in heads_on(split, rows, seed, options, kinds).items():
                row = named(row, sampler)
                yield record(name, row, seed, found, printed.get(row), rows[2])
            if split.head is not None and "cross_entropy" in kinds:
                found = paper_runs.anchored(split, *rows[:2], seed)
                row = named("label shift", sampler)
                paper = printed.get(row)
                row += ", from the encoder's head"
                yield record(name, row, seed, found, paper, rows[2])


def table1(options):
    for name, split in load_all(options):
        printed = TABLE_1.get(data_set_of(split.y_train), {})
        if paper_data.is_features(split):
            yield from compare_methods(name, split, options, printed)
            continue
        if not options.train:
            features, _ = encode(split, options)
            yield from compare_methods(name, features, options, printed)
            continue
        for recipe, kinds in (("CE", ("cross_entropy",)), ("WCDAS", ("wcdas",))):
            features, seconds = encode(split, options, recipe)
            print(f"{name}: encoder by the {recipe} recipe in {seconds:.0f} s")
            path = options.out / f"{name}_{recipe.lower()}_features.npz"
            save_features(path, features)
            yield from compare_methods(name, features, options, printed, kinds)


def table2(options):
    split = paper_data.load_lists(*options.lists, options.root)
    name = named_data(options.lists[0], options)
    options.test_rows[name] = paper_runs.test_rows(split)
    printed = TABLE_2 if is_imagenet_lt(split.y_train) else {}
    recipes = ("CE", "WCDAS") if options.train else (None,)
    for recipe in recipes:
        features, _ = encode(split, options, recipe)
        kinds = {"CE": ("cross_entropy",), "WCDAS": ("wcdas",)}.get(
            recipe, ("cross_entropy", "wcdas")
        )
        for found in compare_methods(name, features, options, {}, kinds):
            paper = printed.get(found["row"].split(",")[0])
            found["paper"] = paper and " / ".join(map(str, paper))
            yield found


def groups(options):
    """Which classes are generated, and what each group of classes gains."""
    for name, split in load_features(options):
        y = split.y_train
        group_of = paper_runs.groups_of(y)
        full = balancing(y)

        def only(*chosen, full=full, group_of=group_of):
            return np.array(
                [n if group_of[c] in chosen else 0 for c, n in enumerate(full)]
            )

        cases = {
            "nothing": np.zeros_like(full),
            **{group: only(group) for group in GROUPS},
            "medium and few": only("medium", "few"),
            "all, to balance": full,
            "all, a fifth of each": amounts(y, RatioStrategy(0.2, 5)),
        }
        yield from over_amounts(name, split, options, cases)


def ratio(options):
    """Accuracy against the share of rows that is generated, as figure 2."""
    for name, split in load_features(options):
        y = split.y_train
        cases = {f"ratio {r}": amounts(y, RatioStrategy(r, 0)) for r in RATIOS}
        cases["to balance"] = balancing(y)
        drawn = []
        for found in over_amounts(name, split, options, cases):
            drawn.append(found)
            yield found
        draw_ratio(options.out / f"ratio_{name}.png", drawn, split.y_test)


def over_amounts(name, split, options, cases):
    """Yield records of CE and label shift for each number of rows added."""
    for seed in range(options.seeds):
        generators = Generators(split, seed, options.max_steps)
        for case, extra in cases.items():
            samplers = ("none",) if not extra.any() else ("LDMLR", "replay", "Gaussian")
            for sampler in samplers:
                rows = generators.draw(sampler, extra)
                found = heads_on(split, rows, seed, options, ("cross_entropy",))
                for row, values in found.items():
                    row = f"{row}, {case}" + (
                        "" if sampler == "none" else f": {sampler}"
                    )
                    added = int(extra.sum())
                    yield record(name, row, seed, values, None, rows[2], n_added=added)


def image_space(options):
    """Generate features, or images that are then encoded, for budgets of time."""
    for name, split in load_all(options):
        if paper_data.is_features(split):
            raise SystemExit("image-space needs images: give an .npz of images.")
        features, encoder = encode(split, options, keep=True)
        extra = np.minimum(balancing(split.y_train), options.per_class)
        labels = np.repeat(np.arange(len(extra)), extra)
        for seed in range(options.seeds):
            generators = Generators(features, seed, options.max_steps)
            rows = {"nothing": generators.draw("none", extra)}
            rows["latent space"] = generators.draw("LDMLR", extra)
            rows["replay"] = generators.draw("replay", extra)
            n_steps = {"latent space": len(generators.sampler.loss_curve_)}
            for times in options.budgets:
                case = f"image space, {times:g} × the time"
                start = time.perf_counter()
                images, n_steps[case] = generate_images(
                    split.X_train,
                    split.y_train,
                    labels,
                    times * generators.fit_seconds,
                    seed=seed,
                    guidance=options.guidance,
                )
                X = np.concatenate([features.X_train, encoder.transform(images)])
                y = np.concatenate([split.y_train, labels])
                rows[case] = X, y, time.perf_counter() - start
            if seed == 0:  # of the largest budget
                path = options.out / f"image_space_{name}.png"
                draw_images(path, split.X_train, split.y_train, images, labels)
            for case, drawn in rows.items():
                found = heads_on(features, drawn, seed, options, ("cross_entropy",))
                more = {"n_added": len(drawn[1]) - len(split.y_train)}
                more["n_steps"] = n_steps.get(case)
                for row, values in found.items():
                    row = f"{row}, {case}"
                    yield record(name, row, seed, values, None, drawn[2], **more)


def figure3(options):
    """Real and generated features of the rarest class as training goes on."""
    for name, split in load_features(options):
        rarest = int(np.bincount(split.y_train).argmin())
        real = split.X_train[split.y_train == rarest]
        unseen = split.X_test[split.y_test == rarest]
        found = {"distance": float(frechet_distance(unseen, real))}
        yield record(name, "training rows, to unseen", 0, found)
        generated = {}
        for n_steps in options.after:
            for seed in range(options.seeds):
                generators = Generators(split, seed, n_steps)
                labels = np.full(len(unseen), rarest)
                new = generators.sampler.sample(labels, random_state=seed)
                generated.setdefault(n_steps, new)
                found = {"distance": float(frechet_distance(unseen, new))}
                row = f"generated after {n_steps} steps, to unseen"
                yield record(name, row, seed, found, None, generators.fit_seconds)
        path = options.out / f"figure3_{name}.png"
        draw_growth(path, split, unseen, real, generated)


def steps(options):
    """DDIM in few steps against ancestral DDPM sampling in many."""
    for name, split in load_features(options):
        extra = np.minimum(balancing(split.y_train), options.per_class)
        for seed in range(options.seeds):
            generators = Generators(split, seed, options.max_steps)
            cases = {"nothing": (generators.draw("none", extra), 0.0)}
            sampled = [("DDIM", n, 0.0) for n in options.ddim]
            sampled += [("DDPM", n, 1.0) for n in options.ddpm]
            for method, n_steps, eta in sampled:
                generators.sampler.set_params(n_inference_steps=n_steps, eta=eta)
                rows = generators.draw("LDMLR", extra)
                # The seconds of interest are those of sampling.
                seconds = rows[2] - generators.fit_seconds
                cases[f"{method} in {n_steps} steps"] = rows, seconds
            for case, (rows, seconds) in cases.items():
                found = heads_on(split, rows, seed, options, ("cross_entropy",))
                added = len(rows[1]) - len(split.y_train)
                for row, values in found.items():
                    values.pop("head_seconds")
                    row = f"{row}, {case}"
                    yield record(name, row, seed, values, None, seconds, n_added=added)


COMMANDS = {
    "table1": table1,
    "table2": table2,
    "groups": groups,
    "ratio": ratio,
    "image-space": image_space,
    "figure3": figure3,
    "steps": steps,
}


def named_data(path, options):
    """Name the data as records do: an encoder trained here makes other features."""
    name = Path(path).name.split(".")[0]
    if options.train:
        name += "_trained"
        if options.epochs is not None:
            name += f"_{options.epochs}_epochs"
    return name


def load_all(options):
    for path in options.data:
        name = named_data(path, options)
        split = paper_data.load_split(path, options.factor)
        options.test_rows[name] = paper_runs.test_rows(split)
        yield name, split


def load_features(options):
    for name, split in load_all(options):
        yield (
            name,
            split if paper_data.is_features(split) else encode(split, options)[0],
        )


def encode(split, options, recipe=None, keep=False):
    """Encode images by the given encoder, or by one trained by a recipe."""
    if options.weights is None and recipe is None:
        recipe = "CE" if options.train else None
    if options.weights is None and recipe is None:
        raise SystemExit("Images need --weights, a file of an encoder, or --train.")
    encoder = paper_data.make_encoder(
        options.backbone,
        recipe,
        max_epochs=options.epochs if recipe else None,
        batch_size=options.batch_size,
        precision=options.precision,
        checkpoint=recipe and options.out / f"encoder_{recipe.lower()}.ckpt",
        weights=options.weights,
        image_size=options.image_size,
        verbose=1,
    )
    features, seconds = paper_data.encode(split, encoder)
    return (features, encoder) if keep else (features, seconds)


def save_features(path, split):
    arrays = dict(zip(split._fields[:4], split[:4], strict=True))
    if split.head is not None:
        arrays |= dict(head_weight=split.head[0], head_bias=split.head[1])
    np.savez(path, **arrays)


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in COMMANDS:
        command = commands.add_parser(name)
        if name == "table2":
            command.add_argument("--lists", nargs=2, required=True, metavar="FILE")
            command.add_argument("--root", default=None)
        else:
            command.add_argument("data", nargs="+", help="features, images, archives")
        command.add_argument("--seeds", type=int, default=5)
        command.add_argument("--factor", type=float, help="make images long-tailed")
        command.add_argument("--weights", help="file of a trained encoder")
        command.add_argument("--train", action="store_true", help="train the encoder")
        command.add_argument("--epochs", type=int, help="in place of the recipe's")
        command.add_argument("--batch-size", type=int, help="of encoding and training")
        command.add_argument("--precision", help="of the encoder, such as bfloat16")
        command.add_argument("--image-size", type=int)
        backbone = "imagenet_resnet10" if name == "table2" else "cifar_resnet32"
        command.add_argument("--backbone", default=backbone)
        command.add_argument("--head-epochs", type=int, default=30)
        command.add_argument("--max-steps", type=int, help="of the over-sampler")
        # Its authors start g at 0 on CIFAR-LT and at -1 on ImageNet-LT.
        start = -1.0 if name == "table2" else 0.0
        command.add_argument("--concentration", type=float, default=start)
        command.add_argument("--out", type=Path, default=OUT)
        if name in ("image-space", "steps"):
            command.add_argument("--per-class", type=int, default=500)
        if name == "image-space":
            command.add_argument(
                "--budgets",
                type=float,
                nargs="+",
                default=[1.0, 5.0],
                help="time of training on images, as multiples of that on features",
            )
            command.add_argument("--guidance", type=float, default=1.0)
        if name == "figure3":
            command.add_argument(
                "--after", type=int, nargs="+", default=[10, 100, 300, 1000]
            )
        if name == "steps":
            command.add_argument("--ddim", type=int, nargs="*", default=[5, 10, 50])
            command.add_argument("--ddpm", type=int, nargs="*", default=[50, 1000])
    options = parser.parse_args(arguments)
    options.max_steps = options.max_steps or "auto"
    options.test_rows = {}  # name of the data -> classes and groups of its test rows
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1. Got {options.seeds}")
    return options


def main(arguments=None):
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    found = list(tqdm(COMMANDS[options.command](options), unit="row"))
    gains = differences(found, options.test_rows)
    for line in found:
        del line["_hits"]
    private = {"out", "data", "root", "lists", "weights", "test_rows"}
    told = {k: v for k, v in vars(options).items() if k not in private}
    for name in dict.fromkeys(line["data"] for line in found):
        own = [line for line in found if line["data"] == name]
        own_gains = {name: gains[name]} if name in gains else {}
        contents = {"options": told, "machine": machine(), "records": own}
        contents["differences"] = own_gains
        stem = f"{options.command.replace('-', '_')}_{name}"
        path = options.out / f"{stem}.json"
        path.write_text(json.dumps(contents, indent=1) + "\n")
        shown = [*tables(own), *difference_tables(own_gains)]
        path.with_suffix(".rst").write_text(
            "\n".join(as_rst(*table) for table in shown)
        )
        for table in shown:
            print(as_text(*table))


if __name__ == "__main__":
    main()
