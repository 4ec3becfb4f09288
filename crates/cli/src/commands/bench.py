# What joblib and scikit-learn take for the same model and rows, as one line of JSON.
# Arguments: model, rows (.npy), method, repeats, where the answers go.
import json
import sys
import time

import joblib
import numpy as np
import sklearn

path, rows, method, repeats, out = sys.argv[1:6]
repeats = int(repeats)


def median(run, times_more=1):
    times = []
    for _ in range(repeats * times_more):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
        del result
    return sorted(times)[len(times) // 2]


report = {
    "python": sys.version.split()[0],
    "joblib": joblib.__version__,
    "sklearn": sklearn.__version__,
    "load_s": median(lambda: joblib.load(path)),
    "mmap_s": median(lambda: joblib.load(path, mmap_mode="r")),
}
model = joblib.load(path)
for step in [model, *(step for _, step in getattr(model, "steps", []))]:
    if hasattr(step, "n_jobs"):
        step.n_jobs = None
if hasattr(model, method):
    x = np.load(rows)
    ask = getattr(model, method)
    ask(x[:1])
    report["one_row_s"] = median(lambda: ask(x[:1]), 40)
    report["all_rows_s"] = median(lambda: ask(x))
    np.save(out, ask(x))
print(json.dumps(report))
