"""pandas: codes and places that its compiled code follows."""

from typing import Any

import numpy as np

from onecopy._content import is_array, need, within


def block_manager(manager: Any) -> None:
    length = len(manager.axes[0])
    covered = np.zeros(length, dtype=int)
    for block in manager.blocks:
        places = block.mgr_locs.as_array
        need(
            within(places, 0, length) and block.values.shape[0] in (len(places), len(manager.axes[-1])),
            manager,
            "columns within the frame",
        )
        need(
            block.shape[0] == len(places) and block.shape[-1] == len(manager.axes[-1]),
            manager,
            "columns as long as the frame",
        )
        np.add.at(covered, places, 1)
    need((covered == 1).all(), manager, "each column once")


def single_block(manager: Any) -> None:
    need(
        len(manager.blocks) == 1 and len(manager.blocks[0].values) == len(manager.axes[0]),
        manager,
        "values as long as the index",
    )


def categorical(values: Any) -> None:
    codes, categories = values._ndarray, values.dtype.categories
    need(is_array(codes, "i", None) or is_array(codes, "i", None, None), values, "codes")
    need(categories is not None and within(codes, -1, len(categories)), values, "codes of its categories")


def many_levels(index: Any) -> None:
    need(len(index.levels) == len(index.codes), index, "codes for each level")
    for level, codes in zip(index.levels, index.codes):
        need(
            within(np.asarray(codes), -1, len(level)) and len(codes) == len(index.codes[0]),
            index,
            "codes of its levels",
        )


def masked_type(dtype: Any) -> None:
    """Forget what pandas had computed of the type when it was saved: it is computed anew, not believed."""
    kept = vars(dtype)
    need(set(kept) <= {"_cache"}, dtype, "nothing but what pandas computes")
    kept.clear()


def masked_values(values: Any) -> None:
    data, mask = vars(values).get("_data"), vars(values).get("_mask")
    need(
        is_array(data, "iufb", None) and is_array(mask, "b", len(data)),
        values,
        "a mask as long as the values",
    )


def text_values(values: Any) -> None:
    found = values._ndarray
    need(isinstance(found, np.ndarray) and found.dtype.kind in "OT", values, "text")


def arrow_text(values: Any) -> None:
    found = vars(values).get("_pa_array")
    need(type(found).__module__ == "pyarrow.lib" and "string" in str(found.type), values, "text")


def times(values: Any) -> None:
    need(is_array(values._ndarray, "M", None) or is_array(values._ndarray, "M", None, None), values, "times")
    need(values._dtype == values._ndarray.dtype, values, "times of its unit")
