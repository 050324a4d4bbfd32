"""A bundle of arrays that jitted code takes as one pointer.

A tuple of arrays becomes hundreds of arguments at every call, which compiles slowly; Numba's own struct
references count references at every call and access, which runs slowly. A `View` is the address of the
arrays' descriptors, in the layout that Numba's arrays have, and owns nothing: Python keeps the arrays.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_getattr_generic,
    models,
    register_model,
    typeof_impl,
    unbox,
)

HEAD_WORDS = 5  # owner, parent, items, bytes of an item, address; then shape and strides


class ViewType(types.Type):
    """Numba's type of a `View`: the names and types of its arrays."""

    def __init__(self, fields: tuple[tuple[str, types.Array], ...]) -> None:
        self.fields = fields
        super().__init__(f"View({', '.join(f'{name}: {kind}' for name, kind in fields)})")

    def offset_words(self, name: str) -> int:
        """Where a field's descriptor begins, in 64-bit words."""
        at = 0
        for each, kind in self.fields:
            if each == name:
                return at
            at += HEAD_WORDS + 2 * kind.ndim
        raise AttributeError(name)


class View:
    """Arrays, C-contiguous, that jitted code reaches by the names of a tuple's fields."""

    def __init__(self, arrays: NamedTuple) -> None:
        self.arrays = arrays
        self.fields = tuple(
            (name, types.Array(_scalar(array), array.ndim, "C"))
            for name, array in arrays._asdict().items()
        )
        words: list[int] = []
        for array in arrays:
            if not array.flags.c_contiguous:
                raise ValueError("a View takes C-contiguous arrays")
            words += [0, 0, array.size, array.itemsize, array.ctypes.data]
            words += [*array.shape, *array.strides]
        self._words = np.array(words, np.int64)
        self.address = self._words.ctypes.data


def _scalar(array: np.ndarray) -> types.Type:
    return types.boolean if array.dtype == np.bool_ else getattr(types, str(array.dtype))


@typeof_impl.register(View)
def _typeof(view: View, _: object) -> ViewType:
    return ViewType(view.fields)


@register_model(ViewType)
class _Model(models.OpaqueModel):
    """A plain pointer."""


@unbox(ViewType)
def _unbox(typ, view, c):
    address = c.pyapi.object_getattr_string(view, "address")
    value = c.pyapi.long_as_voidptr(address)
    c.pyapi.decref(address)
    return NativeValue(value, is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


@infer_getattr
class _Attributes(AttributeTemplate):
    key = ViewType

    def generic_resolve(self, typ, attr):
        return dict(typ.fields).get(attr)


@lower_getattr_generic(ViewType)
def _getattr(context, builder, typ, value, attr):
    kind = dict(typ.fields)[attr]
    words = builder.bitcast(value, ir.IntType(64).as_pointer())
    at = builder.gep(words, [ir.IntType(64)(typ.offset_words(attr))])
    descriptor = context.get_value_type(kind)
    return builder.load(builder.bitcast(at, descriptor.as_pointer()))
