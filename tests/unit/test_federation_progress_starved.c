// An event for whose line there is no memory: whoever writes events as JSON ends with that error, since a
// program may wait for the event in vain.
#include "support.h"

#include "federation/progress.h"
#include "format/event_line.h"

#include <errno.h>

// In place of the library's.
enum cr_status cr_event_line_append(const struct cr_event *event, struct cr_buffer *out)
{
    (void)out;
    return cr_fail(CR_NO_MEMORY, "%s: out of memory", event->name);
}

static void no_event_is_left_out_in_silence(void **state)
{
    (void)state;
    struct cr_progress progress;
    cr_progress_init(&progress, true);
    struct cr_event_sink sink = cr_progress_sink(&progress);
    cr_emit(&sink, CR_EVENT_INFO, "server.listening", NULL, CR_FIELD("port", 1));
    assert_int_equal(progress.broken, ENOMEM);
    assert_fails(CR_NO_MEMORY, "standard output: Cannot allocate memory", cr_progress_end(&progress, CR_OK));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_event_is_left_out_in_silence)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
