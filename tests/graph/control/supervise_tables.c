/* What is printed and recorded at the end of a run whose stages have replicas. */
#include "graph/control/supervisor.h"
#include "graph/json.h"

#include <criterion/criterion.h>
#include <string.h>

enum { COUNT = 4 };

struct ended {
    struct supervise_process processes[COUNT];
    struct plan_process planned[COUNT];
    struct plan plan;
    struct supervise_result result;
};

/* load, layers:0, write, and layers:1, which came later. */
static void init_ended(struct ended *e)
{
    static char *names[COUNT] = {(char *)"load", (char *)"layers:0", (char *)"write", (char *)"layers:1"};
    static const size_t stages[COUNT] = {0, 1, 2, 1};
    *e = (struct ended){0};
    for (size_t i = 0; i < COUNT; i++) {
        e->planned[i] = (struct plan_process){
            .name = names[i], .stage = stages[i], .replica = i == 3, .source = i == 0, .sink = i == 2};
        e->processes[i].name = names[i];
        atomic_store(&e->processes[i].status.starved_ns, 900);
        atomic_store(&e->processes[i].status.busy_ns, 100);
    }
    atomic_store(&e->processes[3].status.busy_ns, 900);
    atomic_store(&e->processes[1].status.tokens, 1000);
    atomic_store(&e->processes[3].status.tokens, 500);
    atomic_store(&e->processes[2].status.documents, 7);
    e->plan = (struct plan){.processes = e->planned, .process_count = COUNT};
    e->result = (struct supervise_result){.processes = e->processes, .process_count = COUNT, .seconds = 1};
}

Test(supervise_tables, replicas_of_a_stage_are_one_row)
{
    struct ended e;
    struct buf b = {0};
    init_ended(&e);
    supervise_print_times(&e.result, &e.plan, &b);
    cr_expect_str_eq(
        buf_text(&b),
        "stage   processes  busy  starved  blocked  peak RSS   starved: waits for input\n"
        "load            1  10 %     90 %      0 %       0 B   blocked: waits for the next stage\n"
        "layers          2  36 %     64 %      0 %       0 B   <- the bottleneck\n"
        "write           1  10 %     90 %      0 %       0 B\n");
    buf_fini(&b);
}

Test(supervise_tables, tokens_of_replicas_add_up_in_the_summary)
{
    struct ended e;
    struct buf b = {0};
    init_ended(&e);
    supervise_print_summary(&e.result, &e.plan, &b);
    cr_expect_str_eq(buf_text(&b), "run: 7 documents, 1,500 tokens in 1.0 s: 1.5k tokens/s");
    buf_fini(&b);
}

Test(supervise_tables, the_record_of_each_process_says_its_stage_and_replica)
{
    struct ended e;
    init_ended(&e);
    struct json_node *report = supervise_report_json(&e.result, &e.plan);
    const struct json_node *last = json_item(json_member(report, "processes"), 3);
    cr_expect_str_eq(json_text_or(last, "name", ""), "layers:1");
    cr_expect_str_eq(json_text_or(last, "stage", ""), "layers");
    cr_expect_eq(json_int_or(last, "replica", -1), 1);
    cr_expect_eq(json_int_or(last, "part", -1), 0);
    json_free(report);
}
