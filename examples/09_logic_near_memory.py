"""Logic in DRAM or on its base die: for many users, and for one with a phone? Plots go to build/."""

from pathlib import Path

from waferllm.explore import questions

node = questions.logic_near_memory()
phone = questions.logic_near_memory_mobile()
for name, answer in (("logic_near_memory", node), ("logic_near_memory_mobile", phone)):
    print(f"{answer}\n")
    answer.plot(Path("build") / f"{name}.png")

# Many requests at once compute more than a bank can: logic on the base die still helps, in the DRAM not.
near, inside = (curve.y[-1] for curve in node.curves)
assert near > 1.1
assert inside < 1.01

# One user of a phone reads every weight for one token: both help, and 4-bit weights want 4-bit units.
alone = phone.curve("LPDDR5X alone").y[0]
assert phone.curve("logic in it (PIM), 4-bit units").y[0] > 3 * alone
assert phone.curve("a stack of flash").y[0] < 1.05 * alone
