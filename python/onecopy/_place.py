"""Which file is meant, and where its bytes lie while it is used."""

import os
from typing import Any, NamedTuple

How = tuple["str | None", str, "str | None"]

USUAL: How = (None, "cache", None)


class Place(NamedTuple):
    """A path or a descriptor; and `cache`, `share` and `guard`."""

    path: "str | int"
    how: How

    @classmethod
    def of(cls, path: Any, cache: Any, share: str, guard: "str | None") -> "Place":
        if isinstance(path, bool):
            raise TypeError(f"path must be a path or a descriptor, found {path!r}")
        if isinstance(path, int):
            if path < 0:
                raise ValueError(f"a descriptor is 0 or more, found {path}")
            if guard is not None:
                raise ValueError("guard= copies a file and takes its path; what a descriptor leads to is in memory already")
            return cls(path, (None, share, None))
        folder = None if cache is None else os.path.abspath(os.fsdecode(cache))
        return cls(os.path.abspath(os.fsdecode(path)), (folder, share, guard))
