"""`Program`: a function of one core's arrays, the mesh it runs on, and where its arrays lie.

The per-core jaxpr is the noun that every reading shares: run it on simulated cores or on devices
(`waferllm.program.run`), cost it (`waferllm.plmr`), lower it (`waferllm.csl`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import ClosedJaxpr

from waferllm.errors import InputError
from waferllm.layout import COLS, ROWS, Layout, Mesh

CoreFunction = Callable[..., Any]


@dataclass(frozen=True)
class Spec:
    """A global array: its shape before padding, its dtype, and its layout on the mesh."""

    shape: tuple[int, ...]
    layout: Layout
    dtype: Any = jnp.float32

    def tile(self, mesh: Mesh) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(self.layout.tile(self.shape, mesh), self.dtype)


@dataclass(frozen=True)
class Kernel:
    """A core function with the layouts that it is written for.

    `layouts(mesh)` gives the layouts of the inputs and of the output; `shape(*shapes)` the global
    shape of the output, or an InputError that says why the shapes do not fit together.
    """

    core: CoreFunction
    layouts: Callable[[Mesh], tuple[tuple[Layout, ...], Layout]]
    shape: Callable[..., tuple[int, ...]]

    @property
    def __name__(self) -> str:
        return self.core.__name__.removesuffix("_core")

    def __call__(self, *tiles: Array, **options: Any) -> Array:
        """Inside another core function, a kernel is its core function."""
        return self.core(*tiles, **options)


class Program:
    """A core function on a mesh.

    `Program(kernel, mesh=(4, 4), shapes=[(256, 256), (256, 256)])` takes the layouts from the kernel.
    `Program(core, mesh=..., inputs=[...], outputs=...)` states them: `inputs` is one `Spec` (or pytree
    of them) per argument, `outputs` a pytree of `Spec` like the result; without it a program can be read
    and costed, but not run.
    """

    def __init__(
        self,
        core: Kernel | CoreFunction,
        *,
        mesh: Mesh | tuple[int, int],
        shapes: Sequence[tuple[int, ...]] = (),
        dtype: Any = jnp.float32,
        inputs: Sequence[Any] = (),
        outputs: Any = None,
        name: str | None = None,
    ) -> None:
        self.mesh = Mesh.of(mesh)
        self.name = name or core.__name__
        self.core: CoreFunction = core.core if isinstance(core, Kernel) else core
        if isinstance(core, Kernel):
            layouts, result = core.layouts(self.mesh)
            if len(shapes) != len(layouts):
                raise InputError(
                    f"{self.name} takes {len(layouts)} arrays but {len(shapes)} shapes were given."
                )
            shape = core.shape(*shapes)
            inputs = [Spec(tuple(s), lay, dtype) for s, lay in zip(shapes, layouts, strict=True)]
            outputs = Spec(shape, result, dtype)
        self.inputs, self.outputs = tuple(inputs), outputs

    @cached_property
    def jaxpr(self) -> ClosedJaxpr:
        """What one core executes; collectives stand in it by name. Tracing takes milliseconds on any mesh."""
        tiles = jax.tree.map(lambda spec: spec.tile(self.mesh), self.inputs, is_leaf=_is_spec)
        env = [(ROWS, self.mesh.rows), (COLS, self.mesh.cols)]
        traced, results = jax.make_jaxpr(self.core, axis_env=env, return_shape=True)(*tiles)
        self._check_results(results)
        return traced

    def _check_results(self, results: Any) -> None:
        """Refuse a core function that does not return what `outputs` says, if it says anything."""
        if self.outputs is None:
            return
        said, structure = jax.tree.flatten(self.outputs, is_leaf=_is_spec)
        if jax.tree.structure(results) != structure:
            raise InputError(
                f"{self.name} returns {jax.tree.structure(results)}, its outputs say {structure}. "
                "Give one Spec for every array that it returns."
            )
        for got, spec in zip(jax.tree.leaves(results), said, strict=True):
            expected = spec.tile(self.mesh)
            if (got.shape, got.dtype) != (expected.shape, expected.dtype):
                raise InputError(
                    f"{self.name} returns {got.dtype}{list(got.shape)} on a core, where its outputs "
                    f"say {expected.dtype}{list(expected.shape)}. Correct the core or the Spec."
                )

    def __repr__(self) -> str:
        shapes = [s.shape for s in jax.tree.leaves(self.inputs, is_leaf=_is_spec)]
        return f"Program({self.name}, mesh={self.mesh}, inputs={shapes})"


def _is_spec(node: Any) -> bool:
    return isinstance(node, Spec)
