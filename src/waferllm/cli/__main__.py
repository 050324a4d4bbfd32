"""`python -m waferllm.cli` is the command `waferllm`."""

from waferllm.cli.app import main

main()
