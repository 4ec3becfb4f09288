"""Writes the small models of XGBoost in `tests/convert/xgboost`: `python tests/convert/xgboost_models.py`."""

import pathlib

import numpy as np
import xgboost

HERE = pathlib.Path(__file__).parent / "xgboost"


def write(name: str, **params: object) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(80, 2)), rng.integers(0, 40, size=(80, 1))], axis=1).astype(np.float32)
    x[::7, 0] = np.nan
    y = (np.nan_to_num(x[:, 0]) > 0).astype(int) + (x[:, 2] % 3 == 0)
    matrix = xgboost.DMatrix(x, y, feature_types=["q", "q", "c"], nthread=1)
    params = {"nthread": 1, "max_depth": 2, "objective": "multi:softprob", "num_class": 3, **params}
    booster = xgboost.train(params, matrix, num_boost_round=2)
    for suffix in ("json", "ubj"):
        booster.save_model(HERE / f"{name}.{suffix}")


write("trees")
write("dart", booster="dart", rate_drop=0.5, one_drop=1)
