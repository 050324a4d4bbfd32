"""Turn a folder of plain-text books into the token files that `train.py` reads.

    python prepare.py books/ --manifest books.json --out data/ --vocab 2048

Four passes, each a pure function of the one before: clean a book into paragraphs, cut it into
documents (one per tale, or one per novel), train a byte-level BPE, write tokens. A document goes
to validation when a hash of its text says so, hence the split depends on nothing else.
"""

import argparse
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
VALIDATION_SHARE = 0.025  # of documents, by hash
SHORTEST_DOCUMENT_CHARS = 200
SHORTEST_NOVEL_CHARS = 60_000
SHORTEST_FIRST_CHAPTER_CHARS = 3_000
LONGEST_VERSE_LINES = 12
MOST_UNWELCOME = 2  # paragraphs of a tale

PUNCTUATION = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2014": "--", "\u2013": "-"}
    | {"\u2026": "...", "\u00a0": " ", "\ufeff": "", "\u200a": " ", "\u2009": " "}
    | {"\u0153": "oe", "\u0152": "Oe", "\u00e6": "ae", "\u00c6": "Ae", "\u2011": "-"}
)
START = re.compile(r"\*\*\* ?START OF TH.*?\*\*\*", re.S)
END = re.compile(r"\*\*\* ?END OF TH|End of (the )?Project Gutenberg", re.I)
FRONT_MATTER = re.compile(
    r"preface|contents|introduct|dedicat|illustrations|transcriber|footnote|appendix|index|notes?\b"
    r"|glossary|foreword|by the same author|advertisement",
    re.I,
)
# Old books hold words that no demo should say: such tales, and such paragraphs of novels, go.
UNWELCOME = re.compile(
    r"\b(nigger|negro|negress|darkey|darkie|jew|jews|jewess|jewish|piccanninny|piccaninny|redskin|squaw|injun"
    r"|blackamoor|hottentot|chinaman|whore|harlot|suicide)s?\b",
    re.I,
)
EDITORIAL = re.compile(r"fairy book|\bthe editor\b|published|copyright|translated|illustrat", re.I)
NO_OPENING = re.compile(
    r"[\[{(]|from |by |author |illustrat|copyright|first published|printed|all rights|with "
    r"|transcri|frontispiece|introduct|chapter",
    re.I,
)
NUMBERED = re.compile(r"(chapter|part|book|story)\b|[ivxlc]+\.?$|\d+\.?$", re.I)
# Llama 3's cut of text into words, except that no opening quote sticks to the word behind it.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)(?!\p{L})| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Book:
    """One line of the manifest. `tales` are cut at their headings, a `novel` stays whole.

    The `core` books are the simplest; training ends on them alone.
    """

    file: str
    title: str
    author: str
    kind: Literal["tales", "novel"]
    core: bool
    sha256: str


@dataclass(frozen=True)
class Story:
    """One document, and whether it comes from a core book."""

    text: str
    core: bool


def read_manifest(path: Path) -> list[Book]:
    """Books of a TOML manifest; further keys (source, Gutenberg number) are for people."""
    rows = tomllib.loads(path.read_text())["book"]
    return [Book(**{k: row[k] for k in Book.__dataclass_fields__}) for row in rows]


def read_book(book: Book, folder: Path, other_editions: bool) -> str:
    """The text between Project Gutenberg's header and footer, if it has them."""
    raw = (folder / book.file).read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    if digest != book.sha256 and not other_editions:
        raise ValueError(
            f"{book.file}: got SHA-256 {digest}, the manifest says {book.sha256}. "
            "Another edition gives another model; pass --other-editions if that is meant."
        )
    text = raw.decode("utf-8", errors="replace").replace("\r\n", "\n")
    if start := START.search(text):
        text = text[start.end() :]
    if end := END.search(text):
        text = text[: end.start()]
    return text


