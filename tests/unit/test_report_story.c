#include "report_support.h"

static const char tune[] =
    "{\"time\": 100, \"event\": \"run.begin\", \"level\": \"debug\", \"command\": \"tune\"}\n"
    "{\"time\": 101, \"event\": \"train.begin\", \"steps\": 40}\n"
    "{\"time\": 102, \"event\": \"train.step\", \"step\": 10, \"steps\": 40, \"loss\": 3, \"eta\": 30}\n"
    "{\"time\": 103, \"event\": \"train.step\", \"step\": 20, \"steps\": 40, \"loss\": 2, \"eta\": 20, "
    "\"learning_rate\": 0.5, \"grad_norm\": 7, \"tokens_per_second\": 1234, \"epoch\": 0.5}\n";

static void test_tune(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    tell(&story, tune);
    assert_string_equal(story.role, "tune");
    assert_true(story.began == 100 && story.updated == 103 && story.step == 20 && story.steps == 40);
    assert_true(story.loss == 2 && story.learning_rate == 0.5 && story.epoch == 0.5);
    assert_true(isnan(story.rows_verified) && isnan(story.pads_ready));
    tell(&story,
         "{\"time\": 103, \"event\": \"train.slicing\", \"rows_verified\": 70, \"pads_used\": 70}\n"
         "{\"time\": 103, \"event\": \"simulate.slicing\", \"silo\": \"ben\", \"rows_verified\": 5}\n");
    assert_true(story.rows_verified == 70 && isnan(story.pads_ready));
    assert_true(story.silo_count == 1 && story.silos[0].rows_verified == 5);
    assert_true(isnan(story.eval_loss) && isnan(story.rounds));
    assert_true(cr_story_eta(&story, 108) == 15);
    assert_string_equal(cr_story_state(&story, true), "running");
    assert_string_equal(cr_story_state(&story, false), "killed");
    // It goes on from step 15: step 20 is done again.
    tell(&story, "{\"time\": 200, \"event\": \"run.begin\", \"command\": \"tune\"}\n"
                 "{\"time\": 201, \"event\": \"train.begin\", \"steps\": 40}\n"
                 "{\"time\": 201, \"event\": \"train.resumed\", \"step\": 15, \"steps\": 40}\n"
                 "{\"time\": 202, \"event\": \"train.step\", \"step\": 20, \"steps\": 40, \"loss\": 2.5, "
                 "\"learning_rate\": 0.00005}\n"
                 "{\"time\": 203, \"event\": \"train.eval\", \"step\": 40, \"loss\": 4, \"accuracy\": 0.5}\n"
                 "{\"time\": 204, \"event\": \"run.end\", \"message\": \"no disk\", \"exit_code\": 3}\n");
    assert_int_equal(story.train.count, 2);
    assert_true(story.train.points[1].x == 20 && story.train.points[1].y == 2.5);
    assert_int_equal(story.eval.count, 1);
    assert_string_equal(cr_story_state(&story, false), "failed");
    assert_string_equal(story.why, "no disk");
    CR_CLEANUP(cr_buffer_release) struct cr_buffer page = {0};
    assert_ok(cr_page_append(&page, &story, "a.run", "", false, 205));
    static const char *const cards[] = {"training loss</dt><dd>2.50<", "evaluation loss</dt><dd>4.00<",
                                        "accuracy</dt><dd>50.0 %<", "learning rate</dt><dd>5e-05<"};
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++)
        assert_non_null(strstr(cr_buffer_text(&page), cards[i]));
    // Another run in the same place, which reports less often.
    tell(&story, "{\"time\": 300, \"event\": \"run.begin\", \"command\": \"tune\"}\n"
                 "{\"time\": 301, \"event\": \"train.begin\", \"steps\": 90}\n"
                 "{\"time\": 302, \"event\": \"train.step\", \"step\": 50, \"steps\": 90, \"loss\": 1}\n"
                 "{\"time\": 304, \"event\": \"run.end\", \"exit_code\": 0}\n");
    assert_int_equal(story.train.count, 1);
    assert_int_equal(story.eval.count, 0);
    assert_string_equal(cr_story_state(&story, false), "finished");
    tell(&story, "{\"time\": 304, \"event\": \"run.end\", \"exit_code\": 130}\n");
    assert_string_equal(cr_story_state(&story, false), "stopped");
    // What it took is told of the last start alone, which is said.
    cr_buffer_clear(&page);
    assert_ok(cr_page_append(&page, &story, "a.run", "", false, 305));
    assert_non_null(strstr(cr_buffer_text(&page), "carrel tune, start 3 at "));
    assert_non_null(strstr(cr_buffer_text(&page), ", took 4.0 s</p>"));
    cr_story_release(&story);
}

