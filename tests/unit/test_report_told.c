// report/: what is told of a run where numbers lack, start anew, or are odd: story, metrics, gauges, page,
// chart.
#include "report_support.h"

static void the_time_left_is_of_this_start(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    tell(&story, "{\"time\": 100, \"event\": \"run.begin\", \"command\": \"tune\"}\n"
                 "{\"time\": 101, \"event\": \"train.begin\", \"steps\": 40}\n"
                 "{\"time\": 103, \"event\": \"train.step\", \"step\": 20, \"loss\": 2, \"eta\": 20}\n");
    assert_true(cr_story_eta(&story, 108) == 15);
    assert_true(cr_story_eta(&story, 50) == 20); // a clock that was set back
    assert_true(cr_story_eta(&story, 200) == 0);
    tell(&story, "{\"time\": 201, \"event\": \"run.begin\", \"command\": \"tune\"}\n");
    assert_true(isnan(cr_story_eta(&story, 202)));
    tell(&story, "{\"time\": 203, \"event\": \"run.end\", \"exit_code\": 300}\n");
    assert_int_equal(story.exit_code, 1); // none that a process has
    cr_story_release(&story);
}

static void a_silo_goes_on_where_it_was(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    for (size_t start = 0; start < 2; start++)
        tell(&story, start == 0 ? "{\"time\": 100, \"event\": \"run.begin\", \"command\": \"join\"}\n"
                                  "{\"time\": 101, \"event\": \"train.begin\", \"steps\": 40}\n"
                                  "{\"time\": 102, \"event\": \"client.round\", \"round\": 1}\n"
                                  "{\"time\": 103, \"event\": \"train.step\", \"step\": 20, \"loss\": 2}\n"
                                : "{\"time\": 200, \"event\": \"run.begin\", \"command\": \"join\"}\n"
                                  "{\"time\": 201, \"event\": \"train.begin\", \"steps\": 40}\n"
                                  "{\"time\": 202, \"event\": \"client.round\", \"round\": 2}\n"
                                  "{\"time\": 203, \"event\": \"train.step\", \"step\": 40, \"loss\": 1}\n");
    assert_int_equal(story.train.count, 2);
    // Started once more it has nothing to do, and is not refused.
    tell(&story, "{\"time\": 300, \"event\": \"run.begin\", \"command\": \"join\"}\n");
    assert_true(story.starting);
    tell(&story, "{\"time\": 301, \"event\": \"client.done\", \"output\": \"out\"}\n");
    assert_false(story.starting);
    assert_string_equal(story.output, "out");
    cr_story_release(&story);
}

static const char serve[] =
    "{\"time\": 100, \"event\": \"run.begin\", \"command\": \"serve\"}\n"
    "{\"time\": 101, \"event\": \"server.listening\", \"address\": \"a:1\", \"round\": 1, \"rounds\": 3, "
    "\"min_clients\": 1}\n"
    "{\"time\": 102, \"event\": \"server.joined\", \"silo\": \"anne\"}\n"
    "{\"time\": 102, \"event\": \"server.joined\", \"silo\": \"b\\\"en\"}\n"
    "{\"time\": 103, \"event\": \"round.begin\", \"round\": 1, \"rounds\": 3}\n"
    "{\"time\": 104, \"event\": \"round.progress\", \"silo\": \"b\\\"en\", \"round\": 1, \"step\": 0, "
    "\"steps\": 5, \"loss\": 0}\n"
    "{\"time\": 105, \"event\": \"round.progress\", \"silo\": \"anne\", \"round\": 1, \"step\": 2, "
    "\"steps\": 5, \"loss\": 9}\n"
    "{\"time\": 106, \"event\": \"round.trained\", \"silo\": \"anne\", \"round\": 1, \"loss\": 8}\n"
    "{\"time\": 107, \"event\": \"server.left\", \"silo\": \"anne\"}\n";

