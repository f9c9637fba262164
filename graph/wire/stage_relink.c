/* Links that come and go while the run goes on, as replicas of neighbours do: docs/architecture.md,
 * "Replicas". */
#include "graph/wire/stage_io.h"

#include <string.h>

/* The outlet whose link has this address; NULL. */
static struct stage_outlet *find_outlet(const struct stage_io *io, const char *address)
{
    struct link_address a;
    if (address == NULL || link_address_parse(&a, address, NULL) != THEA_OK) return NULL;
    for (size_t i = 0; i < io->outlet_count; i++)
        if (io->outlets[i].ln != NULL && io->outlets[i].number == a.number) return &io->outlets[i];
    return NULL;
}

static struct stage_inlet *find_inlet(const struct stage_io *io, const char *address)
{
    struct link_address a;
    if (address == NULL || link_address_parse(&a, address, NULL) != THEA_OK) return NULL;
    for (size_t i = 0; i < io->inlet_count; i++)
        if (io->inlets[i].ln != NULL && io->inlets[i].number == a.number) return &io->inlets[i];
    return NULL;
}

/* With one member any rule chooses the same, so what was one reader may become replicas under another rule.
 */
static void set_rule(struct stage_route *route, const char *rule)
{
    if (strcmp(rule, "load") == 0) route->rule = ROUTE_BY_LOAD;
    if (strcmp(rule, "hash") == 0) route->rule = ROUTE_BY_HASH;
    if (strcmp(rule, "origin") == 0) route->rule = ROUTE_BY_ORIGIN;
}

static thea_rc add_out(struct stage_io *io, struct stage *st, const struct json_node *m, const char *address,
                       struct thea_err *err)
{
    const char *beside = json_text_or(m, "beside", NULL), *kept = stage_command_keep(&st->command, address);
    const struct stage_outlet *other = find_outlet(io, beside);
    if (other == NULL)
        return thea_fail(err, THEA_EFRAME, "the supervisor adds the link %s beside %s, which is not there",
                         address, beside != NULL ? beside : "none");
    struct stage_endpoint e = {.port = other->port, .address = kept};
    set_rule(&io->groups[other->group].route, json_text_or(m, "rule", ""));
    return stage_io_add_outlet(io, st, &e, other->group, true, err);
}

static thea_rc add_in(struct stage_io *io, struct stage *st, const struct json_node *m, const char *address,
                      struct thea_err *err)
{
    const char *port = json_text_or(m, "port", "");
    struct stage_endpoint e = {.port = stage_find_port(st->ops->inputs, port),
                               .address = stage_command_keep(&st->command, address)};
    if (e.port < 0 || io->set == NULL)
        return thea_fail(err, THEA_EFRAME, "the supervisor adds a link to input '%s', which %s has not", port,
                         st->name);
    return stage_io_add_inlet(io, st, &e, err);
}

/* Eof has passed, so nothing is lost, whatever the other end does. */
static void close_link(struct link **ln)
{
    struct thea_err err;
    if (link_close(*ln, &err) != THEA_OK) thea_debug("a link that was dropped: %s", thea_err_message(&err));
    *ln = NULL;
}

static void close_inlet(struct stage *st, struct stage_inlet *in)
{
    close_link(&in->ln);
    stage_status_row_closed(st, in->number, false);
}

static bool has_ended(const struct stage *st, const struct stage_outlet *o)
{
    return o->ended && o->ended_epoch == st->epoch;
}

/* Eof has gone out on the port: who came since needs it, too. */
static bool port_has_ended(const struct stage_io *io, const struct stage *st, int port)
{
    for (size_t i = 0; i < io->outlet_count; i++)
        if (io->outlets[i].ln != NULL && io->outlets[i].port == port && has_ended(st, &io->outlets[i]))
            return true;
    return false;
}

static thea_rc send_eof(struct stage *st, struct stage_outlet *o, struct thea_err *err)
{
    struct frame eof = {.kind = FRAME_EOF, .epoch = st->epoch, .port = st->out[o->port].port->name};
    return link_send(o->ln, &eof, err);
}

