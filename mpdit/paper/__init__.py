"""The paper (arXiv 2505.19122) as a study: its published numbers, tables, figures and claims.

Everything here is registered through `mpdit.study`, as a study of your own would be, and importing this package does
it. Nothing else depends on the package: delete it and its tables, figures and claims are gone, and no run
counts as being in the paper's setting.
"""

from ..study import introduction

# Tables, claims and figures appear in reports in this order.
# isort: off
from . import setting, tables, claims, figures  # noqa: F401
# isort: on

introduction(
    "This study reproduces and extends the ablation of “Exploring Magnitude Preservation and Rotation Modulation in "
    "Diffusion Transformers” (arXiv 2505.19122)."
)
