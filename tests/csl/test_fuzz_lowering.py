"""Functions that make little sense are lowered or refused: never anything else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.csl.support import PROGRAMS, MemoryFiles, lowered
from tests.csl.test_fuzz import PIECES, points_at_text
from waferllm.csl import types as t
from waferllm.csl.compile import evaluate_layout
from waferllm.csl.diagnostics import CslError
from waferllm.csl.values import Value, integer, struct_of

BEFORE = """
const k = 5; var g: i16 = 1; var b = [3]i16{1, 2, 3}; var wide = @zeros([2, 2]f32); const c: f32 = 1.5;
const s = .{ .a = 1, .x = .{ 2 } }; const table = [4]u16{ 1, 2, 3, 4 };
const pair = struct { p: i16, q: f32 }; var held = pair{ .p = 1, .q = 2.0 };
const kind = enum(u16) { one, two }; var shade = kind.one; var where: [*]i16 = &b;
const m = @import_module("<math>"); const id = @get_local_task_id(9); const rx = @get_color(2);
var d = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{3} -> b[i] });
const w = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{2} -> wide[i, 0] });
const out = @get_dsd(fabout_dsd, .{ .extent = 2, .fabric_color = rx, .output_queue = @get_output_queue(2) });
const r = @get_dsr(dsr_src1, 1); var buffer = @zeros([8]u32); const fifo = @allocate_fifo(buffer);
fn f(x: anytype) @type_of(x) { return x; }
fn add(x: i16, y: i16) i16 { g += x; return x + y; }
fn twice(x: pair) pair { var y = x; y.p *= 2; return y; }
inline fn least(x: i16) i16 { if (x < 0) { return 0; } return x; }
var chosen: *const fn(i16, i16) i16 = &add;
task done() void {}
comptime { @bind_local_task(done, id); @export_symbol(go); }
"""
ATOMS = {
    "int": """1 x y g l k held.p b[1] b[x] s.a where[x] (&g).* add(x,y) least(x) chosen(x,1) f(x)
        twice(held).p (if(x>0)1~else~y) (q:{break~:q~x;}) @as(i16,u) @as(i16,h) (&b).*[2]""",
    "float": "h 0.5 c wide[x,0] f(h) m.sqrt(h) held.q @as(f32,x) m.max(h,c) (&wide[0,1]).*",
    "bool": "true (x>y) (h<c) (u==2) !(x==1) (shade==kind.two) m.isNaN(h)",
    "dsd": """w d out @set_dsd_length(w,u) @increment_dsd_offset(w,x,f32) @set_dsd_base_addr(w,&wide)
        r fifo &wide[0,0]""",
    "any": """rx id u table @random16() {} .{} .{x,1} .{.a=x} .{.async=true} .{.async=true,.activate=id}
        [2]i16{x,1} |i|{3}->b[i] i16 f32 pair "ab" held pair{.p=x,.q=h} @range(i16,x) kind.two done
        &g &b &l &add where chosen m""",
}
ATOMS_OF = {name: [each.replace("~", " ") for each in text.split()] for name, text in ATOMS.items()}
EVERY = [each for some in ATOMS_OF.values() for each in some]
NUMERIC = ["+", "-", "*", "/"]
NAMES = """as bitcast ptrcast type_of is_same_type zeros constants range field has_field concat_structs
get_int get_color get_local_task_id get_dsd increment_dsd_offset set_dsd_length set_dsd_base_addr
set_dsd_stride load_to_dsr fmovs fmacs mov16 add16 mov32 fadds map activate block unblock assert
get_config set_config queue_flush set_active_prng set_fifo_read_length is_comptime nonsense
get_xdsr get_sr load_to_dsr_xdsr load_to_dsr_xdsr_sr import_comptime_value range_start get_data_task_id
get_ut_id has_exported_tensors set_empty_queue_handler strcat get_array""".split()
# <i> stands for an integer, <f> for a float, <b> for a bool, <d> for a DSD, <> for anything.
STATEMENTS = """<>; _=<>; g=<i>; g+=<i>; l=<i>; b[<i>]=<i>; where[1]=<i>; held=<>; held.q=<f>; (&l).*=<i>;
{const~v=<>;_=v;} {var~v=<f>;v=<f>;} {var~v:i16=<i>;v+=1;} if(<b>){g=<i>;}else{g=<i>;}
while(<b>){l=<i>;break;} {const~v:f32=if(<b>)<f>else~<f>;wide[0,0]=v;}
for(<>)|e|{g=e;} switch(<i>){1=>{g=<i>;},else=>{}} return~<>; for(@range(i16,<i>))|e,n|{g=e+<i>;}
outer:while(<b>){while(true){break~:outer;}} @fadds(<d>,<d>,<d>);
@fmacs(<d>,<d>,<d>,<f>); @mov32(<d>,<d>,<>); @map(add,d,<i>,d); @map(m.sqrt_f32,<d>,<d>); @map(<>,<d>,<>);
{var~v=<d>;@fmovs(v,<f>);} @load_to_dsr(r,<d>); _=@get_dsd(mem1d_dsd,.{.base_address=<>,.extent=<>});
@activate(<>); {var~v=held;v.p=<i>;held=twice(v);} @assert(<b>);
@fmovs(out,<d>,.{.async=true,.activate=done,.index=u});""".split()
HOLES = {"<i>": "int", "<f>": "float", "<b>": "bool", "<d>": "dsd", "<>": "any"}


@st.composite
def expressions(draw: st.DrawFn, kind: str, depth: int = 2) -> str:
    """An expression of a function with parameters x, y, u, h and a variable l; mostly of a kind."""
    if draw(st.integers(0, 14)) == 0:
        return draw(anything(depth=depth))
    if kind == "any":
        kind = draw(st.sampled_from(list(ATOMS_OF)))
    if depth == 0 or kind in {"dsd", "any"} or draw(st.booleans()):
        return draw(st.sampled_from(ATOMS_OF[kind]))
    inner = expressions(kind, depth - 1)
    if kind == "bool":
        return f"({draw(inner)} {draw(st.sampled_from(['and', 'or', '==']))} {draw(inner)})"
    operators = [*NUMERIC, "&", "|", "%"] if kind == "int" else NUMERIC
    return f"({draw(inner)} {draw(st.sampled_from(operators))} {draw(inner)})"


@st.composite
def anything(draw: st.DrawFn, depth: int) -> str:
    """An expression that mostly makes no sense."""
    one = st.sampled_from(EVERY) if depth == 0 else anything(depth=depth - 1)
    shape = draw(st.integers(0, 4))
    if shape == 0:
        return (
            f"({draw(one)}{draw(st.sampled_from([*NUMERIC, '==', '<', '<<', ' and ']))}{draw(one)})"
        )
    if shape == 1:
        return f"({draw(st.sampled_from('-~!&'))}{draw(one)})"
    if shape == 2:
        return f"({draw(one)}){draw(st.sampled_from(['.p', '.*', '[x]', '[0]', '()', '(x, y)']))}"
    if shape == 3:
        name = draw(st.sampled_from(NAMES))
        return f"@{name}({', '.join(draw(st.lists(one, max_size=4)))})"
    return f"{draw(st.sampled_from(['f', 'add', 'm.abs', 'least']))}({draw(one)})"


@st.composite
def functions(draw: st.DrawFn) -> str:
    """A few statements, their holes filled."""
    lines = []
    for _ in range(draw(st.integers(1, 4))):
        line = draw(st.sampled_from(STATEMENTS)).replace("~", " ")
        for hole, kind in HOLES.items():
            while hole in line:
                line = line.replace(hole, draw(expressions(kind)), 1)
        lines.append(line)
    return "\n".join(lines)


def _lowered_or_refused(text: str, **params: Value) -> None:
    try:
        lowered(text, params)
    except CslError as error:
        points_at_text(error)


@given(functions())
@settings(max_examples=150)
def test_any_function_is_lowered_or_refused(body: str) -> None:
    frame = f"fn go(x: i16, y: i16, u: u16, h: f32) void {{ var l: i16 = 2; {body}\n}}"
    _lowered_or_refused(BEFORE + frame)


GIVEN = {"memcpy_params": struct_of({}), "size": integer(8, t.U16)}
CODES = {
    **dict.fromkeys(
        ("math_pe", "values_pe", "trace_pe", "dsd_ops_pe", "collectives_pe", "place_pe"), GIVEN
    ),
    **{name: {} for name in ("vectors", "descriptors", "library", "tasks", "routes")},
}
SIDES = {"width": integer(3), "height": integer(2)}
LAYOUTS = {
    "grid": {**SIDES, "program": integer(1)},
    "stream": {**SIDES, "size": integer(4)},
    "ring": {"width": integer(4)},
    "tasks": {},
    "routes": {},
}


@st.composite
def mangled(draw: st.DrawFn, names: list[str]) -> tuple[str, str]:
    """The name of a program of ours, and its text with small cuts and strange pieces."""
    name = draw(st.sampled_from(names))
    text = (PROGRAMS / f"{name}.csl").read_text()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        to = draw(st.integers(at, min(len(text), at + 8)))
        text = text[:at] + draw(st.sampled_from([*PIECES, ""])) + text[to:]
    return name, text


@given(mangled(list(CODES)))
@settings(max_examples=40)
def test_a_mangled_program_is_lowered_or_refused(program: tuple[str, str]) -> None:
    name, text = program
    _lowered_or_refused(text, **CODES[name])


@given(mangled(list(LAYOUTS)))
@settings(max_examples=60)
def test_a_mangled_layout_is_evaluated_or_refused(program: tuple[str, str]) -> None:
    name, text = program
    path = PROGRAMS / "mangled.csl"  # beside the code that it names
    files = MemoryFiles({str(path): text})
    try:
        evaluate_layout(path, LAYOUTS[name], files=files, loop_budget=20_000)
    except CslError as error:
        points_at_text(error)
