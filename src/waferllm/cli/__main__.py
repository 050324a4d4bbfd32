"""`python -m waferllm.cli` is the command `waferllm`."""

from waferllm.cli import main

main()
