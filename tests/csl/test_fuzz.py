"""Mangled programs give a program or a `CslError`: never anything else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.csl.support import PROGRAMS, instance
from waferllm.csl.diagnostics import CslError
from waferllm.csl.lexer import tokens
from waferllm.csl.parser import parse
from waferllm.csl.show import csl
from waferllm.csl.source import Source

TEXTS = [path.read_text() for path in sorted(PROGRAMS.glob("*.csl"))]
PIECES = sorted(
    {
        text[token.start : token.end]
        for text in TEXTS
        for token in tokens(Source("seed", text))
        if token.kind != "end"
    }
)
LINES = [line for text in TEXTS for line in text.splitlines() if line.strip()]


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """A program of ours with a few cuts, copies, swaps and strange pieces."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(text)))
        to = draw(st.integers(at, min(len(text), at + 60)))
        piece = draw(st.sampled_from(PIECES) | st.sampled_from(LINES) | st.text(max_size=4))
        text = draw(st.sampled_from([text[:at] + text[to:], text[:at] + piece + text[to:]]))
    return text


def points_at_text(error: CslError) -> None:
    """A message says something, and its span lies inside of the text."""
    span = error.diagnostic.span
    assert error.diagnostic.message
    assert 0 <= span.start <= len(span.source.text)
    assert str(error).startswith(f"{span.source.name}:{span.line}:{span.column}: ")


@given(mangled())
@settings(max_examples=400)
def test_a_mangled_program_parses_or_is_refused(text: str) -> None:
    try:
        tree = parse(Source("fuzz", text))
    except CslError as error:
        points_at_text(error)
        return
    assert parse(Source("again", csl(tree))) == tree


@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join))
@settings(max_examples=400)
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parse(Source("fuzz", text))
    except CslError as error:
        points_at_text(error)


EXPRESSIONS = """1 -3 0.5 1e300 "ab" true i16 f16 void [3]i16 *u8 .{} .{.a=1} .{1,2} a b c s f m x
[2]i16{1,2} |i|{3}->b[i] struct{p:i16} enum(u16){q,r} EAST &b &c if(true)1else{} k:{break:k 2;}
@as(i8,300) @zeros([2]f32) @get_color(3) @range(i16,3) @type_of(b) fn(i16)void 'x' 1<<40""".split()
OPERATORS = ["+", "-", "*", "/", "%", "==", "<", "&", "|", "<<", ">>", " and ", " or "]


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> str:
    """Expressions that parse and mostly make no sense."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(EXPRESSIONS))
    one = expressions(depth=depth - 1)
    shape = draw(st.integers(0, 7))
    if shape <= 2:
        return f"({draw(one)}{draw(st.sampled_from(OPERATORS))}{draw(one)})"
    if shape == 3:
        return f"({draw(st.sampled_from('-~!&'))}{draw(one)})"
    if shape == 4:
        return f"({draw(one)})[{draw(one)}]"
    if shape == 5:
        return f"({draw(one)}){draw(st.sampled_from(['.a', '.*', '.x', '.q', '()']))}"
    if shape == 6:
        name = draw(st.sampled_from(BUILTIN_NAMES))
        return f"@{name}({', '.join(draw(st.lists(one, max_size=3)))})"
    return f"f({draw(one)})"


BUILTIN_NAMES = """as bitcast type_of is_same_type constants zeros range concat_structs field has_field
get_int strlen strcat element_count dimensions rank get_array get_color get_data_task_id comptime_assert
get_dsd increment_dsd_offset set_dsd_length import_module set_rectangle fmovs nonsense""".split()
BEFORE = """
const a = 5; var b = [3]i16{1, 2, 3}; const c: f32 = 1.5; const s = .{ .a = 1, .x = .{ 2 } };
const m = @import_module("<math>");
fn f(x: anytype) @type_of(x) { return x; }
"""


FRAMES = [
    "const x = <>;",
    "comptime { var x = 1; x = <>; }",
    "fn g() void {} comptime { if (<>) g(); }",
]


@given(expressions(), st.sampled_from(FRAMES))
@settings(max_examples=400)
def test_any_expression_has_a_value_or_is_refused(text: str, frame: str) -> None:
    program = BEFORE + frame.replace("<>", text)
    try:
        instance(program)
    except CslError as error:
        points_at_text(error)
