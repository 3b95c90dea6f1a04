// What the tests of the trainer share: texts in a folder, and runs over them.
#ifndef CARREL_TESTS_TRAINER_SUPPORT_H
#define CARREL_TESTS_TRAINER_SUPPORT_H

#include "tuning_support.h"

static char q_proj[] = "q_proj", v_proj[] = "v_proj", all_linear[] = "all-linear";
static char *two_modules[] = {q_proj, v_proj};
static char *all_modules[] = {all_linear};
static const char *const texts[] = {
    "the ward is quiet", "a fever falls by morning", "he asked for water", "rest, then walk",
    "no pain since",     "her pulse is slow",        "two tablets",        "the cut heals well",
    "come back soon",    "a cough at night",         "blood is drawn now", "the child sleeps at last.",
};
enum { TEXTS = sizeof texts / sizeof *texts };

// A folder with all.jsonl and three silos' shares of it; a compute of two threads.
struct fixture {
    char folder[32];
    char all[64], silo[3][64];
    struct cr_compute *compute;
};

static inline void place(struct fixture *fixture, const char *name, char *path)
{
    char folder[32];
    memcpy(folder, fixture->folder, sizeof folder); // the path may lie in the fixture, too
    snprintf(path, 64, "%s/%s", folder, name);
}

static inline void write_share(const char *path, size_t first, size_t last)
{
    char rows[4096] = "";
    for (size_t i = first; i < last; i++)
        snprintf(rows + strlen(rows), sizeof rows - strlen(rows), "{\"text\": \"%s\"}\n", texts[i]);
    write_text(path, rows);
}

static inline int set_up(void **state)
{
    struct fixture *fixture;
    assert_ok(cr_allocate(1, sizeof *fixture, &fixture));
    make_folder(fixture->folder);
    place(fixture, "all.jsonl", fixture->all);
    write_share(fixture->all, 0, TEXTS);
    static const size_t bounds[4] = {0, 2, 7, TEXTS}; // uneven on purpose
    for (size_t i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "silo%zu.jsonl", i);
        place(fixture, name, fixture->silo[i]);
        write_share(fixture->silo[i], bounds[i], bounds[i + 1]);
    }
    assert_ok(cr_compute_new(2, &fixture->compute));
    *state = fixture;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;
    remove_folder(fixture->folder);
    cr_compute_free(fixture->compute);
    free(fixture);
    return 0;
}

static inline struct cr_trainer *new_trainer(const struct cr_tuning_config *config,
                                             struct cr_compute *compute)
{
    struct cr_trainer *trainer;
    assert_ok(cr_trainer_new(config, compute, NULL, &trainer));
    return trainer;
}

static inline void assert_same_values(struct cr_trainer *a, struct cr_trainer *b)
{
    assert_int_equal(cr_trainer_parameters(a)->count, cr_trainer_parameters(b)->count);
    assert_memory_equal(cr_trainer_parameters(a)->values, cr_trainer_parameters(b)->values,
                        cr_trainer_parameters(a)->count * sizeof(float));
}

static inline struct cr_tuning_config dropping_run(struct fixture *fixture)
{
    struct cr_tuning_config config = small_run(fixture->all, all_modules, 1);
    config.lora.lora_dropout = 0.1;
    return config;
}

// The two structures that have something of their own to get wrong: dropout, and a projection's gradient.
static inline struct cr_tuning_config prefix_run(struct fixture *fixture)
{
    struct cr_tuning_config config = small_run(fixture->all, NULL, 0);
    config.method = CR_METHOD_PREFIX_TUNING;
    config.prefix_tuning = (struct cr_prefix_config){
        .num_virtual_tokens = 6, .prefix_projection = true, .encoder_hidden_size = 12};
    return config;
}

#endif