def double_quotes(paragraph: str) -> str:
    """Speech in 'single quotes' put into double ones; apostrophes stay."""
    paragraph = paragraph.replace('"', "\0")
    paragraph = re.sub(
        r"(^|(?<=[\s(\0-]))'(?!(tis|twas|em|twill|twere)\b)(?=[\w\0-])", '"', paragraph
    )
    paragraph = re.sub(r"(?<=[.,!?;:\0-])'(?=[\s)\0;,-]|$)", '"', paragraph)
    return paragraph.replace("\0", "'")


def calm_capitals(paragraph: str) -> str:
    """`ONCE UPON a time` -> `Once upon a time`: printers' capitals at the start of a chapter."""
    match = re.match(
        r"\W*((?:[A-Z][A-Z']+|[AIO])(?:[ ,]+(?:[A-Z][A-Z']+|[AIO])\b)*)(?![a-z])", paragraph
    )
    if not match or len(match[1]) < 2:
        return paragraph
    low = re.sub(r"\bi\b", "I", match[1].lower())
    return paragraph[: match.start(1)] + low[0].upper() + low[1:] + paragraph[match.end(1) :]


def is_verse(lines: list[str]) -> bool:
    indented = all(line.startswith("  ") for line in lines)
    return indented or (len(lines) > 2 and max(map(len, lines)) < 50)


def clean_paragraph(block: str) -> str:
    """One paragraph without line breaks (verse keeps its own), or "" if it is no prose."""
    lines = [line.rstrip() for line in block.split("\n") if line.strip()]
    verse = is_verse(lines)
    text = "\n".join(line.strip() for line in lines) if verse else " ".join(map(str.strip, lines))
    text = re.sub(r"\[Illustration[^\]]*\]|\{[^}]*\}|\[\d+\]|\(\d+\)|[_*]|\[Footnote.*", "", text)
    text = re.sub(r"[ \t]+", " ", text).strip()
    text = re.sub(r"(?<=\w)\. \. \.|\. \. \. ?\.?", "...", text)
    letters = sum(c.islower() for c in text)
    if verse and (len(lines) > LONGEST_VERSE_LINES or re.search(r"\d|\.\.\.\.|--[A-Z]", text)):
        return ""
    return calm_capitals(text) if letters > 0.6 * len(text) and len(text) > 2 else ""


def is_heading(block: str, blank_lines_before: int) -> bool:
    text = " ".join(block.split())
    if blank_lines_before < 2 or len(text) > 90:
        return False
    return text.isupper() or bool(NUMBERED.match(text)) or not re.search(r"[.!?,;:\"'-]$", text)


def sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """Pairs of a heading ("" before the first) and the paragraphs below it."""
    heading, paragraphs = "", []
    blank_lines = 2
    for part in re.split(r"(\n(?:[ \t]*\n)+)", "\n" + text.translate(PUNCTUATION)):
        if not part.strip():
            blank_lines = part.count("\n") - 1 if part else blank_lines
        elif is_heading(part, blank_lines):
            yield heading, paragraphs
            heading, paragraphs = " ".join(part.split()), []
        else:
            paragraphs.append(part)
    yield heading, paragraphs


def speech_marks(text: str) -> str:
    """Double quotes for speech, whichever kind the printer used."""
    single = len(re.findall(r"[.,!?]'\s", text))
    return double_quotes(text) if single > len(re.findall(r'[.,!?]"\s', text)) else text


def trimmed(paragraphs: list[str]) -> list[str]:
    """Without title lines, mottoes and credits before the first sentence or after the last."""

    def is_stray(paragraph: str) -> bool:
        short = len(paragraph) < 100
        credit = NO_OPENING.match(paragraph) or not re.search(r"[.!?:,\"'-]$", paragraph)
        motto = "\n" in paragraph or (len(paragraph) < 30 and '"' not in paragraph)
        return bool(motto or (short and credit))

    first, last = 0, len(paragraphs)
    while first < last and is_stray(paragraphs[first]):
        first += 1
    while first < last and is_stray(paragraphs[last - 1]):
        last -= 1
    return paragraphs[first:last]


