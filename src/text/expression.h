// Regular expressions of pre-tokenizers. Hugging Face runs them with Oniguruma in Ruby's syntax. Here they
// must lie in the common subset of that and PCRE2's; where the two differ in meaning (\s, \w, \u) they are
// rewritten; PCRE2's interpreter runs them under limits of time and memory.
#ifndef CARREL_TEXT_EXPRESSION_H
#define CARREL_TEXT_EXPRESSION_H

#include "base/bytes.h"

struct cr_expression;

// CR_UNSUPPORTED if the pattern is outside the common subset, CR_INVALID if it is not a regular expression;
// `name` (a file, or a key) begins the message. `_literal` matches the text itself; `_whole` matches only
// whole texts, as Python's re.fullmatch.
enum cr_status cr_expression_new(struct cr_slice pattern, const char *name, struct cr_expression **out);
enum cr_status cr_expression_new_whole(struct cr_slice pattern, const char *name, struct cr_expression **out);
enum cr_status cr_expression_new_literal(struct cr_slice text, const char *name, struct cr_expression **out);
void cr_expression_free(struct cr_expression *expression); // NULL is allowed

// A search through a text; several may use one expression at the same time.
struct cr_search {
    const struct cr_expression *expression;
    void *matched, *limits; // PCRE2's
    struct cr_slice text;
    size_t at;       // where the next search starts
    size_t last_end; // end of the last match; SIZE_MAX: none
};

enum cr_status cr_search_init(struct cr_search *search, const struct cr_expression *expression);
void cr_search_release(struct cr_search *search);                    // usable with CR_CLEANUP
void cr_search_over(struct cr_search *search, struct cr_slice text); // borrowed; valid UTF-8

// Finds the next match that does not overlap the previous one, [*start, *end); *found is false if there is
// none. CR_INVALID if the expression takes too long on this text.
enum cr_status cr_search_next(struct cr_search *search, bool *found, size_t *start, size_t *end);

#endif
