"""A small machine-learning experiment on real data, run on Whipray and checked against plain loops.

Three parts: a hyper-parameter search (`search`), training with a parameter server
(`parameter_server`), and a photograph pipeline (`photo_pipeline`).  `python -m examples.experiment`
runs all of them.

Numerical libraries are held to one thread per process, here and in the workers: then a task uses
the one CPU it asked for, the plain loop and the parallel run do the same arithmetic in the same
order, and their times can be compared.  The variables work for libraries that are loaded later;
where NumPy is loaded already, its thread pools are set to one thread as well.
"""

import os
import sys

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

for _name in THREAD_VARIABLES:
    os.environ[_name] = "1"

if "numpy" in sys.modules:
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1)
