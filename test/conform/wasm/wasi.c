#include "world.h"
static const struct conform_case cases[] = {
    {"case_none", NULL, "conform_mailbox", "case_002", false, 0}};
const struct conform_area conform_wasi = {"wasi", cases, 1};
