/* The unpickler's instructions: see pickle.h. Invariant: each takes memory linear in its own bytes and in the
 * values that it takes from the stack, and none recurses; so neither a deep nor a long pickle can do more
 * than fill its limits. */
#include "nn/weights/pickle_machine.h"

#include <stdlib.h>
#include <string.h>

enum { PROTOCOL_MAX = 5 };

/* n bytes of the instruction's argument. */
static const unsigned char *take(struct pickle_machine *m, size_t n)
{
    if (n > (size_t)(m->end - m->at)) {
        pickle_fail(m, "it ends within an instruction: truncated");
        return NULL;
    }
    m->at += n;
    return m->at - n;
}

static uint64_t take_number(struct pickle_machine *m, int bytes)
{
    const unsigned char *p = take(m, (size_t)bytes);
    uint64_t v = 0;
    for (int i = bytes - 1; p != NULL && i >= 0; i--) v = v << 8 | p[i];
    return v;
}

static void push_int(struct pickle_machine *m, int64_t value)
{
    struct pickle_value *v = pickle_new(m, PICKLE_INT);
    if (v != NULL) v->integer = value;
    pickle_push(m, v);
}

/* The length takes `bytes` bytes. */
static void op_text(struct pickle_machine *m, int bytes)
{
    uint64_t len = take_number(m, bytes);
    if (m->rc == THEA_OK && len > (size_t)(m->end - m->at)) {
        pickle_fail(m, "a text of %llu bytes, where %zu are left", (unsigned long long)len,
                    (size_t)(m->end - m->at));
        return;
    }
    struct pickle_value *v = pickle_new(m, PICKLE_TEXT);
    if (v == NULL) return;
    v->text.bytes = (const char *)take(m, len);
    v->text.len = len;
    pickle_push(m, v);
}

static void op_bool(struct pickle_machine *m, int value)
{
    struct pickle_value *v = pickle_new(m, PICKLE_BOOL);
    if (v != NULL) v->boolean = value != 0;
    pickle_push(m, v);
}

/* A two's complement number of n bytes. */
static void op_long1(struct pickle_machine *m, int unused)
{
    (void)unused;
    size_t n = take_number(m, 1);
    if (n > 8) {
        pickle_fail(m, "an integer of %zu bytes; accepted: 8 at most", n);
        return;
    }
    uint64_t v = take_number(m, (int)n);
    if (n > 0 && n < 8 && (v >> (8 * n - 1)) != 0) v |= UINT64_MAX << (8 * n);
    push_int(m, (int64_t)v);
}

static void op_float(struct pickle_machine *m, int unused)
{
    (void)unused;
    const unsigned char *p = take(m, 8);
    struct pickle_value *v = pickle_new(m, PICKLE_FLOAT);
    if (p == NULL || v == NULL) return;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) bits = bits << 8 | p[i];
    memcpy(&v->number, &bits, sizeof bits);
    pickle_push(m, v);
}

static void op_protocol(struct pickle_machine *m, int unused)
{
    (void)unused;
    uint64_t protocol = take_number(m, 1);
    if (protocol > PROTOCOL_MAX)
        pickle_fail(m, "pickle protocol %llu; accepted: 2 to %d", (unsigned long long)protocol, PROTOCOL_MAX);
}

static void op_mark(struct pickle_machine *m, int unused)
{
    (void)unused;
    if (pickle_grow(m, &m->marks, m->mark_count, &m->marks_cap, sizeof *m->marks))
        m->marks[m->mark_count++] = m->depth;
}

/* Add stack values [from, depth) to a list, tuple or dict, and drop them. */
static void gather(struct pickle_machine *m, struct pickle_value *into, size_t from)
{
    size_t n = m->depth - from;
    if (into->items.cap - into->items.count < n) {
        size_t cap =
            into->items.cap * 2 > into->items.count + n ? into->items.cap * 2 : into->items.count + n;
        struct pickle_value **at = pickle_memory(m, cap * sizeof *at);
        if (at == NULL) return;
        if (into->items.count > 0) memcpy(at, into->items.at, into->items.count * sizeof *at);
        into->items.at = at;
        into->items.cap = cap;
    }
    if (n > 0) memcpy(into->items.at + into->items.count, m->stack + from, n * sizeof *m->stack);
    into->items.count += n;
    m->depth = from;
}

