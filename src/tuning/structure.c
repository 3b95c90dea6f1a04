#include "tuning/structure.h"

#include <stdlib.h>

void cr_structure_free(struct cr_structure *structure)
{
    if (!structure) return;
    structure->kind->release(structure);
    cr_parameters_release(&structure->parameters);
    free(structure->tuned.layers);
    free(structure);
}