// Of runs of several kinds in one directory the last one that was not refused has the page for itself.
static void a_run_of_another_kind_begins_anew(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    tell(&story, "{\"time\": 50, \"event\": \"run.begin\", \"command\": \"tune\"}\n"
                 "{\"time\": 51, \"event\": \"train.step\", \"step\": 20, \"epoch\": 1, \"loss\": 2}\n"
                 "{\"time\": 60, \"event\": \"run.begin\", \"command\": \"serve\"}\n"
                 "{\"time\": 61, \"event\": \"run.end\", \"message\": \"no\", \"exit_code\": 2}\n");
    assert_true(story.step == 20 && story.train.count == 1);
    tell(&story, serve);
    assert_true(story.train.count == 0 && isnan(story.step) && isnan(story.epoch));
    assert_true(story.rounds == 3 && story.min_clients == 1 && story.silo_count == 2);
    tell(&story,
         "{\"time\": 300, \"event\": \"run.begin\", \"command\": \"join\"}\n"
         "{\"time\": 301, \"event\": \"client.connected\", \"silo\": \"cleo\", \"address\": \"b:2\"}\n"
         "{\"time\": 302, \"event\": \"client.round\", \"round\": 1, \"rounds\": 2}\n");
    assert_true(story.silo_count == 1 && story.silos[0].connected && story.rounds == 2);
    assert_string_equal(story.silos[0].name, "cleo");
    assert_string_equal(story.address, "b:2");
    tell(&story, "{\"time\": 400, \"event\": \"run.begin\", \"command\": \"tune\"}\n"
                 "{\"time\": 401, \"event\": \"train.fresh\", \"steps\": 40}\n"
                 "{\"time\": 402, \"event\": \"train.step\", \"step\": 10, \"loss\": 3}\n");
    assert_true(story.silo_count == 0 && isnan(story.round) && isnan(story.rounds));
    assert_true(story.train.count == 1 && story.address[0] == 0 && story.starts == 5);
    cr_story_release(&story);
}

static void who_has_answered_is_done(void **state)
{
    (void)state;
    struct cr_story story;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    cr_story_init(&story);
    tell(&story, serve);
    assert_true(story.silos[0].step == 5);   // of five
    assert_true(isnan(story.silos[1].loss)); // before its first step it has none
    assert_ok(cr_story_append_missing(&story, &text));
    assert_string_equal(cr_buffer_text(&text), ""); // anne may go
    assert_ok(cr_prometheus_append(&text, &story, 110));
    const char *gauges = cr_buffer_text(&text);
    assert_non_null(strstr(gauges, "\ncarrel_rounds 3\n"));
    assert_null(strstr(gauges, "carrel_exit_code"));
    assert_non_null(strstr(gauges, "\ncarrel_silo_trained_round{silo=\"anne\"} 1\n"));
    assert_null(strstr(gauges, "carrel_silo_trained_round{silo=\"b"));
    assert_non_null(strstr(gauges, "\ncarrel_silo_connected{silo=\"b\\\"en\"} 1\n"));
    cr_story_release(&story);
}

static void a_story_has_room_for_so_many_silos(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    for (int i = 0; i <= CR_STORY_SILOS; i++) {
        char line[96];
        snprintf(line, sizeof line, "{\"time\": 100, \"event\": \"server.joined\", \"silo\": \"s%d\"}\n", i);
        tell(&story, line);
    }
    assert_int_equal(story.silo_count, CR_STORY_SILOS);
    cr_story_release(&story);
}

static void shares_are_of_a_hundred(void **state)
{
    (void)state;
    struct cr_story story;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer page = {0};
    cr_story_init(&story);
    tell(&story, "{\"time\": 100, \"event\": \"run.begin\", \"command\": \"tune\"}\n"
                 "{\"time\": 101, \"event\": \"train.step\", \"step\": 20, \"loss\": 2}\n"
                 "{\"time\": 102, \"event\": \"train.eval\", \"loss\": 2, \"accuracy\": 0.5}\n"
                 "{\"time\": 103, \"event\": \"simulate.eval\", \"silo\": \"anne\", \"loss\": 2, "
                 "\"accuracy\": 0.25}\n");
    assert_ok(cr_page_append(&page, &story, "<a>", "", false, 110));
    assert_non_null(strstr(cr_buffer_text(&page), "<title>&lt;a&gt; (carrel)</title>"));
    assert_non_null(strstr(cr_buffer_text(&page), "<dt>accuracy</dt><dd>50.0 %</dd>"));
    assert_non_null(strstr(cr_buffer_text(&page), "<td>25.0 %</td>"));
    cr_story_release(&story);
}

