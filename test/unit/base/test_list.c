// SPDX-License-Identifier: Apache-2.0
// The intrusive list, forwards and backwards.
#include "base/list.h"
#include "cm.h"

struct entry {
    int number;
    struct viv_list link;
};

static void assert_is(const struct viv_list *head, const int *numbers, size_t count)
{
    size_t i = 0;
    for (struct viv_list *at = head->next; at != head; at = at->next, i++) {
        assert_true(i < count);
        assert_int_equal(VIV_CONTAINER_OF(at, struct entry, link)->number, numbers[i]);
    }
    assert_int_equal(i, count);
    for (struct viv_list *at = head->prev; at != head; at = at->prev)
        assert_int_equal(VIV_CONTAINER_OF(at, struct entry, link)->number, numbers[--i]);
    assert_int_equal(i, 0);
    assert_int_equal(viv_list_is_empty(head), count == 0);
}

static void appends_removes_splices(void **state)
{
    (void)state;
    struct viv_list a, b;
    struct entry e[5];
    viv_list_init(&a);
    viv_list_init(&b);
    for (int i = 0; i < 5; i++) {
        e[i].number = i;
        viv_list_init(&e[i].link);
    }
    assert_is(&a, NULL, 0);
    viv_list_remove(&e[0].link); // on no list: harmless
    viv_list_append(&a, &e[0].link);
    viv_list_append(&a, &e[1].link);
    viv_list_append(&a, &e[2].link);
    assert_is(&a, (int[]){0, 1, 2}, 3);
    viv_list_remove(&e[1].link);
    viv_list_remove(&e[1].link);
    assert_is(&a, (int[]){0, 2}, 2);
    viv_list_append(&b, &e[3].link);
    viv_list_append(&b, &e[4].link);
    viv_list_splice(&a, &b);
    assert_is(&a, (int[]){0, 2, 3, 4}, 4);
    assert_is(&b, NULL, 0);
    viv_list_splice(&a, &b); // from empty
    assert_is(&a, (int[]){0, 2, 3, 4}, 4);
    viv_list_splice(&b, &a); // to empty
    assert_is(&b, (int[]){0, 2, 3, 4}, 4);
    assert_is(&a, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(appends_removes_splices)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
