/* thea: finds the command, or executes the stage program, that a verb names. */
#include "bin/thea/support/command.h"

#define X(name) extern const struct command command_##name;
#include "commands.inc"
#undef X

#define X(name) &command_##name,
const struct command *const commands[] = {
#include "commands.inc"
    NULL};
#undef X

int main(int argc, char **argv)
{
    (void)argc, (void)argv;
    return 64;
}
