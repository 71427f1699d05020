# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Which parts of `LDMLRClassifier` take weights of rows, and by which keyword."""

from inspect import signature

from sklearn import get_config
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import has_fit_parameter

# The parts, and the method by which `fit` trains each.
TRAINED_BY = {"encoder": "fit", "oversampler": "fit_resample", "classifier": "fit"}


def routing_of(model):
    """Return the requests of a classifier and of its parts, a `MetadataRouter`."""
    router = MetadataRouter(owner=type(model).__name__).add_self_request(model)
    for name, method in TRAINED_BY.items():
        if getattr(model, name) is not None:
            mapping = MethodMapping().add(caller="fit", callee=method)
            router.add(method_mapping=mapping, **{name: getattr(model, name)})
    return router


def weighted_parts(model, sample_weight):
    """Return the names of the parts that sample weights go to, a set.

    With metadata routing those that request them and those left at None; without,
    those whose method takes them, and the classifier, which must.
    """
    if sample_weight is None:
        return set()
    if get_config()["enable_metadata_routing"]:
        routed = process_routing(model, "fit", sample_weight=sample_weight)
        return {
            name
            for name, method in TRAINED_BY.items()
            if getattr(model, name) is None or routed[name][method]
        }
    return {"classifier"} | {
        name
        for name, method in TRAINED_BY.items()
        if _takes_weights(getattr(model, name), method)
    }


def _takes_weights(part, method):
    return (
        part is None or "sample_weight" in signature(getattr(part, method)).parameters
    )


def weight_params(classifier, weights):
    """Return the keyword by which a classifier's `fit` takes weights, and them.

    Raises
    ------
    ValueError
        If it takes none.
    """
    prefix, last = "", classifier
    while isinstance(last, Pipeline):
        prefix += f"{last.steps[-1][0]}__"
        last = last.steps[-1][1]
    forwards = any(
        p.kind is p.VAR_KEYWORD for p in signature(last.fit).parameters.values()
    )
    if not (forwards or has_fit_parameter(last, "sample_weight")):
        raise ValueError(
            "Weights, or generated_weight other than 1, need a classifier whose fit "
            f"takes sample_weight, but {type(last).__name__} does not. Take one that "
            "does, or leave them out."
        )
    if get_config()["enable_metadata_routing"]:
        prefix = ""  # the steps of a pipeline say themselves what they request
    return {f"{prefix}sample_weight": weights}
