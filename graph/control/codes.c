/* The pages of the codes that diagnostics carry: what each means, an example that is wrong and one that is
 * right. Codes are never renumbered, and one that falls out of use is not given again. */
#include "graph/control/diag.h"

#include <stdlib.h>
#include <string.h>

static const struct page {
    const char *code, *title, *meaning, *wrong, *right;
} pages[] = {
    {"E001", "the file is not UTF-8 text",
     "A pipeline file is UTF-8 text without NUL bytes, at most 4 MiB. Another encoding (Latin-1, UTF-16) "
     "shows up as bytes\n"
     "that are not UTF-8.",
     "(a file saved as ISO 8859-1 or UTF-16)", "iconv -f ISO-8859-1 -t UTF-8 old.yaml > new.yaml"},
    {"E002", "YAML syntax",
     "The text is not YAML. The message is the parser's; the place is where it could not go on, which is "
     "often just after the\n"
     "mistake: a missing quote, bracket or colon on the line before.",
     "stages: {load: {kind: load, paths: [\"*.md\"}", "stages: {load: {kind: load, paths: [\"*.md\"]}}"},
    {"E003", "a tab",
     "YAML gives tabs no width, so files that look right are read wrong. Pipeline files have none at all.",
     "stages:\n<TAB>load: {kind: load}", "stages:\n  load: {kind: load}"},
    {"E004", "an empty file", "There is nothing in the file but comments and blank lines.", "# to do",
     "stages:\n  load:  {kind: load, paths: [\"*.md\"]}\n  write: {kind: write, from: load}"},
    {"E005", "a key is there twice",
     "In one map a key stands once. Most YAML readers take the last silently; thea does not guess.",
     "layers: {kind: layers, from: tokenize, chunk: 256, chunk: 512}",
     "layers: {kind: layers, from: tokenize, chunk: 512}"},
    {"E006", "an anchor, alias or tag",
     "Anchors (&x), aliases (*x) and tags (!!int) are not part of pipeline files: what a value means is "
     "decided by its option.\n"
     "A text that begins with *, & or ! needs quotes.",
     "load: {kind: load, paths: [*.md]}", "load: {kind: load, paths: [\"*.md\"]}"},
    {"E007", "a second document", "A file holds one pipeline; `---` begins another document.",
     "stages: {…}\n---\nstages: {…}", "two files, one pipeline each"},
    {"E008", "nested too deep",
     "Maps and lists are nested deeper than 64 levels. No option needs more than three.", "[[[[[[…]]]]]]",
     "[a, b]"},
    {"E009", "an environment variable is not set",
     "${NAME} is replaced by the variable's value when the file is read. Unset is an error, so that a typing "
     "mistake does not\n"
     "become an empty path.",
     "paths: [\"${DOCS}/*.md\"]     with DOCS not set", "paths: [\"${DOCS:-docs}/*.md\"]"},
    {"E010", "${…} is not written right",
     "${NAME} and ${NAME:-default} are replaced, $$ is a dollar. Names have letters, digits and '_'.",
     "doc: costs ${5}", "doc: costs $$5"},
    {"E011", "a key that is no plain text",
     "Keys are words. A list or map as key is nearly always a value with { or [ that lacks quotes.",
     "paths: {[a]: b}", "paths: [\"[a]: b\"]"},
    {"E012", "the file is not a map",
     "A pipeline file begins with keys: name, doc, model, env, defaults, stages.", "- load\n- write",
     "stages:\n  load: {kind: load, paths: [\"*.md\"]}\n  write: {kind: write, from: load}"},
    {"E020", "an unknown key of the top level",
     "Only name, doc, model, env, defaults and stages are keys there; in defaults the keys of every stage "
     "but kind, from and\n"
     "feedback.",
     "modle: thea-mini", "model: thea-mini"},
    {"E021", "an unknown option of a stage",
     "A stage has the keys of every stage (kind, from, feedback, threads, replicas, …; docs/pipelines.md has "
     "them all) and its\n"
     "kind's own options; `thea stages KIND` shows those.",
     "layers: {kind: layers, from: tokenize, thraeds: 2}",
     "layers: {kind: layers, from: tokenize, threads: 2}"},
    {"E022", "a value of the wrong type",
     "The option's type decides what is accepted: sizes have a unit (64MiB), times too (30s), booleans are "
     "true and false\n"
     "(yes, on are text), numbers have no quotes, lists are for options that take several values.",
     "chunk: \"512\"", "chunk: 512"},
    {"E023", "a value out of range",
     "The value is of the right type, but too small or too large. The message says the limits.", "chunk: 0",
     "chunk: 512"},
    {"E024", "not one of the choices", "The option takes one of a few words. The message lists them.",
     "format: jsno", "format: jsonl"},
    {"E025", "a required option or model is missing",
     "The kind cannot work without this option. A model can be named once at the top level, by -m, or by "
     "THEA_MODEL.",
     "stages:\n  tokenize: {kind: tokenize, from: load}",
     "model: thea-mini\nstages:\n  tokenize: {kind: tokenize, from: load}"},
    {"E026", "a key of a later version",
     "The key is planned, and named so that files need not change; this version does not have it.",
     "layers: {kind: layers, from: tokenize, split: auto}",
     "layers: {kind: layers, from: tokenize, split: 2}"},
    {"E027", "a reserved key", "The key is kept for later versions.", "host: big-machine", "(leave it out)"},
    {"E028", "a path that cannot be",
     "Paths in a file are relative to the file, on a command line to the current directory; `-` is stdin or "
     "stdout.",
     "paths: [\"\"]", "paths: [\"../docs/**/*.md\"]"},
    {"E029", "a variable that env may not set",
     "THEA_ variables have options of their own; LD_ variables change which code runs. Names have letters, "
     "digits and '_'.",
     "env: {LD_PRELOAD: x.so}", "env: {OMP_NUM_THREADS: 1}"},
    {"E040", "a bad name",
     "Names of pipelines and stages have letters, digits, '_' and '-', begin with a letter or digit, and are "
     "at most 64 long:\n"
     "they become names of logs and processes.",
     "stages: {\"my stage\": {kind: load}}", "stages: {my-stage: {kind: load}}"},
    {"E042", "a reserved stage name",
     "A stage cannot have the name of a key of the top level, so that `--set model=…` means one thing.",
     "stages: {model: {kind: layers}}", "stages: {layers: {kind: layers}}"},
    {"E043", "no stages", "`stages` is a map: each key is a stage's name, each value its options.",
     "stages: [load, write]",
     "stages:\n  load:  {kind: load, paths: [\"*.md\"]}\n  write: {kind: write, from: load}"},
    {"E044", "a stage without kind", "`kind` names the program that a stage runs.",
     "load: {paths: [\"*.md\"]}", "load: {kind: load, paths: [\"*.md\"]}"},
    {"E045", "an unknown kind",
     "There is no program thea-KIND in THEA_STAGE_PATH, beside thea, or in its libexec folder; a kind with a "
     "'/' is a path\n"
     "relative to the file. `thea stages` lists what there is.",
     "layers: {kind: layer, from: tokenize}", "layers: {kind: layers, from: tokenize}"},
    {"E046", "a kind cannot describe itself",
     "thea asks every stage program for its table (`thea-KIND --describe`) with the stage's options. It "
     "refused, crashed, took\n"
     "over 10 s or printed no table. Run the command by hand to see more.",
     "layers: {kind: layers, from: tokenize, blocks: 40-50}   (of 10 blocks)",
     "layers: {kind: layers, from: tokenize, blocks: 0-9}"},
    {"E047", "the model is not there",
     "The model's name is looked up in the places that `thea models` lists; a path is relative to the file. "
     "thea never downloads.",
     "model: LiquidAI/LFM2-350M       (not on this machine)", "hf download LiquidAI/LFM2-350M"},
    {"E048", "the model is bad",
     "The model was found, but cannot be used: damaged or unfinished files, a git-lfs pointer, an "
     "architecture thea does not know.",
     "model: ./half-copied", "git lfs pull, or copy it again"},
    {"E060", "a stage that reads nothing", "Every stage with inputs needs `from`.", "write: {kind: write}",
     "write: {kind: write, from: score}"},
    {"E061", "the types differ",
     "The output has another dtype or rank than the input. Types are checked before anything starts; the "
     "block shows both ends,\n"
     "and which kinds give what is expected.",
     "pool: {kind: pool, from: tokenize}      (i32 [n], not f32 [n, hidden])",
     "pool: {kind: pool, from: layers}"},
    {"E062", "no such stage", "`from` and `feedback` name stages of the same file.",
     "layers: {kind: layers, from: tokenise}", "layers: {kind: layers, from: tokenize}"},
    {"E063", "no such port",
     "`stage.port` names an output of the stage; the keys of a `from` map name inputs. `thea stages KIND` "
     "shows both.",
     "score: {kind: score, from: layers.nlll}", "score: {kind: score, from: layers.nll}"},
    {"E064", "several ports fit",
     "`from: stage` takes the output that has the input's name, else the one whose type fits. Here several "
     "do: name one.",
     "write: {kind: write, from: layers}", "write: {kind: write, from: layers.final}"},
    {"E065", "the shapes differ",
     "The dtype fits, but a dimension does not: most often two stages with different models, or two inputs "
     "of one stage that\n"
     "must agree.",
     "layers: {kind: layers, from: tokenize, model: a}\npool: {kind: pool, from: layers, model: b}",
     "one `model:` for both"},
    {"E066", "a cycle",
     "Edges of `from` form no cycle: each stage would wait for the next. What points back, such as sampled "
     "tokens, is `feedback`.",
     "layers: {kind: layers, from: [tokenize, sample]}\nsample: {kind: sample, from: layers}",
     "layers: {kind: layers, from: tokenize, feedback: sample}\nsample: {kind: sample, from: layers}"},
    {"E067", "feedback that does not fit",
     "`feedback` is the one edge that may point back: from a stage that comes later to one whose kind takes "
     "feedback. A sampler\n"
     "needs it: without it its tokens would go nowhere.",
     "sample: {kind: sample, from: layers}", "layers: {kind: layers, from: tokenize, feedback: sample}"},
    {"E068", "an input that nothing is connected to",
     "All inputs must be connected that are not optional; of alternatives, exactly one.",
     "join: {kind: join, from: {a: x}}", "join: {kind: join, from: {a: x, b: y}}"},
    {"E069", "a source that reads", "A kind without inputs begins a pipeline; it cannot have `from`.",
     "load: {kind: load, from: tokenize}", "load: {kind: load, paths: [\"*.md\"]}"},
    {"E070", "the same edge twice",
     "A stage reads the same output twice by the same input: each document would arrive twice.",
     "write: {kind: write, from: [score, score]}", "write: {kind: write, from: score}"},
    {"E071", "reading from a sink", "A kind without outputs ends a pipeline; nothing can read from it.",
     "score: {kind: score, from: write}", "write: {kind: write, from: score}"},
    {"E080", "this kind cannot be split",
     "`split` cuts a stage by its model's blocks; only kinds that declare blocks have any.",
     "tokenize: {kind: tokenize, from: load, split: 2}", "layers: {kind: layers, from: tokenize, split: 2}"},
    {"E081", "more parts than blocks", "Each part has at least one block of the model.",
     "layers: {kind: layers, from: tokenize, split: 64}   (of 10 blocks)",
     "layers: {kind: layers, from: tokenize, split: 10}"},
    {"E082", "split and blocks together", "`split` shares out all blocks; `blocks` chooses some by hand.",
     "layers: {kind: layers, from: tokenize, split: 2, blocks: 0-3}",
     "a: {kind: layers, from: tokenize, blocks: 0-3}\nb: {kind: layers, from: a, blocks: 4-}"},
    {"E083", "hidden states of a split stage",
     "Each part of a split stage has only its own blocks' hidden states, so no one process gives them all.",
     "layers: {kind: layers, from: tokenize, split: 2}\nwrite: {kind: write, from: layers.hidden}",
     "layers: {kind: layers, from: tokenize}\nwrite: {kind: write, from: layers.hidden}"},
    {"E084", "replicas of a source or a sink",
     "The stages between can have replicas, among which the documents are shared out. Two of a source would "
     "both read all of its\n"
     "inputs; two of a sink would write over each other, and neither would know what is in the output.",
     "load: {kind: load, paths: [\"*.md\"], replicas: 2}",
     "a: {kind: load, paths: [\"a/*.md\"]}\nb: {kind: load, paths: [\"b/*.md\"]}\n"
     "tokenize: {kind: tokenize, from: [a, b], replicas: 2}"},
    {"E085", "a key that this stage cannot have",
     "`in_flight` bounds the documents that a source has under way, so only sources have it; `window` and "
     "`spill` are about the\n"
     "links that come in, so sources have none. In `defaults` each goes to the stages that can have it.",
     "load: {kind: load, paths: [\"*.md\"], window: 4}",
     "load: {kind: load, paths: [\"*.md\"], in_flight: 4}\ntokenize: {kind: tokenize, from: load, window: "
     "4}"},
    {"E086", "more links than a process can have",
     "Each replica of a stage has a link to each replica of the stages beside it, and a process has 32 links "
     "at "
     "most.",
     "tokenize: {kind: tokenize, from: load, replicas: 40}",
     "tokenize: {kind: tokenize, from: load, replicas: 8}"},
    {"E087", "every row is needed where one is given",
     "A stage that is told to give the first row of each stream alone is read by one that needs all of them, "
     "as a mean does.\n"
     "Left out, the option is what the stages that read it need.",
     "layers: {kind: layers, from: tokenize, rows: first}\npool: {kind: pool, from: layers.final, pooling: "
     "mean}",
     "layers: {kind: layers, from: tokenize}\npool: {kind: pool, from: layers.final, pooling: mean}"},
};
enum { PAGE_COUNT = sizeof pages / sizeof *pages };

