"""A cycle-level machine for linked CSL programs: cores, queues, routers; see `run.py` for its loop."""

from pathlib import Path

from waferllm.csl.machine.stale import forget_stale_code

forget_stale_code(Path(__file__).parent)

from waferllm.csl.machine.diagnose import MachineFault  # noqa: E402
from waferllm.csl.machine.image import Image, link, load_image  # noqa: E402
from waferllm.csl.machine.machine import Machine  # noqa: E402

__all__ = ["Image", "Machine", "MachineFault", "link", "load_image"]
