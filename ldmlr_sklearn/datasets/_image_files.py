# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Images as files: in a folder for every class, or named in a list with labels."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from ldmlr_sklearn._typing import FilePath, validate_params

_N_NAMES_SHOWN = 3  # of missing files, in an error message
IMAGE_EXTENSIONS = (
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".gif",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)


def _image_files(folder, extensions):
    """List the files below a folder that end like images, hidden ones left out."""
    files = []
    for directory, subdirectories, names in os.walk(folder, followlinks=True):
        subdirectories[:] = [name for name in subdirectories if name[0] != "."]
        files += [
            os.path.join(directory, name)
            for name in names
            if name[0] != "." and name.lower().endswith(extensions)
        ]
    return sorted(files)


@validate_params({"path": [str, os.PathLike], "extensions": [Iterable]})
def load_image_folder(
    path: FilePath, *, extensions: Iterable[str] = IMAGE_EXTENSIONS
) -> Bunch:
    """List the images in a folder that holds one folder for every class.

    No image is opened: the file names go to
    :class:`~ldmlr_sklearn.FeatureEncoder` as they are, and it reads them batch by
    batch.

    Parameters
    ----------
    path : str or path-like
        The folder. Each folder in it is a class of that name; the images of a class
        may lie in folders of their own below it. Hidden files and folders are left
        out.

    extensions : iterable of str, default=IMAGE_EXTENSIONS
        Endings of the files to list, upper and lower case alike.

    Returns
    -------
    images : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        filenames : ndarray of str of shape (n_samples,)
            The path of every image, class by class, sorted.
        target : ndarray of int of shape (n_samples,)
            The class of every image, an index into `target_names`.
        target_names : ndarray of str of shape (n_classes,)
            The names of the class folders, sorted.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    NotADirectoryError
        If the path is a file.
    ValueError
        If there is no class folder, or one without an image.

    See Also
    --------
    load_image_list : The same for images that a text file names.
    sklearn.datasets.load_files : The same for text files, which it reads.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ldmlr_sklearn.datasets import load_image_folder
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("cat/1.png", "cat/2.png", "dog/1.JPG"):
    ...     (folder / name).parent.mkdir(exist_ok=True)
    ...     (folder / name).touch()
    >>> images = load_image_folder(folder)
    >>> images.target_names[images.target].tolist()
    ['cat', 'cat', 'dog']
    """
    extensions = _check_extensions(extensions)
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no folder {str(path)!r}. Give the path of a folder that holds "
            "one folder of images for every class."
        )
    if not path.is_dir():
        raise NotADirectoryError(
            f"{str(path)!r} is a file. Give the path of a folder that holds one folder "
            "of images for every class."
        )
    folders = sorted(
        entry for entry in path.iterdir() if entry.is_dir() and entry.name[0] != "."
    )
    if not folders:
        raise ValueError(
            f"{str(path)!r} holds no folder. Put the images of every class into a "
            "folder named after the class."
        )
    files = [_image_files(folder, extensions) for folder in folders]
    empty = [
        folder.name for folder, found in zip(folders, files, strict=True) if not found
    ]
    if empty:
        raise ValueError(
            f"No image in the class folder(s) {empty} of {str(path)!r}; looked for "
            f"files ending in {', '.join(extensions)}. Remove the folders, or name "
            "the endings of your files in extensions."
        )
    return Bunch(
        filenames=np.array([file for found in files for file in found]),
        target=np.repeat(np.arange(len(folders)), [len(found) for found in files]),
        target_names=np.array([folder.name for folder in folders]),
    )


def _check_extensions(extensions):
    if isinstance(extensions, str):
        extensions = [extensions]
    extensions = tuple(extensions)
    if not extensions or not all(isinstance(ending, str) for ending in extensions):
        raise ValueError(
            "extensions must be file endings such as ('.png', '.jpg'). Got "
            f"{extensions!r}."
        )
    return tuple(ending.lower() for ending in extensions)


@validate_params({"path": [str, os.PathLike], "root": [str, os.PathLike, None]})
def load_image_list(path: FilePath, *, root: FilePath | None = None) -> Bunch:
    """List the images that a text file names, one ``path label`` a line.

    The splits of ImageNet-LT, Places-LT and iNaturalist [1]_ come as such files. No
    image is opened: the file names go to :class:`~ldmlr_sklearn.FeatureEncoder` as they
    are, and it reads them batch by batch.

    Parameters
    ----------
    path : str or path-like
        The text file, in UTF-8. A line holds the path of an image, which may have
        spaces, and after the last space the number of its class. Empty lines are left
        out.

    root : str or path-like, default=None
        The folder that the paths start from. With `None`, that of the text file.

    Returns
    -------
    images : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        filenames : ndarray of str of shape (n_samples,)
            The path of every image, in the order of the lines.
        target : ndarray of int of shape (n_samples,)
            The class of every image.

    Raises
    ------
    FileNotFoundError
        If there is no such text file, or if images are missing; the first of them are
        named.
    ValueError
        If a line is not of this form, or there is none.

    See Also
    --------
    load_image_folder : The same for a folder of images for every class.

    References
    ----------
    .. [1] Liu et al. Large-scale long-tailed recognition in an open world. CVPR 2019.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ldmlr_sklearn.datasets import load_image_list
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.jpg", "b.jpg"):
    ...     (folder / name).touch()
    >>> _ = (folder / "train.txt").write_text("a.jpg 0\\nb.jpg 3\\n")
    >>> load_image_list(folder / "train.txt").target
    array([0, 3])
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {str(path)!r}. Give the path of a text file with a line "
            "'path label' for every image."
        )
    root = path.parent if root is None else Path(root)
    filenames, target = [], []
    text = path.read_text(encoding="utf-8-sig")  # editors may begin it with a mark
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdecimal():
            raise ValueError(
                f"Line {number} of {str(path)!r} is {line!r}. Expected 'path label', "
                "the label a whole number of at least 0."
            )
        filenames.append(os.path.join(root, name.rstrip()))
        target.append(int(label))
    if not filenames:
        raise ValueError(
            f"{str(path)!r} names no image. Expected a line 'path label' for each."
        )
    missing = [name for name in filenames if not os.path.isfile(name)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the {len(filenames)} images that {str(path)!r} names "
            f"are missing: {', '.join(map(repr, missing[:_N_NAMES_SHOWN]))}"
            f"{', …' if len(missing) > _N_NAMES_SHOWN else ''}. Set root to the folder "
            "that the paths start from, or complete the images."
        )
    return Bunch(filenames=np.array(filenames), target=np.array(target))
