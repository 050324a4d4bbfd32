"""High-bandwidth flash: how much of it beside DRAM, and what limits it? Plots go to build/."""

from pathlib import Path

from waferllm.explore import questions

share = questions.flash_beside_dram()
limits = questions.limits_of_flash()
for name, answer in (("flash_beside_dram", share), ("limits_of_flash", limits)):
    print(f"{answer}\n")
    answer.plot(Path("build") / f"{name}.png")

# A chip with one stack of flash holds what took two, at nearly the same price of a token.
chat = share.curve("DeepSeek-V3, chat")
assert chat.y[1] < 1.1
assert chat.y[-1] > 1.5

# Twice bandwidth x latency is the buffer that hides 20 us; a quarter of it is too little.
assert (
    limits.curve("16 MB of buffer a stack").y[4]
    < 0.9 * limits.curve("65.5 MB of buffer a stack").y[4]
)