static const char serve[] =
    "{\"time\": 100, \"event\": \"run.begin\", \"command\": \"serve\"}\n"
    "{\"time\": 101, \"event\": \"server.listening\", \"address\": \"a:1\", \"round\": 1, \"rounds\": 3, "
    "\"min_clients\": 2}\n"
    "{\"time\": 102, \"event\": \"server.joined\", \"silo\": \"ben\", \"address\": \"x\"}\n"
    "{\"time\": 103, \"event\": \"server.joined\", \"silo\": \"anne\", \"address\": \"y\"}\n"
    "{\"time\": 104, \"event\": \"round.begin\", \"round\": 1, \"rounds\": 3, \"silos\": 2}\n"
    "{\"time\": 105, \"event\": \"round.progress\", \"silo\": \"ben\", \"round\": 1, \"step\": 2, \"steps\": "
    "5, "
    "\"loss\": 9, \"tokens_per_second\": 50}\n"
    "{\"time\": 106, \"event\": \"round.trained\", \"silo\": \"anne\", \"round\": 1, \"loss\": 8}\n"
    "{\"time\": 107, \"event\": \"server.left\", \"silo\": \"ben\", \"message\": \"cut\"}\n";

static void assert_waits(const struct cr_story *story, const char *what)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer missing = {0};
    assert_ok(cr_story_append_missing(story, &missing));
    assert_string_equal(cr_buffer_text(&missing), what);
    assert_true(isnan(cr_story_eta(story, 110)));
}

static void test_federation(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    tell(&story, serve);
    assert_int_equal(story.silo_count, 2);
    const struct cr_story_silo *anne = &story.silos[0], *ben = &story.silos[1];
    assert_string_equal(anne->name, "anne");
    assert_true(ben->step == 2 && ben->steps == 5 && ben->seen == 105 && ben->tokens_per_second == 50);
    assert_string_equal(cr_story_silo_state(&story, ben), "away");
    assert_string_equal(cr_story_silo_state(&story, anne), "has answered");
    // How long one stays away that the round waits for, nobody knows.
    assert_waits(&story, "silos that are away: ben");
    tell(&story, "{\"time\": 107, \"event\": \"server.joined\", \"silo\": \"ben\", \"address\": \"x\"}\n");
    // No round was timed yet, but its slowest silo did 2 of 5 steps in its first three seconds.
    assert_true(cr_story_eta(&story, 107) == 3 * 7.5 - 3);
    tell(&story, "{\"time\": 107, \"event\": \"server.left\", \"silo\": \"ben\", \"message\": \"cut\"}\n"
                 "{\"time\": 108, \"event\": \"round.dropped\", \"silo\": \"ben\", \"round\": 1, "
                 "\"message\": \"away\"}\n");
    assert_string_equal(cr_story_silo_state(&story, ben), "left out");
    tell(&story, "{\"time\": 114, \"event\": \"round.done\", \"round\": 1, \"rounds\": 3, \"loss\": 8, "
                 "\"seconds\": 10}\n"
                 "{\"time\": 114, \"event\": \"round.begin\", \"round\": 2, \"rounds\": 3, \"silos\": 2}\n");
    assert_true(story.round == 2 && story.loss == 8 && story.federation.count == 1);
    assert_string_equal(cr_story_silo_state(&story, anne), "connected");
    assert_string_equal(cr_story_silo_state(&story, ben), "away");
    assert_waits(&story, "silos: 1 of at least 2 are here");
    tell(&story, "{\"time\": 115, \"event\": \"server.joined\", \"silo\": \"ben\", \"address\": \"x\"}\n");
    assert_true(cr_story_eta(&story, 118) == 16); // two rounds of ten seconds, four of which are over
    // All rounds are done: who leaves is not waited for.
    tell(&story, "{\"time\": 120, \"event\": \"round.done\", \"round\": 3, \"rounds\": 3, \"loss\": 8, "
                 "\"seconds\": 6}\n"
                 "{\"time\": 120, \"event\": \"server.left\", \"silo\": \"ben\", \"message\": \"closed\"}\n");
    assert_true(!isnan(cr_story_eta(&story, 120)));
    tell(&story,
         "{\"time\": 121, \"event\": \"server.untold\", \"silos\": \"ben\", \"message\": \"not told: ben\"}\n"
         "{\"time\": 121, \"event\": \"run.end\", \"exit_code\": 0}\n");
    assert_string_equal(cr_story_state(&story, false), "finished");
    assert_string_equal(story.why, "not told: ben");
    // Another run in the same place knows nothing of the silos and losses of this one.
    tell(&story, "{\"time\": 200, \"event\": \"run.begin\", \"command\": \"serve\"}\n"
                 "{\"time\": 201, \"event\": \"server.listening\", \"round\": 1, \"rounds\": 8, "
                 "\"min_clients\": 2, \"address\": \"x\"}\n"
                 "{\"time\": 202, \"event\": \"server.joined\", \"silo\": \"anne\", \"address\": \"x\"}\n"
                 "{\"time\": 203, \"event\": \"round.begin\", \"round\": 1, \"rounds\": 8, \"silos\": 1}\n");
    assert_true(story.silo_count == 1 && isnan(story.loss) && isnan(story.silos[0].loss));
    assert_string_equal(story.why, "");
    assert_string_equal(cr_story_silo_state(&story, &story.silos[0]), "connected");
    assert_true(isnan(cr_story_eta(&story, 204)));
    cr_story_release(&story);
}

