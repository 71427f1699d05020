# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The tables and figures of the LDMLR paper, one command for each.

    python examples/reproduce_paper.py table1 FEATURES.npz ...
    python examples/reproduce_paper.py table1 IMAGES.npz --train
    python examples/reproduce_paper.py table1 CIFAR.tar.gz --factor 100 --train
    python examples/reproduce_paper.py table2 --lists train.txt test.txt --root FOLDER
    python examples/reproduce_paper.py groups FEATURES.npz
    python examples/reproduce_paper.py ratio FEATURES.npz
    python examples/reproduce_paper.py image-space IMAGES.npz --weights WEIGHTS
    python examples/reproduce_paper.py figure3 FEATURES.npz
    python examples/reproduce_paper.py steps FEATURES.npz

FEATURES.npz holds X_train, y_train, X_test, y_test and, if it likes, head_weight and
head_bias; IMAGES.npz the same of images. Images need --weights, a .safetensors or .pth
file of a trained backbone's weights (not one that FeatureEncoder.save writes), or
--train, which trains by the paper's recipes (on one GPU, hours); --recipe trains by one
of them alone. With --mirror features are those of an image and its mirror image on
average, which the paper does not do.

Every number is the last epoch of a head, with constructor defaults, as mean ± standard
deviation over seeds; nothing is chosen by the test rows. "picked" is what choosing the
epoch of the head by the test rows would have shown instead: the paper's way. Beside the
paper's method ("LDMLR", ours) stand what it does not print: no row added, as many rows
repeated ("replay"), and as many from Gaussians of one covariance. Gains over replay and
over no row added have paired 95 % intervals, a bootstrap over the test rows, for all
classes and for each group of classes.

Every data set has a record of its own, ``COMMAND_DATA.json`` with a table (``.rst``),
written anew after every seed. An interrupted command that is given again, or given with
more seeds, goes on where it stopped: seeds, trained encoders and features are kept in
the folder ``runs`` beside the records, and are taken from there as long as code, data
and options are the same.
"""

import argparse
import contextlib
import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import paper_data
import paper_runs
from accuracy import machine
from accuracy_tables import as_rst, as_text
from kept_runs import Run, kept_run
from paper_figures import draw_growth, draw_images, draw_ratio
from paper_numbers import TABLE_1, TABLE_2, data_set_of, is_imagenet_lt
from paper_runs import GROUPS, amounts, balancing
from paper_seeds import amounts_added, growth, line, methods, sampling_steps, spaces
from paper_tables import difference_tables, differences, tables

from ldmlr_sklearn.metrics import frechet_distance
from ldmlr_sklearn.sampling_strategies import RatioStrategy

OUT = Path(__file__).parent / "benchmarks" / "paper"
SHARES = (0.1, 0.2, 0.5, 1.0)
OF_ENCODER = (
    "weights mirror train recipe epochs batch_size precision image_size".split()
)
LOSSES = ("cross_entropy", "wcdas")  # of the heads


def over_seeds(run, name, split, options, **more):
    """Yield the data's name and a run for every seed."""
    settings = argparse.Namespace(**told(options))
    del (
        settings.seeds,
        settings.recipe,
    )  # what was trained tells itself, by its features
    for seed in range(options.seeds):
        made = kept_run(options.out / "runs", run, seed, split, settings, **more)
        lines = [
            {"data": name, "seed": seed, "paper": None} | each for each in made.lines
        ]
        yield name, made._replace(lines=lines)


def compare_methods(name, split, options, printed, kinds=LOSSES):
    """Yield runs of CE, label shift and WCDAS, each with all samplers."""
    if split.head is not None and "cross_entropy" in kinds:
        own = paper_runs.published(split).items()
        lines = [{"data": name, "seed": 0} | line(row, found) for row, found in own]
        yield name, beside(printed, Run(lines, machine()))
    for _, made in over_seeds(methods, name, split, options, kinds=kinds):
        yield name, beside(printed, made)


def beside(printed, made):
    """Put what the paper prints into the lines of a run."""
    lines = [
        each | {"paper": printed.get(each["row"].split(",")[0])} for each in made.lines
    ]
    return made._replace(lines=lines)


def table1(options):
    for name, split in load_all(options):
        printed = TABLE_1.get(data_set_of(split.y_train), {})
        if paper_data.is_features(split):
            yield from compare_methods(name, split, options, printed)
            continue
        if not options.train:
            features, _ = encode(name, split, options)
            yield from compare_methods(name, features, options, printed)
            continue
        for recipe, kinds in recipes_of(options):
            features, seconds = encode(name, split, options, recipe)
            print(f"{name}: encoder by the {recipe} recipe in {seconds:.0f} s")
            path = options.out / f"{name}_{recipe.lower()}_features.npz"
            save_features(path, features)
            yield from compare_methods(name, features, options, printed, kinds)


