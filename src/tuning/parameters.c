#include "tuning/parameters.h"

#include "base/secret.h"

#include <stdlib.h>
#include <string.h>

enum cr_status cr_parameters_add(struct cr_parameters *parameters, const char *name, size_t rows,
                                 size_t columns)
{
    if (parameters->values) return cr_fail(CR_INTERNAL, "parameter %s: added after the commit", name);
    size_t count, end;
    if (__builtin_mul_overflow(rows, columns > 0 ? columns : 1, &count) ||
        __builtin_add_overflow(parameters->count, count, &end) || end > SIZE_MAX / 2 / sizeof(float))
        return cr_fail(CR_NO_MEMORY, "parameter %s: its size passes the address space", name);
    CR_TRY(cr_reallocate(parameters->item_count + 1, sizeof *parameters->items, &parameters->items));
    char *copy;
    CR_TRY(cr_copy_string(name, &copy));
    parameters->items[parameters->item_count] = (struct cr_parameter){
        .name = copy,
        .rank = columns > 0 ? 2 : 1,
        .shape = {rows, columns > 0 ? columns : 1},
        .offset = parameters->count,
        .count = count,
    };
    parameters->item_count++;
    parameters->count = end;
    return CR_OK;
}

enum cr_status cr_parameters_commit(struct cr_parameters *parameters, bool training)
{
    CR_TRY(cr_secret_allocate(parameters->count, sizeof(float), &parameters->values));
    if (!training) return CR_OK;
    return cr_secret_allocate(parameters->count, sizeof(float), &parameters->gradients);
}

void cr_parameters_release(struct cr_parameters *parameters)
{
    cr_secret_free(&parameters->values);
    cr_secret_free(&parameters->gradients);
    for (size_t i = 0; i < parameters->item_count; i++) free(parameters->items[i].name);
    free(parameters->items);
    *parameters = (struct cr_parameters){0};
}

void cr_parameters_zero_gradients(struct cr_parameters *parameters)
{
    memset(parameters->gradients, 0, parameters->count * sizeof(float));
}

const struct cr_parameter *cr_parameters_find(const struct cr_parameters *parameters, const char *name)
{
    for (size_t i = 0; i < parameters->item_count; i++)
        if (strcmp(parameters->items[i].name, name) == 0) return &parameters->items[i];
    return NULL;
}
