// field/wire.h: every message as bytes, written down by hand, and what is not of their form.
#include "support.h"

#include "field/wire.h"

static const unsigned char head_bytes[CR_WIRE_HEAD_SIZE] = {'C', 'R', 'A', 'C', 3,  0, 0, 0, 8, 7, 6, 5,
                                                            4,   3,   2,   1,   16, 0, 1, 0, 0, 0, 0, 0};
static const unsigned char hello_bytes[CR_WIRE_HELLO_SIZE] = {
    3, 0,    0,    0,    4,    0,    0,    0,    0, 0, 16, 0, 0, 0, 0,
    0, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 1, 5, 0,  0, 0, 1};
static const unsigned char ready_bytes[CR_WIRE_READY_SIZE] = "cpu avx512";
static const unsigned char product_bytes[CR_WIRE_PRODUCT_SIZE] = {
    0x02, 0x01, 0, 0, 1, 0, 0, 0, 0, 0x10, 0,    0, 3, 0, 0,
    0,    7,    0, 0, 0, 0, 1, 0, 0, 0xff, 0x1f, 0, 0, 0, 0x20};
static const unsigned char front_bytes[CR_WIRE_FRONT_SIZE] = {9, 0, 0, 0, 2, 0, 0, 0, 0x34, 0x12};

static void messages_are_these_bytes(void **state)
{
    (void)state;
    unsigned char bytes[64];
    const struct cr_wire_head head = {CR_WIRE_PRODUCT, 0x0102030405060708u, 0x10010};
    cr_wire_put_head(&head, bytes);
    assert_memory_equal(bytes, head_bytes, sizeof head_bytes);
    const struct cr_wire_hello hello = {4, 1 << 20, 0x0123456789abcdefu, 0x100000005u};
    cr_wire_put_hello(&hello, bytes);
    assert_memory_equal(bytes, hello_bytes, sizeof hello_bytes);
    cr_wire_put_ready("cpu avx512", bytes);
    assert_memory_equal(bytes, ready_bytes, sizeof ready_bytes);
    const struct cr_wire_product product = {0x102, true, 4096, 3, 0x10000000007u, 0x1fff, 0x2000};
    cr_wire_put_product(&product, bytes);
    assert_memory_equal(bytes, product_bytes, sizeof product_bytes);
    const struct cr_wire_front front = {9, 2, 0x1234};
    cr_wire_put_front(&front, bytes);
    assert_memory_equal(bytes, front_bytes, sizeof front_bytes);
}

static void messages_come_back(void **state)
{
    (void)state;
    struct cr_wire_head head;
    struct cr_wire_hello hello;
    struct cr_wire_product product;
    struct cr_wire_front front;
    char engine[CR_WIRE_READY_SIZE + 1];
    assert_ok(cr_wire_get_head(head_bytes, "peer", &head));
    assert_int_equal(head.type, CR_WIRE_PRODUCT);
    assert_int_equal(head.request, 0x0102030405060708u);
    assert_int_equal(head.size, 0x10010);
    assert_ok(cr_wire_get_hello(hello_bytes, "peer", &hello));
    assert_int_equal(hello.digits, 4);
    assert_int_equal(hello.shared, 1 << 20);
    assert_int_equal(hello.matrices, 0x0123456789abcdefu);
    assert_int_equal(hello.pads, 0x100000005u);
    assert_ok(cr_wire_get_ready(ready_bytes, "peer", engine));
    assert_string_equal(engine, "cpu avx512");
    assert_ok(cr_wire_get_product(product_bytes, "peer", &product));
    assert_int_equal(product.linear, 0x102);
    assert_true(product.backward);
    assert_int_equal(product.rows, 4096);
    assert_int_equal(product.parts, 3);
    assert_int_equal(product.place, 0x10000000007u);
    assert_int_equal(product.turn, 0x1fff);
    assert_int_equal(product.around, 0x2000);
    assert_ok(cr_wire_get_front(front_bytes, "peer", &front));
    assert_int_equal(front.layers, 9);
    assert_int_equal(front.sequences, 2);
    assert_int_equal(front.rows, 0x1234);
    unsigned char longest[CR_WIRE_READY_SIZE];
    cr_wire_put_ready("an engine whose name is far too long", longest);
    assert_ok(cr_wire_get_ready(longest, "peer", engine));
    assert_string_equal(engine, "an engine whose name is far too ");
}

