"""How a checkpoint's authors would have it generate: `generation_config.json`, read strictly."""

from dataclasses import dataclass
from pathlib import Path

from waferllm.models.jsonfile import Fields, read_json


@dataclass(frozen=True, kw_only=True)
class GenerationDefaults:
    """Sampling defaults of a checkpoint; None where its authors do not say.

    `top_k` 0 means no limit. `eos_ids` end a text; there may be several, or none.
    """

    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()
    do_sample: bool = False
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    max_new_tokens: int | None = None


def load_generation_defaults(path: str | Path) -> GenerationDefaults:
    """Read a checkpoint directory's `generation_config.json`, which may be absent.

    Begin and end tokens it does not give come from `config.json`. Raises CheckpointError for a
    damaged file or an impossible value.
    """
    path = Path(path)
    file, model_file = path / "generation_config.json", path / "config.json"
    fields = Fields(read_json(file) if file.exists() else {}, str(file))
    model = Fields(read_json(model_file) if model_file.exists() else {}, str(model_file))
    top_p, min_p = fields.optional_number("top_p", above=0.0), fields.optional_number("min_p")
    for key, value in (("top_p", top_p), ("min_p", min_p)):
        if value is not None and not 0 <= value <= 1:
            raise fields.refuse(key, "a probability")
    temperature = fields.optional_number("temperature")
    if temperature is not None and temperature < 0:
        raise fields.refuse("temperature", "zero or more")
    return GenerationDefaults(
        bos_id=next(iter(fields.ids("bos_token_id") or model.ids("bos_token_id")), None),
        eos_ids=fields.ids("eos_token_id") or model.ids("eos_token_id"),
        do_sample=fields.flag("do_sample"),
        temperature=temperature,
        top_k=fields.optional_integer("top_k", least=0),
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=fields.optional_number("repetition_penalty", above=0.0),
        max_new_tokens=fields.optional_integer("max_new_tokens"),
    )
