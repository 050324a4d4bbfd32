"""What each JAX primitive is to a core: arithmetic, a view, a word to the neighbours, a loop.

Every reading goes through `kind_of`, and an operation without a rule is an error: nothing is ever
counted as free because nobody thought of it.
"""

from enum import Enum, auto
from typing import Any

from waferllm.errors import UnsupportedError


class Kind(Enum):
    """How a core carries out one operation."""

    INDEX = auto()  # the core's own place, or a counter: registers
    VIEW = auto()  # the same data through another descriptor: addresses, no copy
    ELEMENTWISE = auto()  # one pass over the elements, in place where an operand dies
    REDUCTION = auto()  # one pass that leaves fewer elements
    UPDATE = auto()  # writes part of its first operand, in place where that dies
    COPY = auto()  # moves elements to a new place
    PRODUCT = auto()  # dot_general
    WORD = auto()  # a fabric word
    LOOP = auto()  # scan
    CALL = auto()  # a nested program, read in line


_MOVES = "convert_element_type select_n copy copy_p clamp reduce_precision"
_COMPARISONS = "eq ne lt le gt ge and or not xor is_finite"
_ARITHMETIC = (
    "add sub mul div rem max min neg sign abs floor ceil round square integer_pow pow sqrt rsqrt "
    "cbrt exp exp2 expm1 log log1p logistic tanh sin cos tan erf add_any atan2 "
    "shift_left shift_right_logical shift_right_arithmetic cumsum cummax cummin cumprod "
)
_KINDS: dict[Kind, str] = {
    Kind.INDEX: "iota axis_index",
    Kind.VIEW: "reshape squeeze expand_dims transpose rev slice dynamic_slice broadcast_in_dim "
    "split stop_gradient optimization_barrier pvary",
    Kind.ELEMENTWISE: f"{_MOVES} {_COMPARISONS} {_ARITHMETIC}",
    Kind.REDUCTION: "reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or argmax "
    "argmin",
    Kind.UPDATE: "dynamic_update_slice scatter scatter-add scatter_add",
    Kind.COPY: "concatenate stack pad gather",
    Kind.PRODUCT: "dot_general",
    Kind.WORD: "shift rotate reduce reduce_to broadcast broadcast_from",
    Kind.LOOP: "scan",
    Kind.CALL: "jit pjit closed_call core_call custom_jvp_call custom_vjp_call checkpoint remat2",
}
_RULES: dict[str, Kind] = {name: kind for kind, names in _KINDS.items() for name in names.split()}

#: Elementwise operations that move or choose values and compute none.
MOVES = frozenset(_MOVES.split())
#: Elementwise operations whose result answers a question.
COMPARISONS = frozenset(_COMPARISONS.split())
#: Where a call keeps the program that it calls.
BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")

_UNBOUNDED = {
    "while": "how often it turns depends on data. Use lax.scan or lax.fori_loop with static bounds",
    "cond": "which branch runs depends on data. Compute both and choose with jnp.where",
}


def kind_of(name: str, params: dict[str, Any], program: str) -> Kind:
    """The rule for a primitive; raises `UnsupportedError` naming one that has none."""
    if name in _UNBOUNDED:
        raise UnsupportedError(f"{program} uses '{name}': {_UNBOUNDED[name]}.")
    kind = _RULES.get(name)
    if kind is Kind.WORD and "axis" not in params:  # lax.reduce shares its name with ours
        kind = None
    if kind is None:
        raise UnsupportedError(
            f"{program} uses the JAX primitive '{name}', for which PLMR has no rule, and to count "
            "it as free would be wrong. Write it with operations that have one, or add a rule to "
            "waferllm/plmr/rules.py."
        )
    return kind