/* Nobody is at the other end any more, or will be soon. What leads back to the head of a loop has had no eof
 * yet: that goes last, for the head needs all that comes back. */
static thea_rc drop_out(struct stage_io *io, struct stage *st, const char *address, bool gone,
                        struct thea_err *err)
{
    struct stage_outlet *o = find_outlet(io, address);
    if (o == NULL) return THEA_OK;
    struct stage_route *route = &io->groups[o->group].route;
    bool told = has_ended(st, o) || (o->left && o->left_epoch == st->epoch);
    thea_rc rc = THEA_OK;
    if (!gone) {
        stage_route_leave(route, o->member);
        return THEA_OK;
    }
    if (!told && link_ready(o->ln, 0)) rc = send_eof(st, o, err);
    close_link(&o->ln);
    stage_status_row_closed(st, o->number, true);
    stage_route_leave(route, o->member);
    stage_route_drop(route, o->member);
    return rc;
}

/* never: it was added for one who will not come, so that there is nothing to wait for. */
static void drop_in(struct stage_io *io, struct stage *st, const char *address, bool never)
{
    struct stage_inlet *in = find_inlet(io, address);
    if (in == NULL) return;
    in->leaving = true;
    if (!never) return;
    in->done = true;
    close_inlet(st, in);
}

static thea_rc obey(struct stage_io *io, struct stage *st, const struct json_node *m, struct thea_err *err)
{
    const char *word = json_text_or(m, "do", ""), *address = json_text_or(m, "address", "");
    bool out = strcmp(json_text_or(m, "side", ""), "out") == 0, gone = json_bool_or(m, "gone", false);
    thea_rc rc = THEA_OK;
    if (strcmp(word, "link_add") == 0)
        rc = out ? add_out(io, st, m, address, err) : add_in(io, st, m, address, err);
    else if (strcmp(word, "link_drop") != 0)
        return THEA_OK;
    else if (out)
        rc = drop_out(io, st, address, gone, err);
    else
        drop_in(io, st, address, json_bool_or(m, "never", false));
    if (rc == THEA_OK) stage_tell_link(st, "linked", address);
    return rc;
}

thea_rc stage_io_obey(struct stage_io *io, struct stage *st, struct thea_err *err)
{
    struct stage_control *c = &st->control;
    thea_rc rc = THEA_OK;
    for (size_t i = 0; i < c->order_count; i++) {
        if (rc == THEA_OK) rc = obey(io, st, c->orders[i], err);
        json_free(c->orders[i]);
    }
    c->order_count = 0;
    return rc;
}

static thea_rc let_go(struct stage_io *io, struct stage *st, struct stage_outlet *o, struct thea_err *err)
{
    bool told = o->left && o->left_epoch == st->epoch, ended = has_ended(st, o);
    bool leaves = !told && stage_route_left(&io->groups[o->group].route, o->member),
         late = !told && !ended && port_has_ended(io, st, o->port);
    thea_rc rc = THEA_OK;
    if (!leaves && !late) return THEA_OK;
    if (!ended && !link_ready(o->ln, 0)) return THEA_OK; /* later */
    if (!ended) rc = send_eof(st, o, err);
    if (leaves) {
        o->left = true;
        o->left_epoch = st->epoch;
        stage_tell_link(st, "left", o->address);
    } else {
        o->ended = true;
        o->ended_epoch = st->epoch;
    }
    return rc;
}

/* A new epoch forgets eofs, so who leaves gets another. */
thea_rc stage_io_let_go(struct stage_io *io, struct stage *st, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    for (size_t i = 0; rc == THEA_OK && i < io->outlet_count; i++)
        if (io->outlets[i].ln != NULL) rc = let_go(io, st, &io->outlets[i], err);
    for (size_t i = 0; i < io->inlet_count; i++) {
        struct stage_inlet *in = &io->inlets[i];
        if (in->ln != NULL && in->leaving && in->done) close_inlet(st, in);
    }
    return rc;
}