static char *texts[PAGE_COUNT]; /* made when first asked for */

static void forget(void) __attribute__((destructor));
static void forget(void)
{
    for (size_t i = 0; i < PAGE_COUNT; i++) free(texts[i]);
}

static void add_indented(struct buf *b, const char *text)
{
    buf_add_text(b, "      ");
    for (; *text != '\0'; text++) {
        buf_add_char(b, *text);
        if (*text == '\n') buf_add_text(b, "      ");
    }
    buf_add_char(b, '\n');
}

static char *make_text(const struct page *p)
{
    struct buf b = {0};
    buf_printf(&b, "%s: %s\n\n%s\n\n  wrong:\n", p->code, p->title, p->meaning);
    add_indented(&b, p->wrong);
    buf_add_text(&b, "  right:\n");
    add_indented(&b, p->right);
    return buf_take(&b);
}

const char *diag_explain(const char *code)
{
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        if (strcasecmp(pages[i].code, code) != 0) continue;
        if (texts[i] == NULL) texts[i] = make_text(&pages[i]);
        return texts[i];
    }
    return NULL;
}

const char *diag_code(size_t i)
{
    return i < PAGE_COUNT ? pages[i].code : NULL;
}

const char *diag_title(const char *code)
{
    for (size_t i = 0; i < PAGE_COUNT; i++)
        if (strcmp(pages[i].code, code) == 0) return pages[i].title;
    return NULL;
}