static bool take_mark(struct pickle_machine *m, size_t *from)
{
    if (m->mark_count == 0) {
        pickle_fail(m, "it goes back to a mark that is not there");
        return false;
    }
    *from = m->marks[--m->mark_count];
    return true;
}

static void make_tuple(struct pickle_machine *m, size_t from)
{
    struct pickle_value *v = pickle_new(m, PICKLE_TUPLE);
    if (v == NULL) return;
    gather(m, v, from);
    pickle_push(m, v);
}

static void op_tuple(struct pickle_machine *m, int unused)
{
    (void)unused;
    size_t from;
    if (take_mark(m, &from)) make_tuple(m, from);
}

static void op_tuple_of(struct pickle_machine *m, int n)
{
    if (m->depth - pickle_bottom(m) < (size_t)n)
        pickle_fail(m, "it takes a value from an empty stack");
    else
        make_tuple(m, m->depth - (size_t)n);
}

/* Values above `from` go into the container below them. */
static void add_items(struct pickle_machine *m, size_t from, pickle_kind kind)
{
    struct pickle_value *into = from > pickle_bottom(m) ? m->stack[from - 1] : NULL;
    if (into == NULL || into->kind != kind) {
        pickle_fail(m, "it adds items to %s; accepted: %s",
                    into != NULL ? pickle_kind_name(into->kind) : "nothing", pickle_kind_name(kind));
    } else if (kind == PICKLE_DICT && (m->depth - from) % 2 != 0) {
        pickle_fail(m, "it adds a key without a value to a dict");
    } else {
        gather(m, into, from);
    }
}

static void op_add_marked(struct pickle_machine *m, int kind)
{
    size_t from;
    if (take_mark(m, &from)) add_items(m, from, (pickle_kind)kind);
}

static void op_add(struct pickle_machine *m, int kind)
{
    size_t n = kind == PICKLE_DICT ? 2 : 1;
    if (m->depth - pickle_bottom(m) < n)
        pickle_fail(m, "it takes a value from an empty stack");
    else
        add_items(m, m->depth - n, (pickle_kind)kind);
}

/* The object's state: of dicts torch sets attributes (`_metadata`), which tensors do not need. */
static void op_build(struct pickle_machine *m, int unused)
{
    (void)unused;
    struct pickle_value *state = pickle_pop(m), *object = pickle_top(m);
    if (state == NULL || object == NULL || object->kind == PICKLE_DICT) return;
    pickle_fail(m, "it sets the state of %s; accepted: of a dict", pickle_kind_name(object->kind));
}

/* A slot takes two bytes of pickle at least, so there cannot be more slots than bytes. */
static void put(struct pickle_machine *m, uint64_t slot)
{
    struct pickle_value *v = pickle_top(m);
    if (v == NULL) return;
    if (slot >= (uint64_t)(m->end - m->start) || slot >= PICKLE_VALUES_MAX) {
        pickle_fail(m, "memo slot %llu, in a pickle of %zu bytes", (unsigned long long)slot,
                    (size_t)(m->end - m->start));
        return;
    }
    if (slot >= m->memo_cap) {
        size_t cap = slot < 1024 ? 1024 : 2 * (size_t)slot;
        struct pickle_value **grown = reallocarray(m->memo, cap, sizeof(struct pickle_value *));
        if (grown == NULL) {
            pickle_no_memory(m);
            return;
        }
        memset(grown + m->memo_cap, 0, (cap - m->memo_cap) * sizeof(struct pickle_value *));
        m->memo = grown;
        m->memo_cap = cap;
    }
    m->memo_count += m->memo[slot] == NULL;
    m->memo[slot] = v;
}