static void test_split_model(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    tell(&story, "{\"time\": 1, \"event\": \"server.joined\", \"silo\": \"anne\", \"address\": \"x\"}\n"
                 "{\"time\": 2, \"event\": \"split.receiving\", \"silo\": \"anne\", \"examples\": 5}\n"
                 "{\"time\": 3, \"event\": \"server.joined\", \"silo\": \"ben\", \"address\": \"y\"}\n"
                 "{\"time\": 4, \"event\": \"split.receiving\", \"silo\": \"ben\", \"examples\": 2}\n"
                 "{\"time\": 5, \"event\": \"server.left\", \"silo\": \"ben\", \"message\": \"cut\"}\n");
    const struct cr_story_silo *anne = &story.silos[0], *ben = &story.silos[1];
    assert_string_equal(cr_story_silo_state(&story, anne), "sending");
    assert_true(anne->seen == 2);
    assert_string_equal(cr_story_silo_state(&story, ben), "away");
    tell(&story, "{\"time\": 6, \"event\": \"split.held\", \"silo\": \"anne\", \"examples\": 9}\n"
                 "{\"time\": 7, \"event\": \"server.left\", \"silo\": \"anne\", \"message\": \"closed\"}\n");
    assert_string_equal(cr_story_silo_state(&story, anne), "has sent all");
    assert_true(anne->examples == 9 && ben->examples == 2);
    tell(&story, "{\"time\": 7, \"event\": \"train.step\", \"step\": 9, \"steps\": 9, \"eta\": 0}\n");
    assert_true(!story.serving && cr_story_eta(&story, 7) == 0);
    tell(&story, "{\"time\": 7, \"event\": \"split.serving\", \"tokens\": 64}\n"
                 "{\"time\": 7, \"event\": \"server.joined\", \"silo\": \"ben\", \"address\": \"y\"}\n"
                 "{\"time\": 8, \"event\": \"split.asked\", \"silo\": \"ben\", \"examples\": 1}\n");
    assert_true(story.serving && isnan(cr_story_eta(&story, 8))); // until someone stops it
    assert_string_equal(cr_story_silo_state(&story, ben), "away");
    assert_true(ben->examples == 2 && ben->seen == 8);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer page = {0};
    tell(&story, "{\"time\": 8, \"event\": \"attestation.warning\", \"message\": \"nobody <is>\"}\n"
                 "{\"time\": 9, \"event\": \"attestation.warning\", \"message\": \"and more\"}\n");
    assert_ok(cr_page_append(&page, &story, "a.run", "", false, 10));
    assert_non_null(strstr(cr_buffer_text(&page), "<tr><td>anne</td><td>9</td><td>"));
    assert_non_null(strstr(cr_buffer_text(&page), "<p class=\"why\">nobody &lt;is&gt;</p>"));
    tell(&story, "{\"time\": 11, \"event\": \"run.begin\", \"command\": \"serve\"}\n");
    assert_string_equal(story.warning, "");
    assert_string_equal(cr_story_silo_state(&story, anne), "has sent all"); // it is on the server's disk
    tell(&story,
         "{\"time\": 12, \"event\": \"server.listening\", \"address\": \"a:1\", \"min_clients\": 2}\n");
    assert_true(isnan(story.round) && isnan(story.rounds));
    assert_int_equal(story.silo_count, 0); // until they come
    cr_story_release(&story);

    cr_story_init(&story);
    tell(&story, "{\"time\": 1, \"event\": \"split.sending\", \"examples\": 3, \"all\": 9, \"bytes\": 1}\n");
    assert_true(story.sent == 3 && story.to_send == 9);
    tell(&story, "{\"time\": 2, \"event\": \"split.sent\", \"examples\": 9, \"bytes\": 2}\n");
    assert_true(story.sent == 9 && story.to_send == 9);
    cr_story_release(&story);
}

