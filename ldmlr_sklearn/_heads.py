# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Linear heads on features."""

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# Ridge penalty per row on standardised features, so that it means the same for any
# number of rows: 1e-3 ‖W‖² beside a mean cross-entropy.
L2_PER_ROW = 2e-3


def softmax_head(total_weight):
    """Make the default head: softmax regression on standardised features.

    Parameters
    ----------
    total_weight : float
        Sum of the weights of the rows it will be fitted to.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the last step named "logisticregression".
    """
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(C=1 / (L2_PER_ROW * total_weight), max_iter=200),
    )
