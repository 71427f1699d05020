# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks of scikit-learn where it has them: from version 1.9 on."""

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this scikit-learn has no callbacks."""

    def with_callbacks(method):
        """Return the method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "FitTask", "with_callbacks"]


class FitTask:
    """Tells the callbacks of an estimator of its fit and of every step in it.

    Used within a method that is decorated by `with_callbacks`.

    Parameters
    ----------
    estimator : CallbackSupportMixin
    n_steps : int
        How many steps there will be at most.
    data : dict
        `X`, `y` and `metadata`, as the callbacks get them.
    """

    def __init__(self, estimator, n_steps, data):
        self._hooks = dict(estimator=estimator, **data)
        self._n_steps = n_steps
        self._context = None
        # Without callbacks there is nobody to tell.
        if getattr(estimator, "_skl_callbacks", None):
            self._context = estimator._init_callback_context(max_subtasks=n_steps)
            self._context.call_on_fit_task_begin(**self._hooks)

    def watch(self, steps, fitted_attributes):
        """Yield what the iterator `steps` yields until a callback asks to stop.

        Callbacks that want a fitted estimator get one with what `fitted_attributes()`
        returns.
        """
        if self._context is None:
            yield from steps
            return
        for _ in range(self._n_steps):
            context = self._context.subcontext(task_name="step")
            context.call_on_fit_task_begin(**self._hooks)
            yield next(steps)
            stop = context.call_on_fit_task_end(
                **self._hooks, reconstruction_attributes=fitted_attributes
            )
            if stop:
                return

    def end(self):
        """Tell that the fit is done."""
        if self._context is not None:
            self._context.call_on_fit_task_end(**self._hooks)