static void no_number_is_no_metric(void **state)
{
    (void)state;
    const struct cr_event_field fields[] = {CR_FIELD_TEXT("silo", "anne"), CR_FIELD("step", 0),
                                            CR_FIELD("loss", 1)};
    const struct cr_event_field step[] = {CR_FIELD("step", 20), CR_FIELD("epoch", 0.5), CR_FIELD("loss", NAN),
                                          CR_FIELD("grad_norm", 2)};
    const struct cr_event progress = {CR_EVENT_INFO, "round.progress", NULL, fields, 3},
                          stepped = {CR_EVENT_INFO, "train.step", NULL, step, 4};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    assert_ok(cr_metrics_append_line(&out, &progress, 7));
    assert_int_equal(out.size, 0);
    assert_ok(cr_metrics_append_scalars(&out, &stepped, 7));
    assert_non_null(memmem(out.data, out.size, "train/epoch", 11));
    assert_non_null(memmem(out.data, out.size, "train/grad_norm", 15));
    assert_null(memmem(out.data, out.size, "train/loss", 10));
}

// Points that became one are its mean, whatever was joined before; and a new run begins with points of its
// own.
static void thinning_keeps_the_mean(void **state)
{
    (void)state;
    enum { POINTS = 5 * CR_SERIES_MOST };
    struct cr_series series = {0};
    double sum = 0, count = 0;
    for (int i = 0; i < POINTS; i++) assert_ok(cr_series_add(&series, i, i));
    for (size_t i = 0; i < series.count; i++) {
        sum += series.points[i].y * series.points[i].weight;
        count += series.points[i].weight;
    }
    assert_true(series.count < CR_SERIES_MOST && count == POINTS);
    assert_true(fabs(sum / count - (POINTS - 1) / 2.0) < 1e-6);
    cr_series_clear(&series);
    for (int i = 0; i < 4; i++) assert_ok(cr_series_add(&series, i, i));
    assert_int_equal(series.count, 4);
    cr_series_release(&series);
}

// Of more lines than colours the first has its own, and is drawn over the others.
static void the_first_of_many_lines_stands_out(void **state)
{
    (void)state;
    enum { LINES = CR_CHART_COLOURS + 2 };
    struct cr_series series[LINES] = {0};
    struct cr_chart_line lines[LINES];
    char names[LINES][16];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    for (int i = 0; i < LINES; i++) {
        snprintf(names[i], sizeof names[i], "line%d", i);
        lines[i] = (struct cr_chart_line){names[i], &series[i]};
        for (int x = 0; x < 2; x++) assert_ok(cr_series_add(&series[i], x, i + x));
    }
    assert_ok(cr_chart_append(&out, "Loss", "step", lines, LINES));
    const char *own = strstr(cr_buffer_text(&out), "<g class=\"c0\">");
    assert_non_null(own);
    assert_non_null(strstr(own, "line0, step 1"));
    assert_null(strstr(own, "line1,"));
    for (int i = 0; i < LINES; i++) cr_series_release(&series[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_of_another_kind_begins_anew),
        cmocka_unit_test(the_time_left_is_of_this_start),
        cmocka_unit_test(a_silo_goes_on_where_it_was),
        cmocka_unit_test(who_has_answered_is_done),
        cmocka_unit_test(a_story_has_room_for_so_many_silos),
        cmocka_unit_test(shares_are_of_a_hundred),
        cmocka_unit_test(no_number_is_no_metric),
        cmocka_unit_test(thinning_keeps_the_mean),
        cmocka_unit_test(the_first_of_many_lines_stands_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
