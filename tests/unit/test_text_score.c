// Scores of answers. The values are sacreBLEU 2.6's and rouge-score 0.1.2's, over the same pairs
// (tests/golden/make_scores.py).
#include "support.h"

#include "format/json.h"
#include "text/score.h"

#include <math.h>

static struct cr_score score_of(enum cr_score_words words, const char *const pairs[][2], size_t count)
{
    struct cr_score score = {.words = words};
    for (size_t i = 0; i < count; i++)
        assert_ok(cr_score_add(&score, cr_slice_of_string(pairs[i][0]), cr_slice_of_string(pairs[i][1])));
    return score;
}

// Within rounding.
static void near(double got, double wanted)
{
    assert_true(fabs(got - wanted) <= 1e-9 * fmax(1, fabs(wanted)));
}

static void corpora_score_as_elsewhere(void **state)
{
    (void)state;
    CR_CLEANUP(cr_json_release) struct cr_json *corpora = NULL;
    assert_ok(cr_json_read("tests/golden/scores/expected.json", 1 << 20, &corpora));
    assert_true(cr_json_count(corpora) > 100);
    for (size_t i = 0; i < cr_json_count(corpora); i++) {
        const struct cr_json *corpus = cr_json_at(corpora, i), *pairs = cr_json_member(corpus, "pairs");
        bool zh = cr_json_is_string(cr_json_member(corpus, "words"), "zh");
        struct cr_score score = {.words = zh ? CR_SCORE_ZH : CR_SCORE_13A};
        for (size_t k = 0; k < cr_json_count(pairs); k++)
            assert_ok(cr_score_add(&score, cr_json_string(cr_json_at(cr_json_at(pairs, k), 0)),
                                   cr_json_string(cr_json_at(cr_json_at(pairs, k), 1))));
        near(cr_score_bleu(&score), cr_json_number(cr_json_member(corpus, "bleu"), -1));
        near(cr_score_rouge_l(&score), cr_json_number(cr_json_member(corpus, "rouge_l"), -1));
    }
}

static void exact_means_but_for_space_round_it(void **state)
{
    (void)state;
    const char *const pairs[][2] = {
        {" a b\n", "a b"}, {"a b", "a  b"}, {"", "\u3000"}, {"a", "A"}, {"", "a"}};
    struct cr_score score = score_of(CR_SCORE_13A, pairs, 5);
    assert_int_equal(score.exact, 2);
    assert_int_equal(score.answers, 5);
}

// sacreBLEU's tokenizer for Chinese drops space at the ends before it looks at pairs of characters: behind a
// space the point would be a word of its own.
static void space_at_the_ends_is_no_character(void **state)
{
    (void)state;
    const char *const pairs[][2] = {{" .5 \u4e00 \u4e8c \u4e09", ".5 \u4e00 \u4e8c \u4e09"}};
    struct cr_score score = score_of(CR_SCORE_ZH, pairs, 1);
    near(cr_score_bleu(&score), 100);
}

static void no_answer_scores_nothing(void **state)
{
    (void)state;
    const char *const nothing[][2] = {{"", "a b c d"}}, *const other[][2] = {{"x y z w", "a b c d"}};
    struct cr_score none = {0}, empty = score_of(CR_SCORE_13A, nothing, 1),
                    wrong = score_of(CR_SCORE_13A, other, 1);
    assert_true(cr_score_bleu(&none) == 0 && isnan(cr_score_rouge_l(&none)));
    assert_true(cr_score_bleu(&empty) == 0 && cr_score_rouge_l(&empty) == 0);
    assert_true(cr_score_bleu(&wrong) == 0 && cr_score_rouge_l(&wrong) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(corpora_score_as_elsewhere),
        cmocka_unit_test(exact_means_but_for_space_round_it),
        cmocka_unit_test(space_at_the_ends_is_no_character),
        cmocka_unit_test(no_answer_scores_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
