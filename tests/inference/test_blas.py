from __future__ import annotations

import json
import subprocess
import sys

# The number of threads is the process' own, so another one is asked; and as threadpoolctl finds the
# library, not as the code under test does.
CODE = """
import json
import numpy as np
from threadpoolctl import ThreadpoolController
from stillroom_server.inference.blas import compute_on_one_thread, one_thread
pool = ThreadpoolController().select(user_api="blas")

def threads():
    return [library["num_threads"] for library in pool.info()]

pool.limit(limits=3)  # also where there is one core
found = {"before": threads()}
with one_thread():
    found["within"] = threads()
found["after"] = threads()
found["told"] = compute_on_one_thread()
found["then"] = threads()
print(json.dumps(found))
"""


def test_products_stay_on_the_thread_that_asks() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found == {"before": [3], "within": [1], "after": [3], "told": True, "then": [1]}