static void test_progress_is_thinned_out(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    tell(&story, serve);
    struct cr_event_field fields[] = {CR_FIELD_TEXT("silo", "anne"), CR_FIELD("round", 2),
                                      CR_FIELD("step", 0)};
    struct cr_event event = {CR_EVENT_INFO, "round.progress", NULL, fields, 3};
    int kept = 0;
    for (int second = 0; second < 60; second++) {
        fields[1].number = second < 30 ? 2 : 3; // a new round is told at once
        kept += cr_story_keeps(&story, &event, 1000 + second);
        assert_ok(cr_story_take(&story, &event, 1000 + second));
    }
    assert_int_equal(kept, 6);
    assert_true(story.silos[0].seen == 1059);
    assert_true(cr_story_keeps(&story, &event, 500)); // the clock was set back
    assert_false(cr_story_keeps(&story, &event, 509));
    event.name = "round.trained";
    assert_true(cr_story_keeps(&story, &event, 1060) && cr_story_keeps(&story, &event, 1060));
    cr_story_release(&story);
}

static void test_long_and_odd_texts(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer line = {0};
    assert_ok(
        cr_append_format(&line, "{\"time\": 1, \"event\": \"run.end\", \"exit_code\": 3, \"message\": \""));
    for (int i = 0; i < 2000; i++) assert_ok(cr_append_format(&line, i == 0 ? "\\u001b" : "\xc3\xa9"));
    assert_ok(cr_append_format(&line, "\"}\n"));
    tell(&story, cr_buffer_text(&line));
    assert_int_equal(strlen(story.why), CR_STORY_TEXT - 1); // a question mark and 511 letters of two bytes
    assert_true(cr_utf8_valid(cr_slice_of_string(story.why), NULL));
    assert_int_equal(story.why[0], '?');
    tell(&story, "{\"time\": 1, \"event\": \"server.joined\", \"silo\": "
                 "\"a012345678901234567890123456789012345678901234567890123456789b\xc3\xa9\xc3\xa9\"}\n");
    assert_true(cr_utf8_valid(cr_slice_of_string(story.silos[0].name), NULL));
    assert_int_equal(strlen(story.silos[0].name),
                     CR_STORY_NAME - 2); // the letter that would be cut is left out
    cr_story_release(&story);
}

static void test_join(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    tell(&story, "{\"time\": 1, \"event\": \"run.begin\", \"command\": \"join\"}\n"
                 "{\"time\": 2, \"event\": \"client.waiting\", \"message\": \"refused\", \"seconds\": 1}\n");
    assert_string_equal(story.waiting, "refused");
    tell(&story,
         "{\"time\": 2, \"event\": \"train.reading\", \"file\": \"d\", \"rows\": 640, \"part\": 0.253}\n");
    assert_string_equal(story.waiting, "25% of the data are read");
    tell(&story, "{\"time\": 2, \"event\": \"train.begin\", \"steps\": 10}\n");
    assert_string_equal(story.waiting, "");
    tell(&story,
         "{\"time\": 3, \"event\": \"client.connected\", \"silo\": \"anne\", \"address\": \"a:1\"}\n"
         "{\"time\": 4, \"event\": \"client.round\", \"round\": 1, \"rounds\": 2}\n"
         "{\"time\": 5, \"event\": \"train.step\", \"step\": 5, \"steps\": 10, \"loss\": 4}\n"
         "{\"time\": 6, \"event\": \"client.trained\", \"round\": 1, \"loss\": 4.5, \"labelled\": 9}\n"
         "{\"time\": 7, \"event\": \"client.closed\", \"round\": 1, \"silos\": 3, \"loss\": 5}\n");
    assert_true(story.loss == 4); // its own, not the federation's
    tell(&story, "{\"time\": 10, \"event\": \"client.round\", \"round\": 2, \"rounds\": 2}\n"
                 "{\"time\": 20, \"event\": \"train.step\", \"step\": 7, \"steps\": 10, \"loss\": 3.5}\n");
    assert_true(story.silos[0].round == 2 && story.silos[0].trained == 1 && story.silos[0].seen == 20);
    assert_true(story.silos[0].loss == 3.5);
    assert_string_equal(cr_story_silo_state(&story, &story.silos[0]), "training");
    assert_string_equal(story.waiting, "");
    assert_string_equal(story.self, "anne");
    assert_int_equal(story.train.count, 2);
    assert_int_equal(story.silo_count, 1);
    assert_true(story.silos[0].losses.points[0].y == 4.5 && story.federation.points[0].y == 5);
    cr_story_release(&story);
}

