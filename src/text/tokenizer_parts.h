// The inside of a tokenizer, shared by tokenizer.c (what it does) and tokenizer_open.c (how it is made of
// files).
#ifndef CARREL_TEXT_TOKENIZER_PARTS_H
#define CARREL_TEXT_TOKENIZER_PARTS_H

#include "text/added.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/splitter.h"
#include "text/template.h"
#include "text/tokenizer.h"

struct cr_tokenizer {
    struct cr_normalizer *normalizer;
    struct cr_splitter *splitter;
    struct cr_bpe *bpe;
    struct cr_added *added;
    struct cr_template template;
    struct cr_text_decoder *decoder;
    size_t vocabulary;
    uint32_t bos, eos;       // or CR_NO_TOKEN
    struct cr_buffer beside; // what files beside it changed
};

#endif
