"""How hard tests with random examples or random kills try: MPDIT_TEST_EFFORT, 1 unless .ci/nightly sets more."""

import os

EFFORT = int(os.environ.get("MPDIT_TEST_EFFORT", "1"))