static const unsigned char *take_line(struct pickle_machine *m, size_t *len)
{
    const unsigned char *line = m->at, *newline = memchr(m->at, '\n', (size_t)(m->end - m->at));
    if (newline == NULL) {
        pickle_fail(m, "it ends within an instruction: truncated");
        return NULL;
    }
    *len = (size_t)(newline - line);
    m->at = newline + 1;
    return line;
}

static void op_global(struct pickle_machine *m, int unused)
{
    (void)unused;
    size_t module_len = 0, name_len = 0;
    const char *module = (const char *)take_line(m, &module_len);
    const char *name = module != NULL ? (const char *)take_line(m, &name_len) : NULL;
    if (name != NULL) pickle_global(m, module, module_len, name, name_len);
}

static void op_stack_global(struct pickle_machine *m, int unused)
{
    (void)unused;
    const struct pickle_value *name = pickle_pop(m), *module = pickle_pop(m);
    if (name == NULL || module == NULL) return;
    if (name->kind != PICKLE_TEXT || module->kind != PICKLE_TEXT)
        pickle_fail(m, "it asks for a global by something that is no text");
    else
        pickle_global(m, module->text.bytes, module->text.len, name->text.bytes, name->text.len);
}

static void op_stop(struct pickle_machine *m, int unused)
{
    (void)unused;
    m->out->root = pickle_pop(m);
    m->done = true;
}

static void op_put(struct pickle_machine *m, int bytes)
{
    put(m, take_number(m, bytes));
}

static void op_get(struct pickle_machine *m, int bytes)
{
    uint64_t slot = take_number(m, bytes);
    struct pickle_value *v = slot < m->memo_cap ? m->memo[slot] : NULL;
    if (v == NULL) pickle_fail(m, "memo slot %llu is empty", (unsigned long long)slot);
    pickle_push(m, v);
}

static void op_memoize(struct pickle_machine *m, int unused)
{
    (void)unused;
    put(m, m->memo_count);
}

static void op_int(struct pickle_machine *m, int bytes)
{
    uint64_t v = take_number(m, bytes);
    push_int(m, bytes == 4 ? (int32_t)v : (int64_t)v);
}

static void op_new(struct pickle_machine *m, int kind)
{
    pickle_push(m, pickle_new(m, (pickle_kind)kind));
}

static void op_frame(struct pickle_machine *m, int unused)
{
    (void)unused, (void)take_number(m, 8);
}

static void op_reduce(struct pickle_machine *m, int unused)
{
    (void)unused;
    pickle_reduce(m);
}

static void op_persistent(struct pickle_machine *m, int unused)
{
    (void)unused;
    pickle_persistent(m);
}

static void op_calls(struct pickle_machine *m, int unused);
static void op_foreign(struct pickle_machine *m, int unused);