static void assert_own(const struct cr_story *story, const char *silo_state, const char *waiting)
{
    assert_int_equal(story->silo_count, 1);
    assert_string_equal(cr_story_silo_state(story, &story->silos[0]), silo_state);
    assert_string_equal(story->waiting, waiting);
}

static const char waits_to_begin[] = "for the server to begin";

static void test_what_a_silo_waits_for(void **state)
{
    (void)state;
    static const char connected[] =
        "{\"time\": 3, \"event\": \"client.connected\", \"silo\": \"anne\", \"address\": \"a:1\"}\n";
    static const char cut[] = "{\"time\": 6, \"event\": \"client.waiting\", \"message\": \"cut\", "
                              "\"seconds\": 1}\n";
    struct cr_story story;
    cr_story_init(&story);
    tell(&story, "{\"time\": 1, \"event\": \"run.begin\", \"command\": \"join\"}\n"
                 "{\"time\": 2, \"event\": \"client.known\", \"silo\": \"anne\", \"state\": \"s\"}\n");
    assert_own(&story, "away", "");
    tell(&story, connected);
    assert_own(&story, "connected", waits_to_begin);
    assert_true(story.silos[0].seen == 3);
    tell(&story, "{\"time\": 4, \"event\": \"train.reading\", \"file\": \"d\", \"part\": 0.5}\n"
                 "{\"time\": 4, \"event\": \"train.begin\", \"steps\": 10}\n");
    assert_own(&story, "connected", waits_to_begin);
    tell(&story, "{\"time\": 5, \"event\": \"client.round\", \"round\": 1, \"rounds\": 2}\n");
    assert_own(&story, "training", "");
    // It trains on without its server.
    tell(&story, cut);
    tell(&story, "{\"time\": 7, \"event\": \"train.step\", \"step\": 5, \"steps\": 10, \"loss\": 4}\n");
    assert_own(&story, "away", "cut");
    assert_waits(&story, ""); // and not for itself
    tell(&story, connected);
    assert_own(&story, "training", "");
    tell(&story, cut);
    tell(&story, "{\"time\": 8, \"event\": \"client.trained\", \"round\": 1, \"loss\": 4}\n");
    assert_own(&story, "away", "cut");
    tell(&story, connected);
    assert_own(&story, "has answered", "");
    // Started again in the next round, it has to be told of it once more.
    tell(&story, "{\"time\": 9, \"event\": \"client.round\", \"round\": 2, \"rounds\": 2}\n"
                 "{\"time\": 10, \"event\": \"run.begin\", \"command\": \"join\"}\n");
    assert_own(&story, "away", "");
    tell(&story, connected);
    assert_own(&story, "connected", waits_to_begin);
    // Of a split model it has no rounds to wait for.
    tell(&story, "{\"time\": 11, \"event\": \"split.sending\", \"examples\": 3, \"all\": 9}\n");
    assert_own(&story, "connected", "");
    cr_story_release(&story);
}

static void test_series_thins_out(void **state)
{
    (void)state;
    struct cr_series series = {0};
    for (int i = 1; i <= 100000; i++) assert_ok(cr_series_add(&series, i, 3 * i));
    assert_in_range(series.count, CR_SERIES_MOST / 5, CR_SERIES_MOST);
    assert_true(series.points[series.count - 1].x == 100000);
    for (size_t i = 1; i < series.count; i++) assert_true(series.points[i].x > series.points[i - 1].x);
    // They lie evenly, and a mean a little before its x.
    for (size_t i = 0; i < series.count; i++)
        assert_true(fabs(series.points[i].y - 3 * series.points[i].x) <= 3 * 100000 / 512);
    assert_ok(cr_series_add(&series, 50000, NAN)); // what came after is void, and this is no point
    assert_true(series.points[series.count - 1].x < 50000);
    cr_series_release(&series);
}