def without_unwelcome(story: str, kind: str) -> str:
    """Drops the paragraphs with unwelcome words, or the whole tale if there are many."""
    paragraphs = story.split("\n\n")
    welcome = [p for p in paragraphs if not UNWELCOME.search(p)]
    many = kind == "tales" and len(paragraphs) - len(welcome) > MOST_UNWELCOME
    return "" if many else "\n\n".join(welcome)


def documents(book: Book, text: str) -> list[str]:
    """The stories of a book, paragraphs separated by one empty line, in plain punctuation."""
    stories = []
    for heading, blocks in sections(text):
        prose = trimmed([p for p in map(clean_paragraph, blocks) if p])
        front = FRONT_MATTER.match(heading) or EDITORIAL.search("\n\n".join(prose)[:400])
        if prose and not front and (heading or book.kind == "novel"):
            stories.append("\n\n".join(prose))
    if book.kind == "novel" and len(text) > SHORTEST_NOVEL_CHARS:  # the first are prefaces
        while stories and len(stories[0]) < SHORTEST_FIRST_CHAPTER_CHARS:
            del stories[0]
    if book.kind == "novel":
        stories = ["\n\n".join(stories)]
    stories = [speech_marks(without_unwelcome(s, book.kind)) for s in stories]
    return [s for s in stories if len(s) >= SHORTEST_DOCUMENT_CHARS]


def without_repeats(stories: Iterable[Story]) -> list[Story]:
    """Drops stories that mostly repeat earlier ones: collections share tales."""
    seen: set[str] = set()
    kept = []
    for story in stories:
        paragraphs = {
            re.sub(r"\W+", "", p.lower())[:80] for p in story.text.split("\n\n") if len(p) > 60
        }
        if len(paragraphs & seen) <= 0.3 * len(paragraphs):
            kept.append(story)
        seen |= paragraphs
    return kept


def is_validation(story: Story) -> bool:
    digest = hashlib.sha256(story.text.encode()).digest()
    return int.from_bytes(digest[:4]) < VALIDATION_SHARE * 2**32


def train_tokenizer(stories: Iterable[str], vocab: int) -> Tokenizer:
    """Byte-level BPE: any UTF-8 text encodes, and decoding gives back the very bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(stories, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, 0), (EOS, 1)]
    )
    return tokenizer


def write_tokens(stories: list[Story], tokenizer: Tokenizer, path: Path) -> dict[str, int]:
    """BOS story EOS, end to end, as uint16. Returns the counts of what it wrote."""
    encoded = tokenizer.encode_batch([s.text + EOS for s in stories])
    tokens = np.concatenate([np.asarray(e.ids, dtype=np.uint16) for e in encoded])
    np.save(path, tokens)
    return {
        f"{path.stem}_documents": len(stories),
        f"{path.stem}_bytes": sum(len(s.text.encode()) for s in stories),
        f"{path.stem}_tokens": len(tokens),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("books", type=Path, help="folder of the plain-text books")
    parser.add_argument("--manifest", type=Path, default=Path(__file__).with_name("books.toml"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vocab", type=int, default=2048)
    parser.add_argument("--other-editions", action="store_true", help="do not compare SHA-256")
    args = parser.parse_args()

    manifest = read_manifest(args.manifest)
    stories = without_repeats(
        Story(text, book.core)
        for book in manifest
        for text in documents(book, read_book(book, args.books, args.other_editions))
    )
    training = [s for s in stories if not is_validation(s)]
    validation = [s for s in stories if is_validation(s)]

    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer((s.text for s in training), args.vocab)
    tokenizer.save(str(args.out / "tokenizer.json"))
    facts = {"books": len(manifest), "vocab": tokenizer.get_vocab_size()}
    for name, part in (("train", training), ("validation", validation)):
        facts |= write_tokens(part, tokenizer, args.out / f"{name}.npy")
        core = [s for s in part if s.core]
        facts |= write_tokens(core, tokenizer, args.out / f"{name}_core.npy")
    (args.out / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
