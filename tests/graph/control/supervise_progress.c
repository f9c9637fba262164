/* The progress line: what it says and what it leaves out when the terminal is narrow. */
#include "graph/control/supervisor.h"

#include <criterion/criterion.h>
#include <string.h>

#define SECOND ((uint64_t)1000000000)
enum { COUNT = 4 };

struct scene {
    struct status_page pages[COUNT];
    struct child children[COUNT];
    struct plan_process processes[COUNT];
    struct plan plan;
    struct supervise_options options;
    struct supervisor s;
};

static void init_scene(struct scene *c)
{
    static char *names[COUNT] = {(char *)"load", (char *)"layers/0", (char *)"layers/1", (char *)"write"};
    static const size_t parts[COUNT] = {0, 0, 1, 0};
    static char *argv[] = {(char *)"x", NULL};
    static const size_t stages[COUNT] = {0, 1, 1, 2};
    static const int busy[COUNT] = {1, 98, 97, 0};
    *c = (struct scene){0};
    for (size_t i = 0; i < COUNT; i++) {
        c->processes[i] = (struct plan_process){.name = names[i],
                                                .stage = stages[i],
                                                .part = parts[i],
                                                .argv = argv,
                                                .source = i == 0,
                                                .sink = i + 1 == COUNT};
        c->children[i] =
            (struct child){.process = &c->processes[i], .page = &c->pages[i], .busy_percent = busy[i]};
    }
    c->pages[0].documents_total = 96;
    c->pages[1].tokens = 159000;
    c->pages[2].tokens = 150000;
    c->pages[3].documents = 34;
    c->plan = (struct plan){.processes = c->processes, .process_count = COUNT};
    c->options = (struct supervise_options){.label = "score"};
    c->s = (struct supervisor){
        .plan = &c->plan, .o = &c->options, .children = c->children, .count = COUNT, .started_ns = SECOND};
}

static void expect_line(struct scene *c, size_t width, const char *wanted)
{
    struct buf line = {0};
    supervisor_progress_text(&c->s, 11 * SECOND, width, &line);
    cr_expect_str_eq(line.data, wanted);
    cr_expect_leq(line.len, width);
    buf_fini(&line);
}

Test(supervise_progress, tells_documents_speed_what_is_left_and_how_busy_each_stage_is)
{
    struct scene c;
    init_scene(&c);
    expect_line(&c, 200, "score 34/96 docs 15.9k tok/s 18 s left | load 1 layers 98+97 write 0 % busy");
}

Test(supervise_progress, replicas_are_one_figure_and_their_tokens_add_up)
{
    struct scene c;
    init_scene(&c);
    c.processes[1].name = (char *)"layers:0";
    c.processes[2].name = (char *)"layers:1";
    c.processes[2].part = 0;
    c.processes[2].replica = 1;
    c.children[2].busy_percent = 49;
    expect_line(&c, 200, "score 34/96 docs 30.9k tok/s 18 s left | load 1 layers 2x74 write 0 % busy");
    c.processes[2].gone = true;
    expect_line(&c, 200, "score 34/96 docs 30.9k tok/s 18 s left | load 1 layers 98 write 0 % busy");
}

Test(supervise_progress, a_replica_that_came_later_is_shown_with_its_stage)
{
    struct scene c;
    init_scene(&c);
    c.processes[3].stage = 1;
    c.processes[3].part = 1;
    c.processes[3].replica = 1;
    c.children[3].busy_percent = 3;
    expect_line(&c, 200, "score 34/96 docs 15.9k tok/s 18 s left | load 1 layers 98+2x50 % busy");
}

Test(supervise_progress, tells_the_time_when_nobody_knows_how_many_documents_will_come)
{
    struct scene c;
    init_scene(&c);
    c.pages[0].documents_total = 0;
    expect_line(&c, 200, "score 34 docs 15.9k tok/s 0:10 | load 1 layers 98+97 write 0 % busy");
}

Test(supervise_progress, drops_idle_stages_then_the_others_then_cuts_to_fit_the_terminal)
{
    struct scene c;
    init_scene(&c);
    expect_line(&c, 70, "score 34/96 docs 15.9k tok/s 18 s left | load 1 layers 98+97 % busy");
    expect_line(&c, 66, "score 34/96 docs 15.9k tok/s 18 s left");
    expect_line(&c, 20, "score 34/96 docs 15.");
}

Test(supervise_progress, promises_no_end_before_it_can_know)
{
    struct scene c;
    init_scene(&c);
    c.pages[3].documents = 1;
    expect_line(&c, 45, "score 1/96 docs 15.9k tok/s");
    c.pages[3].documents = 96;
    expect_line(&c, 45, "score 96/96 docs 15.9k tok/s");
}

Test(supervise_progress, counts_failed_documents_as_done)
{
    struct scene c;
    init_scene(&c);
    c.pages[3].documents = 48;
    c.pages[3].failed = 2;
    expect_line(&c, 45, "score 48/96 docs 15.9k tok/s 10 s left");
}

Test(supervise_progress, is_never_due_when_it_is_off_or_quiet)
{
    struct scene c;
    init_scene(&c);
    cr_expect_eq(supervisor_progress_due(&c.s), 0);
    c.options.progress_line = true;
    cr_expect_gt(supervisor_progress_due(&c.s), 0);
    c.options.quiet = true;
    cr_expect_eq(supervisor_progress_due(&c.s), 0);
}
