"""Memory over logic: more stacks or more bandwidth, and what does heat leave of it? Plots go to build/."""

from pathlib import Path

from waferllm.explore import questions

stacks = questions.stacks_or_bandwidth()
heat = questions.heat_of_stacking()
for name, answer in (("stacks_or_bandwidth", stacks), ("heat_of_stacking", heat)):
    print(f"{answer}\n")
    answer.plot(Path("build") / f"{name}.png")

capacity, bandwidth, both = (curve.y for curve in stacks.curves)
assert capacity[3] < bandwidth[3] < both[3]

# Under little cooling bandwidth is worth nothing: the clock is held by heat.
little, much = heat.curve("cooling of 500 W").y, heat.curve("cooling of 1000 W").y
assert little[-1] < 1.01 * little[0]
assert much[-1] > 1.3 * much[0]
