"""`python -m waferllm`."""

from waferllm.cli import main

main()
