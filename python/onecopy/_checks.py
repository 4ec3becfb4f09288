"""Content that compiled code follows without looking: checked before an object is used.

`STATES` holds, by (module, qualified name) of the class, what looks at a state before the object gets it; `CHECKS` what looks
at an object that is complete. Both raise `FormatError`.
"""

from collections.abc import Callable
from typing import Any

STATES: dict[tuple[str, str], Callable[[Any, Any], None]] = {}
CHECKS: dict[tuple[str, str], Callable[[Any], None]] = {}
