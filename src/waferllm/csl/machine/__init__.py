"""A cycle-level machine for linked CSL programs: cores, queues, routers; see `run.py` for its loop."""

from pathlib import Path

from waferllm.csl.machine.cache import cache_of

HERE = Path(__file__).parent

with cache_of([*sorted(HERE.glob("*.py")), HERE.parent / "code.py"], HERE / "__pycache__"):
    from waferllm.csl.machine.diagnose import MachineFault
    from waferllm.csl.machine.image import Image, link, load_image
    from waferllm.csl.machine.machine import Machine

__all__ = ["Image", "Machine", "MachineFault", "link", "load_image"]
