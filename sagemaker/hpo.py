"""Tunes the four of the mission on SageMaker, or here: ``python hpo.py --data DIR --trials 12 [--on sagemaker …]``.

It is ``binventory tune`` under the name that SageMaker's users look for.
"""

import sys

from binventory.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["tune"]
    main()
