"""Text from the shipped checkpoint: several prompts as one batch, two meshes, the same tokens."""

from waferllm import LLM, SamplingParams

prompts = ["Once upon a time", "The king said to his daughter"]
params = SamplingParams(max_tokens=24, temperature=0)

llm = LLM(mesh="4x4")
outputs = llm.generate(prompts, params)
for prompt, output in zip(prompts, outputs, strict=True):
    print(f"{prompt}{output.text}\n  [{output.finish_reason}, {len(output.token_ids)} tokens]")

elsewhere = LLM(mesh="2x3", prefill_mesh="3x2", kv="concat").generate(prompts, params)
print(f"on 2x3 cores, prompts on 3x2, concat cache: {elsewhere[0].text == outputs[0].text}")

assert [o.token_ids for o in elsewhere] == [o.token_ids for o in outputs]
