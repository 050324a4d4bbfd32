"""Small sums between chips: which topology, and what do late chips and spares cost? Plots go to build/."""

from pathlib import Path

from waferllm.explore import questions

topology = questions.topology_for_small_messages()
late = questions.late_chips()
for name, answer in (("topologies", topology), ("late_chips", late)):
    print(f"{answer}\n")
    answer.plot(Path("build") / f"{name}.png")

# A ring is as good as any on four chips and ten times slower than a dragonfly on 256.
ring, dragonfly = topology.curve("ring").y, topology.curve("dragonfly").y
assert ring[0] < dragonfly[0]
assert ring[-1] > 10 * dragonfly[-1]

waiting, cut_short = late.curve("everybody waits").y, late.curve("time-out after 5 us").y
assert cut_short[-1] < 1.05 * cut_short[0] < waiting[-1]
