"""What `keys`, `values` and `items` of a mapped vocabulary give: views, with the operations of sets as those of a dict."""

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any


class VocabularyKeys(KeysView):
    """The terms."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        return iter(self._mapping)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._mapping)


class VocabularyValues(ValuesView):
    """The column of each term."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return self._mapping._iterate("values")

    def __reversed__(self) -> Iterator[Any]:
        return self._mapping._iterate("values", reverse=True)

    def __contains__(self, value: object) -> bool:
        return any(value is known or value == known for known in self)


class VocabularyItems(ItemsView):
    """Pairs of a term and its column."""

    __slots__ = ()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return self._mapping._iterate("items")

    def __reversed__(self) -> Iterator[tuple[str, Any]]:
        return self._mapping._iterate("items", reverse=True)