static const struct {
    const char *name;
    void (*run)(struct pickle_machine *m, int argument);
    int argument;
} instructions[256] = {
    [0x80] = {"PROTO", op_protocol, 0},
    [0x95] = {"FRAME", op_frame, 0},
    ['.'] = {"STOP", op_stop, 0},
    ['('] = {"MARK", op_mark, 0},
    ['N'] = {"NONE", op_new, PICKLE_NONE},
    [0x88] = {"NEWTRUE", op_bool, 1},
    [0x89] = {"NEWFALSE", op_bool, 0},
    ['J'] = {"BININT", op_int, 4},
    ['M'] = {"BININT2", op_int, 2},
    ['K'] = {"BININT1", op_int, 1},
    [0x8a] = {"LONG1", op_long1, 0},
    ['G'] = {"BINFLOAT", op_float, 0},
    [0x8c] = {"SHORT_BINUNICODE", op_text, 1},
    ['X'] = {"BINUNICODE", op_text, 4},
    [0x8d] = {"BINUNICODE8", op_text, 8},
    [')'] = {"EMPTY_TUPLE", op_new, PICKLE_TUPLE},
    [']'] = {"EMPTY_LIST", op_new, PICKLE_LIST},
    ['}'] = {"EMPTY_DICT", op_new, PICKLE_DICT},
    ['t'] = {"TUPLE", op_tuple, 0},
    [0x85] = {"TUPLE1", op_tuple_of, 1},
    [0x86] = {"TUPLE2", op_tuple_of, 2},
    [0x87] = {"TUPLE3", op_tuple_of, 3},
    ['a'] = {"APPEND", op_add, PICKLE_LIST},
    ['e'] = {"APPENDS", op_add_marked, PICKLE_LIST},
    ['s'] = {"SETITEM", op_add, PICKLE_DICT},
    ['u'] = {"SETITEMS", op_add_marked, PICKLE_DICT},
    ['q'] = {"BINPUT", op_put, 1},
    ['r'] = {"LONG_BINPUT", op_put, 4},
    [0x94] = {"MEMOIZE", op_memoize, 0},
    ['h'] = {"BINGET", op_get, 1},
    ['j'] = {"LONG_BINGET", op_get, 4},
    ['c'] = {"GLOBAL", op_global, 0},
    [0x93] = {"STACK_GLOBAL", op_stack_global, 0},
    ['R'] = {"REDUCE", op_reduce, 0},
    ['b'] = {"BUILD", op_build, 0},
    ['Q'] = {"BINPERSID", op_persistent, 0},
    /* known, and refused */
    ['i'] = {"INST", op_calls, 0},
    ['o'] = {"OBJ", op_calls, 0},
    [0x81] = {"NEWOBJ", op_calls, 0},
    [0x92] = {"NEWOBJ_EX", op_calls, 0},
    [0x82] = {"EXT1", op_calls, 0},
    [0x83] = {"EXT2", op_calls, 0},
    [0x84] = {"EXT4", op_calls, 0},
    ['0'] = {"POP", op_foreign, 0},
    ['1'] = {"POP_MARK", op_foreign, 0},
    ['2'] = {"DUP", op_foreign, 0},
    ['B'] = {"BINBYTES", op_foreign, 0},
    ['C'] = {"SHORT_BINBYTES", op_foreign, 0},
    [0x8e] = {"BINBYTES8", op_foreign, 0},
    [0x96] = {"BYTEARRAY8", op_foreign, 0},
    ['F'] = {"FLOAT", op_foreign, 0},
    ['I'] = {"INT", op_foreign, 0},
    ['L'] = {"LONG", op_foreign, 0},
    [0x8b] = {"LONG4", op_foreign, 0},
    ['P'] = {"PERSID", op_foreign, 0},
    ['S'] = {"STRING", op_foreign, 0},
    ['T'] = {"BINSTRING", op_foreign, 0},
    ['U'] = {"SHORT_BINSTRING", op_foreign, 0},
    ['V'] = {"UNICODE", op_foreign, 0},
    ['d'] = {"DICT", op_foreign, 0},
    ['l'] = {"LIST", op_foreign, 0},
    ['g'] = {"GET", op_foreign, 0},
    ['p'] = {"PUT", op_foreign, 0},
    [0x8f] = {"EMPTY_SET", op_foreign, 0},
    [0x90] = {"ADDITEMS", op_foreign, 0},
    [0x91] = {"FROZENSET", op_foreign, 0},
    [0x97] = {"NEXT_BUFFER", op_foreign, 0},
    [0x98] = {"READONLY_BUFFER", op_foreign, 0},
};

static void op_calls(struct pickle_machine *m, int unused)
{
    (void)unused;
    pickle_fail(m, "instruction %s would call code of the file's choice; nothing of it is run",
                instructions[*m->op].name);
}

static void op_foreign(struct pickle_machine *m, int unused)
{
    (void)unused;
    pickle_fail(m, "instruction %s, which no file of tensors has", instructions[*m->op].name);
}

void pickle_step(struct pickle_machine *m)
{
    if (m->at == m->end) {
        m->op = m->at;
        pickle_fail(m, "it ends without a STOP: truncated");
        return;
    }
    m->op = m->at++;
    if (instructions[*m->op].run == NULL)
        pickle_fail(m, "there is no instruction 0x%02x", *m->op);
    else
        instructions[*m->op].run(m, instructions[*m->op].argument);
}