def table2(options):
    with told_in_a_line():
        split = paper_data.load_lists(*options.lists, options.root)
    name = named_data(options.lists[0], options)
    options.test_rows[name] = paper_runs.test_rows(split)
    known = TABLE_2 if is_imagenet_lt(split.y_train) else {}
    printed = {row: " / ".join(map(str, groups)) for row, groups in known.items()}
    for recipe, kinds in recipes_of(options) if options.train else [(None, LOSSES)]:
        features, _ = encode(name, split, options, recipe)
        yield from compare_methods(name, features, options, printed, kinds)


def recipes_of(options):
    """Yield the recipes to train by, and the losses of the heads that follow each."""
    for recipe, parameters in paper_data.RECIPES.items():
        if options.recipe in (None, recipe):
            yield recipe, (parameters["loss"],)


def in_groups(y, amounts, *chosen):
    """Keep the rows to add to classes of the chosen groups."""
    group_of = paper_runs.groups_of(y)
    return np.array([n if group_of[c] in chosen else 0 for c, n in enumerate(amounts)])


def groups(options):
    """Which classes are generated, and what each group of classes gains."""
    for name, split in load_features(options):
        y = split.y_train
        full = balancing(y)
        cases = {
            "nothing": np.zeros_like(full),
            **{group: in_groups(y, full, group) for group in GROUPS},
            "medium and few": in_groups(y, full, "medium", "few"),
            "all, to balance": full,
            "all, a fifth of each": amounts(y, RatioStrategy(0.2, 5)),
        }
        yield from over_seeds(amounts_added, name, split, options, cases=cases)


def ratio(options):
    """Accuracy against the share of rows that is generated, as figure 2.

    A share is one of the rows of each class ("in proportion", the paper's way), or one
    of the rows that each class, or each class of the tail, lacks to balance.
    """
    for name, split in load_features(options):
        y = split.y_train
        cases = {"nothing": np.zeros_like(balancing(y))}
        for share in SHARES:
            missing = np.round(share * balancing(y)).astype(int)
            cases[f"in proportion {share}"] = amounts(y, RatioStrategy(share, 0))
            cases[f"all classes {share}"] = missing
            cases[f"tail only {share}"] = in_groups(y, missing, "few")
        lines = []
        for _, made in over_seeds(amounts_added, name, split, options, cases=cases):
            lines += made.lines
            yield name, made
        draw_ratio(options.out / f"ratio_{name}.png", lines, split.y_test)


def image_space(options):
    """Generate features, or images that are then encoded, for budgets of time."""
    for name, split in load_all(options):
        if paper_data.is_features(split):
            raise SystemExit("image-space needs images: give an .npz of images.")
        features, encoder = encode(name, split, options, keep=True)
        more = dict(images=split, encoder=encoder)
        first = None
        for _, made in over_seeds(spaces, name, features, options, **more):
            first = first or made.lines[-1]  # of the largest budget
            yield name, made
        drawn = first["_images"], first["_labels"]
        draw_images(
            options.out / f"image_space_{name}.png",
            split.X_train,
            split.y_train,
            *drawn,
        )


def figure3(options):
    """Real and generated features of the rarest class as training goes on."""
    for name, split in load_features(options):
        rarest = int(np.bincount(split.y_train).argmin())
        real = split.X_train[split.y_train == rarest]
        unseen = split.X_test[split.y_test == rarest]
        found = {"distance": float(frechet_distance(unseen, real))}
        own = {"data": name, "seed": 0} | line("training rows, to unseen", found)
        yield name, Run([own], machine())
        generated = {}
        for _, made in over_seeds(growth, name, split, options):
            new = [each["_rows"] for each in made.lines]
            generated = generated or dict(zip(options.after, new, strict=True))
            yield name, made
        draw_growth(options.out / f"figure3_{name}.png", split, unseen, real, generated)


def steps(options):
    """DDIM in few steps against ancestral DDPM sampling in many."""
    for name, split in load_features(options):
        yield from over_seeds(sampling_steps, name, split, options)


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
        if options.recipe is not None:
            name += f"_{options.recipe.lower()}"
        if options.epochs is not None:
            name += f"_{options.epochs}_epochs"
    if options.mirror:
        name += "_mirrored"
    return name


