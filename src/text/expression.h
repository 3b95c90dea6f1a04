// Regular expressions of pre-tokenizers. Hugging Face runs them with Oniguruma in Ruby's syntax; here they
// are checked to lie in the common part of that and PCRE2's, rewritten where the two differ in meaning (\s,
// \w, \u), and run by PCRE2's interpreter under limits of time and memory.
#ifndef CARREL_TEXT_EXPRESSION_H
#define CARREL_TEXT_EXPRESSION_H

#include "base/bytes.h"

struct cr_expression;

// CR_UNSUPPORTED where it uses what is outside the common part, CR_INVALID where it is no expression; `name`
// (a file, or a key) begins the message. `_literal` matches the text itself, `_whole` whole texts alone, as
// Python's re.fullmatch.
enum cr_status cr_expression_new(struct cr_slice pattern, const char *name, struct cr_expression **out);
enum cr_status cr_expression_new_whole(struct cr_slice pattern, const char *name, struct cr_expression **out);
enum cr_status cr_expression_new_literal(struct cr_slice text, const char *name, struct cr_expression **out);
void cr_expression_free(struct cr_expression *expression); // NULL is allowed

// One search through one text; several may go on over one expression at once.
struct cr_search {
    const struct cr_expression *expression;
    void *matched, *limits; // PCRE2's
    struct cr_slice text;
    size_t at;       // where the next search starts
    size_t last_end; // of the last match; SIZE_MAX: none
};

enum cr_status cr_search_init(struct cr_search *search, const struct cr_expression *expression);
void cr_search_release(struct cr_search *search);                    // usable with CR_CLEANUP
void cr_search_over(struct cr_search *search, struct cr_slice text); // valid UTF-8; starts at its front

// The next match that does not overlap the one before, [*start, *end); *found false at the end. A text on
// which the expression takes too long is CR_INVALID.
enum cr_status cr_search_next(struct cr_search *search, bool *found, size_t *start, size_t *end);

#endif
