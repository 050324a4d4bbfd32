"""Would Llama-3-8B fit a WSE-2? Shapes alone say so: no weights are read or made."""

import time

from waferllm import WSE2, plan
from waferllm.layout import Mesh

began = time.perf_counter()
made = plan("llama3-8b", WSE2, Mesh(660, 660), Mesh(360, 360), 2048, 2048)
took_s = time.perf_counter() - began

facts = made.to_json()
decode = facts["decode"]
grid = "x".join(map(str, decode["grid"]))
print(f"llama3-8b on {facts['chip']}, decode on {grid} (predicted):")
for letter, verdict in decode["verdict"].items():
    print(f"  {letter} {'holds' if verdict['holds'] else 'FAILS'}: {verdict['reason']}")
print(f"planned in {took_s:.2f} s (computed here)")

for advice in made.advice:
    print(f"- {advice}")

assert decode["verdict"]["R"]["holds"]
