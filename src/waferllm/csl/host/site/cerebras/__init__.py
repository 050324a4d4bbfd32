"""The vendor's module names that published host scripts import, over waferllm's machine."""
