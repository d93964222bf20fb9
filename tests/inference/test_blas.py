from __future__ import annotations

import json
import subprocess
import sys

# The number of threads is the process' own, so another one is asked.
CODE = """
import json, time
import numpy as np
from stillroom_server.inference.blas import compute_on_one_thread
told = compute_on_one_thread()
a = np.ones((1200, 1200), np.float32)
everyone, own = time.process_time(), time.thread_time()
for _ in range(5):
    a @ a
everyone, own = time.process_time() - everyone, time.thread_time() - own
print(json.dumps({"told": told, "others": everyone - own, "own": own}))
"""


def test_products_stay_on_the_thread_that_asks() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["told"]
    assert found["own"] > 0.01
    assert found["others"] < 0.2 * found["own"]
