"""Greedy decode of the shipped checkpoint on 8x8 simulated cores, beside transformers in float32."""

import torch
from timing import best_of, verdict
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from waferllm import LLM, SamplingParams
from waferllm.engine.llm import shipped_checkpoint

TOKENS = 200
PROMPT = "Once upon a time"


def main() -> None:
    logging.set_verbosity_error()
    peer = AutoModelForCausalLM.from_pretrained(shipped_checkpoint(), dtype=torch.float32).eval()
    llm = LLM(mesh="8x8")
    ids = llm.tokenizer.encode(PROMPT)
    params = SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True)

    def theirs() -> list[int]:
        with torch.no_grad():
            out = peer.generate(
                torch.tensor([ids]), max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False
            )
        return out[0, len(ids) :].tolist()

    def ours() -> list[int]:
        return list(llm.generate([ids], params)[0].token_ids)

    same = sum(a == b for a, b in zip(ours(), theirs(), strict=True))
    best = best_of(5, theirs=theirs, ours=ours)
    print(f"{TOKENS} greedy tokens, {same} the same as transformers'")
    print(f"ours {TOKENS / best['ours']:.0f} tokens/s, transformers {TOKENS / best['theirs']:.0f}")
    print(verdict("decode on 8x8 cores vs transformers", best["theirs"] / best["ours"], 1.0))


if __name__ == "__main__":
    main()