static void test_events_refused(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    static const struct {
        const char *text, *why;
    } wrong[] = {
        {"{\"event\": \"x\"}\n", "events: at byte 0: an event without its time"},
        {"{\"time\": \"1\", \"event\": \"x\"}\n", "events: at byte 0: an event without its time"},
        {"{\"time\": -1, \"event\": \"x\"}\n", "without its time"},
        {"{\"time\": 1, \"event\": \"x\"}\n\n", "events: at byte 26: event:1:"},
        {"{\"time\": 1, \"event\": \"x\"}\nnonsense\n", "events: at byte 26: event:1:"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t offset = 0;
        assert_fails(CR_INVALID, wrong[i].why,
                     cr_events_parse(cr_slice_of_string(wrong[i].text), "events", &offset, take, &story));
    }
    size_t offset = 0; // half a line may still become one
    assert_ok(cr_events_parse(cr_slice_of_string("{\"time\": 1, \"ev"), "events", &offset, take, &story));
    assert_int_equal(offset, 0);
    cr_story_release(&story);
}

// Another run in the place of one that was evaluated; another server where a silo was connected.
static void test_a_new_start_forgets_what_it_does_not_know(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    tell(&story, tune);
    tell(&story,
         "{\"time\": 104, \"event\": \"train.eval\", \"step\": 20, \"loss\": 4, \"accuracy\": 0.5}\n");
    assert_true(story.eval_loss == 4 && story.eval_accuracy == 0.5);
    tell(&story, tune);
    assert_true(isnan(story.eval_loss) && isnan(story.eval_accuracy) && story.eval.count == 0);
    cr_story_release(&story);
    cr_story_init(&story);
    tell(&story, "{\"time\": 1, \"event\": \"run.begin\", \"command\": \"serve\"}\n"
                 "{\"time\": 2, \"event\": \"server.joined\", \"silo\": \"anne\"}\n");
    assert_true(story.silo_count == 1 && story.silos[0].connected);
    tell(&story, "{\"time\": 3, \"event\": \"run.begin\", \"command\": \"serve\"}\n");
    assert_true(story.silo_count == 1 && !story.silos[0].connected);
    cr_story_release(&story);
}

static void test_metrics(void **state)
{
    (void)state;
    const struct cr_event_field step[] = {CR_FIELD("step", 20),     CR_FIELD("steps", 40),
                                          CR_FIELD("epoch", 0.5),   CR_FIELD("loss", NAN),
                                          CR_FIELD("grad_norm", 2), CR_FIELD("eta", 3)};
    const struct cr_event_field eval[] = {CR_FIELD("step", 40), CR_FIELD("loss", 1.5),
                                          CR_FIELD("accuracy", 0.25)};
    const struct cr_event_field trained[] = {CR_FIELD_TEXT("silo", "anne"), CR_FIELD("round", 2),
                                             CR_FIELD("loss", 1.25), CR_FIELD("labelled", 70)};
    const struct cr_event events[] = {
        {CR_EVENT_INFO, "train.step", NULL, step, 6},
        {CR_EVENT_INFO, "train.eval", "rows.jsonl", eval, 3},
        {CR_EVENT_INFO, "round.trained", NULL, trained, 4},
        {CR_EVENT_INFO, "server.listening", NULL, NULL, 0},
    };
    CR_CLEANUP(cr_buffer_release) struct cr_buffer lines = {0};
    for (size_t i = 0; i < 4; i++) assert_ok(cr_metrics_append_line(&lines, &events[i], 7.25));
    assert_string_equal(
        cr_buffer_text(&lines),
        "{\"time\": 7.250, \"step\": 20, \"epoch\": 0.5, \"grad_norm\": 2}\n"
        "{\"time\": 7.250, \"step\": 40, \"eval_loss\": 1.5, \"eval_accuracy\": 0.25}\n"
        "{\"time\": 7.250, \"round\": 2, \"silo\": \"anne\", \"round_loss\": 1.25, \"labelled\": 70}\n");
    CR_CLEANUP(cr_buffer_release) struct cr_buffer records = {0};
    assert_ok(cr_metrics_append_scalars(&records, &events[2], 7.25));
    assert_non_null(memmem(records.data, records.size, "anne/round_loss", 15));
    assert_ok(cr_metrics_append_scalars(&records, &events[1], 7.25));
    assert_non_null(memmem(records.data, records.size, "eval/accuracy", 13));
    assert_ok(cr_metrics_append_scalars(
        &records, &(struct cr_event){CR_EVENT_INFO, "round.done", NULL, trained + 1, 3}, 7.25));
    assert_non_null(memmem(records.data, records.size, "federation/loss", 15));
}

static void test_prometheus(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    tell(&story, serve);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_prometheus_append(&text, &story, 110));
    static const char *const parts[] = {
        "# HELP carrel_round The present round, from 1.\n# TYPE carrel_round gauge\ncarrel_round 1\n",
        "\ncarrel_start_time_seconds 100\n",
        "\ncarrel_updated_time_seconds 110\n",
        "# TYPE carrel_silo_loss gauge\ncarrel_silo_loss{silo=\"anne\"} 8\ncarrel_silo_loss{silo=\"ben\"} "
        "9\n",
        "\ncarrel_silo_last_seen_time_seconds{silo=\"ben\"} 105\n",
        "# TYPE carrel_silo_connected gauge\ncarrel_silo_connected{silo=\"anne\"} 1\n"
        "carrel_silo_connected{silo=\"ben\"} 0\n",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_non_null(strstr(cr_buffer_text(&text), parts[i]));
    assert_null(strstr(cr_buffer_text(&text), "nan"));
    // Of a file that somebody else has written.
    tell(&story, "{\"time\": 106, \"event\": \"server.joined\", \"silo\": \"a\\\"b\\\\c\\nd\"}\n");
    cr_buffer_clear(&text);
    assert_ok(cr_prometheus_append(&text, &story, 110));
    assert_non_null(strstr(cr_buffer_text(&text), "\ncarrel_silo_connected{silo=\"a\\\"b\\\\c?d\"} 1\n"));
    // Who has sent all of a split model's examples goes without a word; at the end everyone does.
    static const char *const gone[] = {"{\"time\": 108, \"event\": \"split.held\", \"silo\": \"anne\"}\n",
                                       "{\"time\": 109, \"event\": \"run.end\", \"exit_code\": 0}\n"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        tell(&story, "{\"time\": 107, \"event\": \"server.joined\", \"silo\": \"ben\"}\n");
        tell(&story, gone[i]);
        cr_buffer_clear(&text);
        assert_ok(cr_prometheus_append(&text, &story, 110));
        assert_non_null(strstr(cr_buffer_text(&text), "\ncarrel_silo_connected{silo=\"anne\"} 0\n"));
        bool ben = strstr(cr_buffer_text(&text), "\ncarrel_silo_connected{silo=\"ben\"} 1\n");
        assert_int_equal(ben, i == 0);
    }
    cr_story_release(&story);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part)) count++;
    return count;
}

