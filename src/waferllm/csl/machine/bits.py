"""Bit tricks that Numba has no name for."""
# pyright: reportCallIssue=false
# Numba gives an intrinsic's first argument itself.

from numba import types
from numba.extending import intrinsic


@intrinsic
def lowest_bit(typingctx, value):
    """Position of the lowest 1 of an int64 that is not 0."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], context.get_constant(types.boolean, False))

    return types.int64(types.int64), codegen
