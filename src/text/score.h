// Scores of answers against references: corpus BLEU-4 as in sacreBLEU 2, ROUGE-L as in rouge-score, and exact
// matches.
//
// Source: Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", ACL 2002; Post,
// "A Call for Clarity in Reporting BLEU Scores", WMT 2018 (tokenizers 13a and zh, smoothing "exp"); Lin,
// "ROUGE: A Package for Automatic Evaluation of Summaries", 2004.
#ifndef CARREL_TEXT_SCORE_H
#define CARREL_TEXT_SCORE_H

#include "base/bytes.h"

enum { CR_SCORE_ORDERS = 4 };

// How a text is split into words. 13a: for BLEU as mteval-v13a; for ROUGE, runs of a-z and 0-9 in the
// lower-cased text. zh: each Chinese character is a word, and the text between them is split as for 13a; for
// ROUGE the same.
enum cr_score_words { CR_SCORE_13A, CR_SCORE_ZH };

// Zero-initialise all but `words`.
struct cr_score {
    enum cr_score_words words;
    size_t answers, exact;
    size_t matches[CR_SCORE_ORDERS], totals[CR_SCORE_ORDERS]; // n-grams of all answers
    size_t answer_words, reference_words;
    double rouge_sum;
};

// Adds an answer and its reference, both valid UTF-8. An exact match ignores white space at both ends.
enum cr_status cr_score_add(struct cr_score *score, struct cr_slice answer, struct cr_slice reference);

double cr_score_bleu(const struct cr_score *score);    // 0 to 100
double cr_score_rouge_l(const struct cr_score *score); // the mean of F1, 0 to 1; NaN without answers

#endif