@contextlib.contextmanager
def told_in_a_line():
    """End with what is wrong with files and options, without a traceback."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise SystemExit(f"reproduce_paper.py: {error}") from error


def load_all(options):
    for path in options.data:
        name = named_data(path, options)
        with told_in_a_line():
            split = paper_data.load_split(path, options.factor)
        of_encoder = [
            f"--{option.replace('_', '-')}"
            for option in OF_ENCODER
            if getattr(options, option)
        ]
        if of_encoder and paper_data.is_features(split):
            raise SystemExit(
                f"{path} holds features, so that {', '.join(of_encoder)} would do "
                "nothing. Give an .npz of images, or leave them out."
            )
        options.test_rows[name] = paper_runs.test_rows(split)
        yield name, split


def load_features(options):
    for name, split in load_all(options):
        if not paper_data.is_features(split):
            split, _ = encode(name, split, options)
        yield name, split


def encode(name, split, options, recipe=None, keep=False):
    """Encode images by the given encoder, or by one trained by a recipe."""
    if options.weights is None and recipe is None:
        recipe = (options.recipe or "CE") if options.train else None
    if options.weights is None and recipe is None:
        raise SystemExit(
            "Images need --weights, a file of a trained backbone's weights, or --train."
        )
    checkpoint = recipe and options.out / f"{name}_encoder_{recipe.lower()}.ckpt"
    encoder = paper_data.make_encoder(
        options.backbone,
        recipe,
        max_epochs=options.epochs if recipe else None,
        batch_size=options.batch_size,
        precision=options.precision,
        checkpoint=checkpoint,
        weights=options.weights,
        mirror=options.mirror,
        image_size=options.image_size,
        memory=options.out / "runs",
        verbose=1,
    )
    with told_in_a_line():
        features, seconds = paper_data.encode(split, encoder)
    return (features, encoder) if keep else (features, seconds)


def save_features(path, split):
    arrays = dict(zip(split._fields[:4], split[:4], strict=True))
    if split.head is not None:
        arrays |= dict(head_weight=split.head[0], head_bias=split.head[1])
    np.savez(path, **arrays)


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


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
        command.add_argument("--seeds", type=positive, default=5)
        command.add_argument("--factor", type=float, help="make images long-tailed")
        command.add_argument("--weights", help="file of a trained backbone's weights")
        command.add_argument(
            "--mirror", action="store_true", help="encode mirror images as well"
        )
        command.add_argument("--train", action="store_true", help="train the encoder")
        command.add_argument(
            "--recipe",
            choices=paper_data.RECIPES,
            help="train by this recipe alone; implies --train",
        )
        command.add_argument("--epochs", type=positive, help="if not the recipe's")
        command.add_argument(
            "--batch-size", type=positive, help="of encoding and training"
        )
        precisions = ("float32", "bfloat16", "float16")
        command.add_argument("--precision", choices=precisions, help="of the encoder")
        command.add_argument("--image-size", type=positive)
        backbone = "imagenet_resnet10" if name == "table2" else "cifar_resnet32"
        command.add_argument("--backbone", default=backbone)
        command.add_argument("--head-epochs", type=positive, default=30)
        command.add_argument("--max-steps", type=int, help="of the over-sampler")
        # Its authors start g at 0 on CIFAR-LT and at -1 on ImageNet-LT.
        start = -1.0 if name == "table2" else 0.0
        command.add_argument("--concentration", type=float, default=start)
        command.add_argument("--out", type=Path, default=OUT)
        if name in ("image-space", "steps"):
            command.add_argument("--per-class", type=positive, default=500)
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
                "--after", type=positive, nargs="+", default=[10, 50, 150, 500]
            )
        if name == "steps":
            command.add_argument(
                "--ddim", type=positive, nargs="*", default=[5, 10, 50]
            )
            command.add_argument("--ddpm", type=positive, nargs="*", default=[50, 1000])
    options = parser.parse_args(arguments)
    options.train |= options.recipe is not None
    options.max_steps = options.max_steps or "auto"
    options.test_rows = {}  # name of the data -> classes and groups of its test rows
    return options


def told(options):
    """Return the options that a record names."""
    private = {"out", "data", "root", "lists", "weights", "test_rows"}
    return {key: value for key, value in vars(options).items() if key not in private}


def write(name, lines, made_on, options):
    """Write the record of the runs so far; return title and rows of its tables."""
    gains = differences(lines, {name: options.test_rows[name]})
    records = [
        {key: value for key, value in each.items() if not key.startswith("_")}
        for each in lines
    ]
    contents = {"options": told(options), "machine": made_on, "records": records}
    contents["differences"] = gains
    shown = [*tables(records), *difference_tables(gains)]
    path = options.out / f"{options.command.replace('-', '_')}_{name}.json"
    replace(path, json.dumps(contents, indent=1) + "\n")
    replace(path.with_suffix(".rst"), "\n".join(as_rst(*table) for table in shown))
    return shown


def replace(path, text):
    """Write a file in one step: an interruption leaves the old one or the new one."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.replace(path)


def main(arguments=None):
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    found, shown = {}, {}
    for name, made in tqdm(COMMANDS[options.command](options), unit="run"):
        found.setdefault(name, []).extend(made.lines)
        shown[name] = write(name, found[name], made.machine, options)
    for each in shown.values():
        for table in each:
            print(as_text(*table))


if __name__ == "__main__":
    main()