static void test_page(void **state)
{
    (void)state;
    struct cr_story story;
    cr_story_init(&story);
    tell(&story, serve);
    tell(&story,
         "{\"time\": 114, \"event\": \"round.trained\", \"silo\": \"<b>&\", \"round\": 1, \"loss\": 8}\n"
         "{\"time\": 114, \"event\": \"round.done\", \"round\": 1, \"rounds\": 3, \"loss\": 8.5}\n");
    CR_CLEANUP(cr_buffer_release) struct cr_buffer page = {0};
    assert_ok(cr_page_append(&page, &story, "out.run", "a: \"<script>\"", true, 118));
    const char *text = cr_buffer_text(&page);
    // Nothing of the outside gets in as HTML, and nothing is fetched.
    assert_null(strstr(text, "<b>"));
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "http:"));
    assert_null(strstr(text, "https:"));
    assert_null(strstr(text, "src="));
    assert_non_null(strstr(text, "&lt;b&gt;&amp;"));
    assert_non_null(strstr(text, "a: &quot;&lt;script&gt;&quot;"));
    assert_null(strstr(text, "nan"));
    assert_non_null(strstr(text, "@media(max-width:600px){")); // where its pictures are small
    // Three lines have points: the federation's and two silos'.
    assert_int_equal(count_of(text, "<path d="), 3);
    assert_int_equal(count_of(text, "<circle"), 3);
    assert_non_null(strstr(text, "<title>anne, round 1: 8</title>"));
    assert_non_null(strstr(text, "http-equiv=\"refresh\""));
    // Whoever is connected is alive, however long ago it last told anything.
    assert_int_equal(count_of(text, "<td>connected</td>"), 2);
    cr_buffer_clear(&page);
    assert_ok(cr_page_append(&page, &story, "out.run", "", false, 118));
    assert_null(strstr(cr_buffer_text(&page), "http-equiv=\"refresh\""));
    assert_null(strstr(cr_buffer_text(&page), "<td>connected</td>"));
    assert_non_null(strstr(cr_buffer_text(&page), "<span class=\"state killed\">killed</span>"));
    cr_story_release(&story);
}

