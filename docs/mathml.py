# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Formulas as MathML, written when the site is built.

Every current browser shows MathML by itself: pages need no script and no network for
their formulas, and screen readers can read them.
"""

from html import escape

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

# What the converter writes, and what browsers set well: bars of a norm that do not grow
# apart, and a relation with space around it.
BETTER = {
    "<mo>&#x02016;</mo>": '<mo stretchy="false">&#x02016;</mo>',
    "<mi>&#x0007E;</mi>": "<mo>&#x0223C;</mo>",
}


def to_mathml(latex, display):
    r"""Return a formula of LaTeX as MathML, "inline" or as a "block".

    Raises
    ------
    ValueError
        If there is a command in it that cannot be converted, such as ``\oops``.
    """
    formula = convert(latex, display=display)
    if "\\" in formula:  # the converter leaves commands that it does not know
        raise ValueError(f"A command of this formula is not known: {latex}")
    for written, better in BETTER.items():
        formula = formula.replace(written, better)
    # What is copied from a page, and shown where MathML is not known.
    return formula.replace("<math ", f'<math alttext="{escape(latex)}" ', 1)


def visit_inline(self, node):
    self.body.append(to_mathml(node.astext(), "inline"))
    raise SkipNode


def visit_block(self, node):
    self.body.append(f'<div class="math">{to_mathml(node.astext(), "block")}</div>')
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
