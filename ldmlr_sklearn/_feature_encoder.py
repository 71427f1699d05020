# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Images to features: a network as a scikit-learn transformer."""

import copy
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ldmlr_sklearn._backbones import build_backbone, name_of, wanted_input
from ldmlr_sklearn._callbacks import CallbackSupportMixin, FitTask
from ldmlr_sklearn._documentation import DocumentationLinkMixin
from ldmlr_sklearn._encoder import (
    ACCELERATE,
    EncoderWithHead,
    Processes,
    TrainingRecipe,
    count_features,
    describe_start,
    digest_images,
    digest_of,
    encode_blocks,
    encode_images,
    fingerprint,
    load_encoder,
    save_encoder,
    train_encoder,
    train_once,
    training_key,
)
from ldmlr_sklearn._fitting import (
    check_labels,
    check_row_weights,
    fit_context,
    spawn_seeds,
    unchanged_on_failure,
    validate_data,
)
from ldmlr_sklearn._images import (
    ArrayImages,
    decide_pixel_format,
    describe_shape,
    holds_rows,
    is_lazy,
    open_images,
    resolve_image_shape,
)
from ldmlr_sklearn._losses import LOSSES
from ldmlr_sklearn._persistence import library_version
from ldmlr_sklearn._result_cache import cache_folder
from ldmlr_sklearn._torch_utils import borrowed_generator, resolve_device, to_numpy
from ldmlr_sklearn._typing import FilePath, Images, Loss, Memory, RandomState, Verbose