// The message with `value` at `at` is refused with `sentence`.
static void refused(const unsigned char *message, size_t size, size_t at, unsigned char value,
                    const char *sentence)
{
    unsigned char bytes[64];
    union {
        struct cr_wire_head head;
        struct cr_wire_hello hello;
        struct cr_wire_product product;
        struct cr_wire_front front;
        char engine[CR_WIRE_READY_SIZE + 1];
    } out;
    memcpy(bytes, message, size);
    bytes[at] = value;
    if (message == head_bytes)
        assert_fails(CR_PROTOCOL, sentence, cr_wire_get_head(bytes, "peer", &out.head));
    else if (message == hello_bytes)
        assert_fails(CR_PROTOCOL, sentence, cr_wire_get_hello(bytes, "peer", &out.hello));
    else if (message == ready_bytes)
        assert_fails(CR_PROTOCOL, sentence, cr_wire_get_ready(bytes, "peer", out.engine));
    else if (message == front_bytes)
        assert_fails(CR_PROTOCOL, sentence, cr_wire_get_front(bytes, "peer", &out.front));
    else
        assert_fails(CR_PROTOCOL, sentence, cr_wire_get_product(bytes, "peer", &out.product));
}

static void other_forms_are_refused(void **state)
{
    (void)state;
    const size_t head = sizeof head_bytes, hello = sizeof hello_bytes, ready = sizeof ready_bytes,
                 product = sizeof product_bytes, front = sizeof front_bytes;
    refused(head_bytes, head, 0, 'c', "peer: that is not the protocol of a carrel accelerator");
    refused(head_bytes, head, 4, 0, "unknown form (type 0)");
    refused(head_bytes, head, 4, 7, "unknown form (type 7)");
    refused(head_bytes, head, 7, 1, "unknown form (type 16777219)");
    refused(head_bytes, head, 20, 1, "a message of 4295032848 bytes");
    refused(head_bytes, head, 23, 0x80, "bytes");
    for (size_t i = 24; i < 32; i++) refused(head_bytes, head, i, 1, "unknown form");
    refused(hello_bytes, hello, 0, 1,
            "peer: it speaks version 1 of the accelerator's protocol, this program 3");
    refused(hello_bytes, hello, 4, 2, "peer: 2 digits, not 3 or 4");
    refused(hello_bytes, hello, 4, 5, "peer: 5 digits");
    refused(hello_bytes, hello, 12, 2, "bytes of shared memory");
    refused(hello_bytes, hello, 29, 0x40, "bytes of products of pads");
    refused(ready_bytes, ready, 0, 0, "peer: the name of its engine is no name");
    refused(ready_bytes, ready, 3, 0, "is no name");
    refused(ready_bytes, ready, 3, '\n', "is no name");
    refused(ready_bytes, ready, 3, 0x9b, "is no name");
    refused(ready_bytes, ready, 31, 1, "is no name");
    refused(product_bytes, product, 4, 2,
            "peer: a product of unknown form (direction 2, 4096 rows, 3 parts)");
    refused(product_bytes, product, 9, 0, "(direction 1, 0 rows, 3 parts)");
    refused(product_bytes, product, 12, 0, "(direction 1, 4096 rows, 0 parts)");
    refused(product_bytes, product, 25, 0x20,
            "peer: a product of unknown form (4096 rows, products of pads from row 8447 of 8192 behind word "
            "1099511627783)");
    refused(product_bytes, product, 10, 1, "(69632 rows, products of pads from row 8191 of 8192");
    refused(product_bytes, product, 29, 0, "(4096 rows, products of pads from row 8191 of 0 behind");
    refused(front_bytes, front, 0, 0, "peer: a front of unknown form (0 layers, 2 sequences, 4660 rows)");
    refused(front_bytes, front, 4, 0, "(9 layers, 0 sequences, 4660 rows)");
    refused(front_bytes, front, 5, 0x13, "(9 layers, 4866 sequences, 4660 rows)");
    for (size_t i = 12; i < 16; i++) refused(front_bytes, front, i, 1, "unknown form");
}

static void text_for_terminals_is_clean(void **state)
{
    (void)state;
    char text[] = "no\x1b[2J \x9b"
                  "1m\r\nmore\x7f\0\x01";
    cr_wire_clean_text(text, sizeof text);
    assert_string_equal(text, "no?[2J ?1m??more?");
    assert_int_equal(text[sizeof text - 2], 1); // a text ends at its zero
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_these_bytes),
        cmocka_unit_test(messages_come_back),
        cmocka_unit_test(other_forms_are_refused),
        cmocka_unit_test(text_for_terminals_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
