"""`@range` with bounds that only the running program knows."""

from waferllm.csl import types as t
from waferllm.csl.code import Kind
from waferllm.csl.lowering.values import Reg, is_known, kind_of
from waferllm.csl.values import Value


class RunRange(Reg):
    """A range whose start, stop or step may be in registers."""

    __slots__ = ("element", "start", "step", "stop")

    def __init__(self, element: t.Type, start: Value, stop: Value, step: Value) -> None:
        super().__init__(t.RANGE, 0)
        self.element = element
        self.start = start
        self.stop = stop
        self.step = step

    def runs(self) -> bool:
        """Whether it is known that the range is not empty."""
        known = is_known(self.start) and is_known(self.stop) and is_known(self.step)
        if not known:
            return False
        return bool(range(self.start.data, self.stop.data, self.step.data))

    def counting_kind(self) -> Kind:
        """The element's kind, or one with room for the number after the last."""
        kind = kind_of(self.element)
        assert kind is not None
        assert isinstance(self.element, t.IntType)
        if is_known(self.step) and is_known(self.stop):
            after = self.stop.data + self.step.data
            if self.element.lowest <= after <= self.element.highest:
                return kind
        if is_known(self.step) and self.step.data == 1:
            return kind
        return Kind.I32 if self.element.bits < 32 else Kind.I64