static void test_chart(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    struct cr_series fall = {0}, empty = {0};
    const struct cr_chart_line lines[12] = {
        {"training", &fall}, {"evaluation", &empty}, {"a", &fall}, {"b", &fall}, {"c", &fall}, {"d", &fall},
        {"e", &fall},        {"f", &fall},           {"g", &fall}, {"h", &fall}, {"i", &fall}, {"j", &fall}};
    assert_ok(cr_chart_append(&text, "Loss", "step", lines, 2));
    assert_int_equal(text.size, 0); // nothing to draw
    assert_ok(cr_series_add(&fall, 1, 4));
    assert_ok(cr_series_add(&fall, 3, 1.5));
    assert_ok(cr_chart_append(&text, "Loss", "step", lines, 2));
    // 880 by 300, 60 of it left, 36 right, 12 above, 42 below; from 1.5 to 4.
    assert_non_null(strstr(cr_buffer_text(&text), "<path d=\"M60.0 12.0L844.0 258.0\"/>"));
    assert_null(strstr(cr_buffer_text(&text), "evaluation"));
    assert_null(strstr(cr_buffer_text(&text), "logarithmic"));
    assert_ok(cr_series_add(&fall, 5, 0.2));
    cr_buffer_clear(&text);
    assert_ok(cr_chart_append(&text, "Loss", "step", lines, 2)); // from 0.2 to 5
    assert_non_null(strstr(cr_buffer_text(&text), "logarithmic"));
    char path[64];
    snprintf(path, sizeof path, "M60.0 %.1fL", 258 - 246 * log(4 / 0.2) / log(5 / 0.2));
    assert_non_null(strstr(cr_buffer_text(&text), path));
    static const char *const ticks[] = {">0.2<", ">0.5<", ">1<", ">2<", ">5<"};
    for (size_t i = 0; i < 5; i++) assert_non_null(strstr(cr_buffer_text(&text), ticks[i]));
    assert_int_equal(count_of(cr_buffer_text(&text), "class=\"grid\""), 5);
    cr_buffer_clear(&text);
    assert_ok(cr_chart_append(&text, "Loss", "step", lines, 12));
    assert_int_equal(count_of(cr_buffer_text(&text), "<g class=\"many\">"), 10);
    assert_int_equal(count_of(cr_buffer_text(&text), "<g class=\"c0\">"), 1);
    assert_non_null(strstr(cr_buffer_text(&text), ">10 others<"));
    // However many decades there are, and wherever they begin, some have a number.
    for (int decades = 1; decades < 60; decades++)
        for (int digit = 1; digit < 10; digit++) {
            cr_series_clear(&fall);
            assert_ok(cr_series_add(&fall, 1, digit * pow(10, 20)));
            assert_ok(cr_series_add(&fall, 2, digit * pow(10, 20 - decades)));
            cr_buffer_clear(&text);
            assert_ok(cr_chart_append(&text, "Loss", "step", lines, 1));
            assert_in_range(count_of(cr_buffer_text(&text), "class=\"grid\""), decades > 3 ? 3 : 2, 10);
        }
    assert_non_null(strstr(cr_buffer_text(&text), ">1e-38<"));
    // What a hostile file may hold.
    static const double values[] = {1e308, -1e308, 0, -5, 1e-300, 5e-324, 0.001, 1.7e308};
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 8; j++) {
            cr_series_clear(&fall);
            assert_ok(cr_series_add(&fall, 1, values[i]));
            assert_ok(cr_series_add(&fall, 1e300, values[j]));
            cr_buffer_clear(&text);
            assert_ok(cr_chart_append(&text, "Loss", "step", lines, 1));
            assert_null(strstr(cr_buffer_text(&text), "nan"));
            assert_null(strstr(cr_buffer_text(&text), "inf"));
        }
    cr_series_release(&fall);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tune),
        cmocka_unit_test(test_federation),
        cmocka_unit_test(test_split_model),
        cmocka_unit_test(test_progress_is_thinned_out),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_what_a_silo_waits_for),
        cmocka_unit_test(test_long_and_odd_texts),
        cmocka_unit_test(test_series_thins_out),
        cmocka_unit_test(test_events_refused),
        cmocka_unit_test(test_a_new_start_forgets_what_it_does_not_know),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_prometheus),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_chart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