class FeatureEncoder(
    DocumentationLinkMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Turn images into the features of a network.

    The network is one of timm's [3]_, by name, or any of your own. It is left as it is
    (``max_epochs=0``) or trained on the images and classes given to `fit`. Images are
    read in batches: besides the output, memory does not grow with their number.

    Read more in the :ref:`User Guide <encoding>`.

    Parameters
    ----------
    backbone : str, callable or torch.nn.Module, default="resnet18"
        A name of timm's (``timm.list_models()``), the LDMLR paper's [1]_
        "cifar_resnet32" or "imagenet_resnet10", a callable that returns a module, or
        a module, which is copied and never changed. Modules return features (n, d), or
        maps (n, d, h, w), which are averaged. Prefer names and callables in a grid
        search: modules cannot be hashed for a cache.

    weights : str or path-like, default=None
        A local .safetensors or .pth file to load into the backbone. Only tensors are
        read from it, never code.

    pretrained : bool, default=False
        Whether to load the weights that timm knows for the name, from the local cache
        or the internet. Without them and `weights` the backbone starts at random.

    backbone_kwargs : dict, default=None
        Keyword arguments of the backbone, such as ``{"output_stride": 8}`` for small
        images or ``{"img_size": 32}`` for networks of one fixed size.

    image_shape : tuple of int, default=None
        Shape of the image in each row of a 2-D X: (height, width), (height, width,
        channels) or (channels, height, width). One number may be -1, which is then
        inferred from the columns. Other kinds of X have shapes of their own.

    image_size : int or (height, width), default=None
        Size to which all images are brought. By default arrays and tensors keep their
        size, while files and PIL images get the size that the backbone is made for
        (their own proportions are kept, what stands over is cropped on both sides).

    max_epochs : int, default=0
        Epochs of training with a head on the images and classes; 0 leaves the
        backbone frozen.

    loss : {"cross_entropy", "logit_adjusted", "cosine", "wcdas"}, \
            default="cross_entropy"
        What the head is and is trained with: that of the same name in
        `HeadClassifier`, with ``tau=1``. All but the first are made for long tails.

    learning_rate : float, default=0.1
        Of stochastic gradient descent with Nesterov momentum 0.9. About 0.01 suits a
        backbone that starts from weights.

    schedule : {"cosine", "step"}, default="cosine"
        How the learning rate falls: along half a cosine to 0, or to a tenth after half
        and again after three quarters of the training.

    weight_decay : float, default=5e-4
        Strength of the L2 penalty on all weights.

    augmentation : {"crop_flip", "crop", "flip", "autoaugment"} or None, \
            default="crop_flip"
        How training images vary: shifted by up to an eighth of their size over black,
        mirrored left to right, or both; "autoaugment" does both, and then AutoAugment's
        policy for CIFAR [4]_ and Cutout [5]_. Use "crop" for digits and letters.

    mixup_alpha : float, default=0.0
        Parameter of the Beta distribution from which mixup [2]_ draws how much of
        another image is mixed in; 0 mixes nothing, the paper takes 0.5.

    batch_size : int, default=256
        Images that are read, encoded and trained on together.

    checkpoint : str or path-like, default=None
        File that keeps the state of a training after every epoch. A `fit` that was
        interrupted continues from it when it is called again; one that ends removes
        it.

    mirror : bool, default=False
        Whether features are the mean of those of an image and of its mirror image, left
        to right [6]_, which takes twice the time. For classes that do not depend on the
        side.

    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Of the network's matrix products; the lower two use torch's autocast. Features
        are float32 in any case.

    device : str, default="auto"
        "auto" takes the first of "cuda", "mps" and "cpu" that is there. The fitted
        network is kept on the CPU, and lent to the device for each call. "accelerate"
        trains one network on the devices of all processes that ``accelerate launch``
        has started; each takes its share of every batch.

    memory : None, str, path-like or joblib.Memory, default=None
        Folder in which features and trainings are kept. Each image is then encoded
        once by the same network, whatever other images come with it, and an equal
        training, of an integer `random_state`, is done once. Of a `joblib.Memory` the
        `location` is used. The files hold numbers and JSON, never pickles.

    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights, the order of the images and their augmentation.

    verbose : int, default=0
        Shows progress bars if not 0.

    Attributes
    ----------
    backbone_ : torch.nn.Module
        The network, on the CPU and in evaluation mode.

    n_features_out_ : int
        Number of features, d.

    input_shape_ : tuple of int
        (height, width, channels) of the images.

    pixel_scale_ : float
        The value taken for white: 255 for uint8 images, files and PIL images. For
        other numbers it is 1 if no training value is larger, 255 if the largest is
        in (127, 255], else the largest, such as 16 for scikit-learn's digits. Of a
        Dataset of tensors, 256 spread evenly over it are looked at.

    head_weight_ : ndarray of shape (n_classes, `n_features_out_`)
        The linear head that was trained, or that came with `weights`. The losses
        "cosine" and "wcdas" train none.

    head_bias_ : ndarray of shape (n_classes,)
        Its intercepts, at the class frequencies of `y` whatever the loss.

    classes_ : ndarray of shape (n_classes,)
        The classes of the head's rows. Of a head that came with `weights` they are
        known only if `fit` got as many classes, and are taken to be in sorted order.

    loss_curve_ : ndarray of shape (max_epochs,)
        Mean training loss of each epoch.

    device_ : str
        The device that `device` stood for in `fit`.

    n_features_in_ : int
        Number of columns of a 2-D X.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X is a dataframe with names that are all strings.

    See Also
    --------
    LDMLRClassifier : Encodes, over-samples and classifies in one estimator.
    LatentDiffusionOversampler : Generates features of rare classes.

    Notes
    -----
    Features are z = E((x / s − μ) / σ), where s is `pixel_scale_`, μ and σ are the mean
    and standard deviation of each channel in the backbone's configuration, and E is
    the network up to and with its last pooling; `mirror` takes the mean of z and that
    of the mirror image. Training minimises the cross-entropy
    of softmax(W z + b) on the images and classes, or what `loss` puts in its place.

    Numbers of which some are clearly negative (below −0.1 of the largest) have been
    standardised before, as torchvision's transforms do, and are used as they are.
    Gray images are repeated for backbones of three channels, an alpha channel is
    dropped. Three dimensions (height, width, channels) are preferred over (channels,
    height, width) where an array could be both, the other way round for tensors.

    References
    ----------
    .. [1] Han et al. Latent-based diffusion model for long-tailed recognition.
       CVPR workshops 2024.
    .. [2] Zhang et al. mixup: Beyond empirical risk minimization. ICLR 2018.
    .. [3] Wightman. PyTorch image models. https://github.com/huggingface/pytorch-image-models
    .. [4] Cubuk et al. AutoAugment: learning augmentation policies from data. CVPR
       2019.
    .. [5] DeVries, Taylor. Improved regularization of convolutional neural networks
       with Cutout. 2017.
    .. [6] Krizhevsky, Sutskever, Hinton. ImageNet classification with deep
       convolutional neural networks. NeurIPS 2012 (predictions averaged over
       reflections).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from ldmlr_sklearn import FeatureEncoder
    >>> images, y = load_digits(n_class=3, return_X_y=True)
    >>> images.shape
    (537, 64)
    >>> encoder = FeatureEncoder(
    ...     "test_resnet",
    ...     backbone_kwargs={"output_stride": 8},
    ...     image_shape=(8, 8),
    ...     random_state=0,
    ... )
    >>> encoder.fit_transform(images).shape
    (537, 96)
    >>> encoder.pixel_scale_
    16.0
    """

    backbone_: torch.nn.Module
    n_features_out_: int
    input_shape_: tuple[int, int, int]
    pixel_scale_: float
    head_weight_: np.ndarray
    head_bias_: np.ndarray
    classes_: np.ndarray
    loss_curve_: np.ndarray
    device_: str
    n_features_in_: int
    feature_names_in_: np.ndarray

    _parameter_constraints: dict = {
        "backbone": [str, callable],
        "weights": [str, os.PathLike, None],
        "pretrained": ["boolean"],
        "backbone_kwargs": [dict, None],
        "image_shape": [tuple, list, None],
        "image_size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "loss": [StrOptions(set(LOSSES))],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "schedule": [StrOptions({"cosine", "step"})],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "augmentation": [
            StrOptions({"crop_flip", "crop", "flip", "autoaugment"}),
            None,
        ],
        "mixup_alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "checkpoint": [str, os.PathLike, None],
        "mirror": ["boolean"],
        "precision": [StrOptions({"float32", "bfloat16", "float16"})],
        "device": [str],
        "memory": [str, os.PathLike, HasMethods(["cache"]), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone: str | Callable[..., torch.nn.Module] = "resnet18",
        *,
        weights: FilePath | None = None,
        pretrained: bool = False,
        backbone_kwargs: dict[str, Any] | None = None,
        image_shape: Sequence[int] | None = None,
        image_size: int | Sequence[int] | None = None,
        max_epochs: int = 0,
        loss: Loss = "cross_entropy",
        learning_rate: float = 0.1,
        schedule: Literal["cosine", "step"] = "cosine",
        weight_decay: float = 5e-4,
        augmentation: Literal["crop_flip", "crop", "flip", "autoaugment"]
        | None = "crop_flip",
        mixup_alpha: float = 0.0,
        batch_size: int = 256,
        checkpoint: FilePath | None = None,
        mirror: bool = False,
        precision: Literal["float32", "bfloat16", "float16"] = "float32",
        device: str = "auto",
        memory: Memory = None,
        random_state: RandomState = None,
        verbose: Verbose = 0,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.pretrained = pretrained
        self.backbone_kwargs = backbone_kwargs
        self.image_shape = image_shape
        self.image_size = image_size
        self.max_epochs = max_epochs
        self.loss = loss
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.augmentation = augmentation
        self.mixup_alpha = mixup_alpha
        self.batch_size = batch_size
        self.checkpoint = checkpoint
        self.mirror = mirror
        self.precision = precision
        self.device = device
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    @fit_context
    def fit(
        self,
        X: Images,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Build the backbone for images like these, and train it if asked to.

        Parameters
        ----------
        X : array-like, list or torch.utils.data.Dataset of n_samples images
            An array or tensor of shape (n_samples, height, width), (n_samples, height,
            width, channels) or (n_samples, channels, height, width); rows of shape
            (n_samples, n_features) with `image_shape`; file paths or PIL images in a
            list, array or Series; or a Dataset whose items are tensors or PIL images,
            alone or as the first of a tuple.

        y : array-like of shape (n_samples,), default=None
            Classes. Needed when `max_epochs` is above 0.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images in the loss; only their ratios count.

        Returns
        -------
        self : FeatureEncoder
            The fitted encoder.

        Raises
        ------
        ValueError
            If the images, the classes, their weights, the backbone or its weights do
            not fit each other, or if an image that trains has no class. The estimator
            is then left as it was.
        FileNotFoundError, IsADirectoryError
            If a file is missing, or no checkpoint can be at its path. A backbone that
            is left as it is has two images read in `fit`, all others in `transform`.
        """
        data = dict(X=X, y=y, metadata={"sample_weight": sample_weight})
        task = FitTask(self, self.max_epochs, data)
        with unchanged_on_failure(self):
            for name in [name for name in vars(self) if name.endswith("_")]:
                delattr(self, name)
            self._fit(X, y, sample_weight, task)
            task.end()
        return self

    def _fit(self, X, y, sample_weight, task):
        processes = Processes.launched() if self.device == ACCELERATE else Processes()
        device = processes.device or resolve_device(self.device)
        seeds = processes.agree(spawn_seeds(self.random_state, 3))
        with borrowed_generator(seeds[0], device):
            keywords = self.backbone_kwargs or {}
            network, head = build_backbone(
                self.backbone,
                keywords,
                pretrained=self.pretrained,
                weights=self.weights,
            )
            wanted = wanted_input(network, self.backbone, keywords)
            source = self._open(X, wanted.n_channels, reset=True)
            targets = self._encode_targets(y, len(source), head)
            if sample_weight is not None:
                rows = np.empty(len(source))
                sample_weight = check_row_weights(sample_weight, rows)
            self._pixels = self._decide_pixels(source, wanted)
            self.n_features_out_ = count_features(
                network, self._pixels, source, name_of(self.backbone)
            )
            if self.max_epochs:
                network = EncoderWithHead(
                    network, self.n_features_out_, len(self.classes_), self.loss
                )
                self.loss_curve_ = np.array(
                    self._train(
                        *(network, source, targets, sample_weight),
                        *(device, seeds, processes, task),
                    )
                )
                network.cpu()
                head = network.linear_head(targets, sample_weight)
                network = network.backbone
        vars(self).update(self._fitted_attributes(network, head))
        self.device_ = str(device)

    def _fitted_attributes(self, network, head):
        attributes = {
            "backbone_": network.eval(),
            "input_shape_": self._pixels.shape,
            "pixel_scale_": self._pixels.scale,
        }
        if head is not None:
            attributes["head_weight_"], attributes["head_bias_"] = map(to_numpy, head)
        return attributes

    def transform(self, X: Images) -> Any:
        """Encode images.

        Parameters
        ----------
        X : array-like, list or torch.utils.data.Dataset of n_samples images
            Of the kinds that `fit` takes, with the height, width and channels seen
            there. Files and PIL images are brought to that size. A dask array, of
            images or of paths, is encoded block by block when the result is computed.

        Returns
        -------
        X_encoded : ndarray of shape (n_samples, `n_features_out_`), float32
            Features, or a dataframe of them if `set_output` asks for one. A dask array
            if `X` is one.
        """
        check_is_fitted(self)
        if is_lazy(X):
            return encode_blocks(self, X)
        return self._encode(X)

    def _encode(self, X):
        source = self._open_like_fit(X)
        device = self._resolve_device_again()
        network = self.backbone_
        if device.type != "cpu":
            network = copy.deepcopy(network).to(device)
        folder, cache = cache_folder(self.memory), None
        if folder is not None:
            made_by = self._describe(self.backbone_, device)
            made_by["mirror"] = self.mirror  # which training does not depend on
            cache = folder, digest_of(made_by, self.backbone_)
        return encode_images(
            network,
            self._pixels,
            source,
            self.n_features_out_,
            device=device,
            mirror=self.mirror,
            precision=self.precision,
            batch_size=self.batch_size,
            verbose=self.verbose,
            cache=cache,
        )

    def save(self, path: FilePath) -> None:
        """Write the fitted encoder to a file that holds no code.

        Not kept are `memory`, metadata requests, callbacks and the output container.

        Parameters
        ----------
        path : str or path-like
            File to write, or to replace, such as "encoder.safetensors".

        Raises
        ------
        ValueError
            If the backbone is not one of timm's by name.
        TypeError
            If a parameter cannot be written, such as a `random_state` that is neither
            an integer nor None.
        FileNotFoundError, IsADirectoryError
            If there is no such folder, or `path` is one.
        """
        check_is_fitted(self)
        save_encoder(self, path)

    @classmethod
    def load(cls, path: FilePath) -> Self:
        """Read an encoder that `save` has written.

        Nothing in the file is executed, no other file is read and no request sent: it
        may come from anyone. Its parameters are those of the encoder that was saved;
        look at them before a new `fit`, which follows them.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        encoder : FeatureEncoder
            The fitted encoder.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is damaged, of another kind or of a later version, if its backbone
            would have to be fetched, or if timm builds another network by now.
        """
        return load_encoder(cls, path)

    def _open_like_fit(self, X):
        source = self._open(X, self._pixels.n_channels, reset=False)
        if source.shape not in (None, self.input_shape_):
            raise ValueError(
                f"X has images of {describe_shape(source.shape)}, but FeatureEncoder "
                f"was fitted on images of {describe_shape(self.input_shape_)}. Resize "
                "them, or fit again."
            )
        self._pixels.check_range(source)
        return source

    def _train(self, network, source, targets, weights, device, seeds, processes, task):
        """Train a network, or take it from the cache; return the loss curve."""
        settings = TrainingRecipe._fields
        recipe = TrainingRecipe(*(getattr(self, name) for name in settings))
        folder = cache_folder(self.memory)
        # Without a seed no two trainings are equal, and callbacks may stop one.
        watched = bool(getattr(self, "_skl_callbacks", None))
        unique = self.random_state is None or processes.count > 1 or watched
        kept = folder is not None and not unique
        if kept or self.checkpoint is not None:
            images = digest_images(source, self._pixels.shape, self.batch_size)

        def so_far():
            trained = copy.deepcopy(network).cpu()
            head = trained.linear_head(targets, weights)
            return vars(self) | self._fitted_attributes(trained.backbone, head)

        def train():
            start = None
            if self.checkpoint is not None:
                start = describe_start(self, network, self._pixels) | {"images": images}
            epochs = task.watch(itertools.repeat(True), so_far)
            next(epochs)  # the first begins, and with the end of one the next
            return train_encoder(
                network,
                self._pixels,
                source,
                targets,
                weights,
                recipe,
                device=device,
                seeds=seeds[1:],
                verbose=self.verbose,
                processes=processes,
                after_epoch=lambda: not next(epochs, False),
                checkpoint=self.checkpoint,
                start=start,
            )

        if not kept:
            return train()
        made_by = self._describe(network.backbone, device)
        key = training_key(made_by, network, images, targets, weights, recipe, seeds)
        return train_once(folder, key, network, train)

    def _describe(self, network, device):
        """Return what, beside the weights of a network, its features depend on."""
        if isinstance(self.backbone, str):
            structure = [self.backbone, self.backbone_kwargs, version("timm")]
        else:
            structure = [repr(network), fingerprint(network, self._pixels)]
        pixels = asdict(self._pixels)
        del pixels["largest"]  # of the images of one fold
        return {
            "structure": structure,
            "pixels": pixels,
            "precision": self.precision,
            "device": device.type,
            "versions": [library_version(), version("torch"), version("pillow")],
        }

    def _open(self, X, n_channels, *, reset):
        if not holds_rows(X):
            return open_images(X, n_channels)
        if isinstance(X, torch.Tensor):
            X = to_numpy(X)
        X = validate_data(self, X, reset=reset)
        if self.image_shape is None:
            raise ValueError(
                f"X has 2 dimensions, {X.shape}, and image_shape is None. Set "
                "image_shape, such as (8, 8), if each row is a flattened image; a "
                "single image is X[np.newaxis]."
            )
        shape = resolve_image_shape(self.image_shape, X.shape[1])
        return ArrayImages(X, shape, n_channels)

    def _encode_targets(self, y, n_rows, head):
        """Return classes as integers, or None if no head needs them."""
        if y is None:
            if self.max_epochs:
                raise ValueError(
                    f"FeatureEncoder with max_epochs={self.max_epochs} requires y to "
                    "be passed, but the target y is None. Use max_epochs=0 to leave "
                    "the backbone as it is."
                )
            return None
        if not self.max_epochs:
            if head is not None and np.ndim(y) == 1:
                classes = np.unique(y)
                if len(classes) == len(head[0]):
                    self.classes_ = classes
            return None
        y = column_or_1d(y, warn=True)
        check_labels(y)
        check_classification_targets(y)
        if len(y) != n_rows:
            raise ValueError(
                f"X and y have inconsistent numbers of samples: {n_rows} and {len(y)}."
            )
        self.classes_, targets = np.unique(y, return_inverse=True)
        if n_rows < 2 or len(self.classes_) < 2:
            raise ValueError(
                "Training needs 2 samples and 2 classes at least, got n_samples = "
                f"{n_rows} and {len(self.classes_)} class. Use max_epochs=0 to leave "
                "the backbone as it is."
            )
        return targets

    def _decide_pixels(self, source, wanted):
        size = self.image_size
        if size is None and source.shape is None:
            size = wanted.size
            if size is None:
                raise ValueError(
                    "X holds files or PIL images, and the backbone does not say for "
                    "which size it is made. Set image_size."
                )
        return decide_pixel_format(
            source,
            size=size,
            n_channels=wanted.n_channels,
            mean=wanted.mean,
            std=wanted.std,
        )

    def _resolve_device_again(self):
        """Resolve the device anew: the estimator may be on another machine by now."""
        if self.device == ACCELERATE:  # which has made its device the current one
            return resolve_device("auto")
        try:
            return resolve_device(self.device)
        except ValueError:
            if self.device != self.device_:
                raise
            return resolve_device("auto")

    @property
    def _n_features_out(self):
        return self.n_features_out_

    def __sklearn_is_fitted__(self):
        return hasattr(self, "backbone_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self.image_shape is not None
        tags.input_tags.three_d_array = True
        tags.target_tags.required = self.max_epochs > 0
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
