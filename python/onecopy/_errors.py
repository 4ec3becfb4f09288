"""What can go wrong, in one small tree. I/O errors stay `OSError`; a wrong `X` is a `ValueError` as in scikit-learn."""


class OnecopyError(Exception):
    """Anything that onecopy itself refuses."""


class FormatError(OnecopyError):
    """A file that is not what it should be: another kind, cut short, damaged, or made to harm."""


class ChecksumError(FormatError):
    """Bytes that differ from what their checksum says."""


class UntrustedTypesError(OnecopyError):
    """A file that names types or functions which nobody said may be used; nothing was imported.

    Attributes
    ----------
    types : list of str
        The names, as `trusted=` takes them.
    """

    def __init__(self, message: str, types: "list[str] | None" = None) -> None:
        super().__init__(message)
        self.types = list(types or [])

    def __reduce__(self) -> tuple:
        return type(self), (self.args[0], self.types)


class SignatureError(OnecopyError):
    """A file that nobody vouches for with the given key, or a key that is none."""


class UnsupportedModelError(OnecopyError):
    """An object that cannot be stored without loss, or that the native engine does not cover."""


class StaleReferenceError(OnecopyError):
    """A handle whose file is no longer the one that it was made of."""
