"""Which file is meant, and where its bytes lie while it is used."""

import os
from typing import Any, NamedTuple

How = tuple["str | None", str, "str | None", "str | None"]

USUAL: How = (None, "cache", None, None)


class Place(NamedTuple):
    """A path or a descriptor; and `cache`, `share`, `guard` and `verify_key`."""

    path: "str | int"
    how: How

    @classmethod
    def of(cls, path: Any, cache: Any, share: str, guard: "str | None", verify_key: Any = None) -> "Place":
        if isinstance(path, bool):
            raise TypeError(f"path must be a path or a descriptor, found {path!r}")
        if isinstance(path, int):
            if path < 0:
                raise ValueError(f"a descriptor is 0 or more, found {path}")
            if guard is not None:
                raise ValueError("guard= copies a file and takes its path; what a descriptor leads to is in memory already")
            if verify_key is not None:
                raise ValueError("verify_key= looks for a signature beside a file and takes its path")
            return cls(path, (None, share, None, None))
        folder, key = (None if given is None else os.path.abspath(os.fsdecode(given)) for given in (cache, verify_key))
        return cls(os.path.abspath(os.fsdecode(path)), (folder, share, guard, key))
