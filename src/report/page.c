#include "report/page.h"

#include "base/clock.h"
#include "base/words.h"
#include "report/chart.h"

#include <math.h>

static const char style[] =
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1b1f27;--dim:#5c6573;--line:#dfe3e9;--card:#f6f7f9;"
    "--good:#0b7a4b;--bad:#b42318;--busy:#1d4ed8;--k0:#2563eb;--k1:#c2620a;--k2:#0b8457;--k3:#c02678;"
    "--k4:#7c3aed;--k5:#0e7f99;--k6:#5f7d0f;--k7:#d02b2b}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#14171c;--ink:#e7eaf0;--dim:#9aa4b2;--line:#2d333d;"
    "--card:#1c2027;--good:#4ade9a;--bad:#ff8a80;--busy:#8ab4ff;--k0:#6ea8ff;--k1:#ffb454;--k2:#4fd69c;"
    "--k3:#ff86c1;--k4:#b79bff;--k5:#4fd4ea;--k6:#b4d957;--k7:#ff8c85}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);"
    "font:15px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif}\n"
    "main{max-width:960px;margin:0 auto;padding:28px 20px 40px}h1{font-size:24px;margin:0 12px 0 0;"
    "display:inline-block}h2{font-size:17px;margin:32px 0 8px}\n"
    ".state{display:inline-block;padding:1px 11px;border-radius:99px;border:1px solid currentColor;"
    "font-size:13px;font-weight:600;vertical-align:4px}.finished{color:var(--good)}.failed,.killed{"
    "color:var(--bad)}.running,.stopped{color:var(--busy)}.when,footer{color:var(--dim);margin:4px 0 0;"
    "font-size:14px}.why{border-left:3px solid var(--bad);padding:2px 12px;margin:14px 0;"
    "overflow-wrap:anywhere}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px;margin:20px 0 0;"
    "padding:0}.cards div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:9px "
    "13px}.cards dt{color:var(--dim);font-size:13px}.cards dd{margin:0;font-size:19px;font-weight:600;"
    "font-variant-numeric:tabular-nums}\n"
    "small{color:var(--dim);font-size:13px;font-weight:400;white-space:nowrap}"
    "figure{margin:28px 0 0}figcaption{font-size:17px;font-weight:600}svg{display:block;width:100%;"
    "height:auto}.grid{stroke:var(--line)}.tick{stroke:var(--dim)}svg text{fill:var(--dim);font-size:13px}"
    ".x{text-anchor:middle}.y{text-anchor:end}svg path{fill:none;stroke:var(--k);stroke-width:2;"
    "stroke-linejoin:round;stroke-linecap:round}svg circle{fill:var(--k)}svg .touch{fill:transparent}\n"
    ".legend{list-style:none;margin:2px 0 6px;padding:0;display:flex;flex-wrap:wrap;gap:2px 18px;"
    "font-size:14px;color:var(--dim)}.legend li:before{content:\"\";display:inline-block;width:18px;"
    "border-top:3px solid var(--k);margin-right:7px;vertical-align:4px}\n"
    ".c0{--k:var(--k0)}.c1{--k:var(--k1)}.c2{--k:var(--k2)}.c3{--k:var(--k3)}.c4{--k:var(--k4)}.c5{"
    "--k:var(--k5)}.c6{--k:var(--k6)}.c7{--k:var(--k7)}.many{--k:var(--dim)}g.many path{stroke-width:1;"
    "opacity:.6}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;"
    "font-size:14px}th,td{text-align:right;padding:5px 10px;border-bottom:1px solid var(--line);"
    "white-space:nowrap}th{color:var(--dim);font-weight:500}th:first-child,td:first-child,.word{text-align:"
    "left}\n"
    "details{margin:32px 0 0;border:1px solid var(--line);border-radius:8px}summary{cursor:pointer;padding:"
    "8px 13px;font-weight:600}pre{margin:0;padding:4px 13px 12px;overflow-x:auto;font-size:13px}footer{"
    "margin-top:32px}\n"
    // Pictures are as wide as the page: on a telephone a third of the width for which they are drawn.
    "@media(max-width:600px){svg{overflow:visible}svg text{font-size:25px}svg path{stroke-width:4}g.many "
    "path{"
    "stroke-width:2}svg circle:not(.touch){r:6px}svg .touch{r:16px}.x:not(.name):nth-of-type(even){"
    "display:none}svg .name{transform:translateY(18px)}figure{padding-bottom:10px}}\n";

static enum cr_status append_time(struct cr_buffer *out, double time)
{
    char text[CR_CLOCK_TEXT_SIZE];
    if (!(time >= 0 && time < 1e11)) return cr_append_u8(out, '?');
    cr_clock_format((int64_t)time, text);
    text[10] = ' ';
    return cr_append_format(out, "%.19s UTC", text);
}

static enum cr_status append_why(struct cr_buffer *out, const char *why)
{
    if (why[0] == 0) return CR_OK;
    CR_TRY(cr_append_format(out, "<p class=\"why\">"));
    CR_TRY(cr_html_append(out, why));
    return cr_append_format(out, "</p>\n");
}

static enum cr_status append_head(struct cr_buffer *out, const struct cr_story *story, const char *name,
                                  const char *state, bool alive, double now)
{
    CR_TRY(cr_append_format(out,
                            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                            "style-src 'unsafe-inline'\">\n"
                            "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"));
    if (alive) CR_TRY(cr_append_format(out, "<meta http-equiv=\"refresh\" content=\"10\">\n"));
    CR_TRY(cr_append_format(out, "<title>"));
    CR_TRY(cr_html_append(out, name));
    CR_TRY(cr_append_format(out, " (carrel)</title>\n<style>\n%s</style></head>\n<body><main><header><h1>",
                            style));
    CR_TRY(cr_html_append(out, name));
    CR_TRY(cr_append_format(out, "</h1><span class=\"state %s\">%s</span>\n<p class=\"when\">carrel ", state,
                            state));
    CR_TRY(cr_html_append(out, story->role));
    if (story->starts > 1) // the time of earlier starts is not included
        CR_TRY(cr_append_format(out, ", start %zu at ", story->starts));
    else
        CR_TRY(cr_append_format(out, ", started "));
    CR_TRY(append_time(out, story->began));
    CR_TRY(cr_append_format(out, alive ? ", running for " : ", took "));
    CR_TRY(cr_append_duration(out, (alive ? now : story->updated) - story->began));
    CR_TRY(cr_append_format(out, "</p></header>\n"));
    CR_TRY(append_why(out, story->ended ? story->why : story->waiting));
    return append_why(out, story->warning);
}

static enum cr_status begin_card(struct cr_buffer *out, const char *name)
{
    return cr_append_format(out, "<div><dt>%s</dt><dd>", name);
}

static enum cr_status end_card(struct cr_buffer *out)
{
    return cr_append_format(out, "</dd></div>\n");
}

static enum cr_status append_of(struct cr_buffer *out, double done, double all)
{
    if (isnan(done)) return CR_OK;
    CR_TRY(cr_append_count(out, done));
    if (isnan(all)) return CR_OK;
    CR_TRY(cr_append_format(out, " <small>of "));
    CR_TRY(cr_append_count(out, all));
    return cr_append_format(out, "</small>");
}

static enum cr_status append_progress(struct cr_buffer *out, const char *name, double done, double all)
{
    if (isnan(done)) return CR_OK;
    CR_TRY(begin_card(out, name));
    CR_TRY(append_of(out, done, all));
    return end_card(out);
}

enum form { COUNT, LOSS, FIGURE, SHARE, DURATION, TIME };

static enum cr_status append_number(struct cr_buffer *out, double value, enum form form)
{
    if (form == COUNT) return cr_append_count(out, value);
    if (form == LOSS) return cr_append_loss(out, value);
    if (form == FIGURE) return cr_append_format(out, "%.4g", value);
    if (form == SHARE) return cr_append_format(out, "%.1f %%", 100 * value);
    return form == DURATION ? cr_append_duration(out, value) : append_time(out, value);
}

static enum cr_status append_figure(struct cr_buffer *out, const char *name, double value, enum form form)
{
    if (isnan(value)) return CR_OK;
    CR_TRY(begin_card(out, name));
    CR_TRY(append_number(out, value, form));
    return end_card(out);
}

static enum cr_status append_cards(struct cr_buffer *out, const struct cr_story *story, bool alive,
                                   double now)
{
    CR_TRY(cr_append_format(out, "<dl class=\"cards\">\n"));
    CR_TRY(append_progress(out, "round", story->round, story->rounds));
    CR_TRY(append_progress(out, "step", story->step, story->steps));
    CR_TRY(append_progress(out, "examples with the server", story->sent, story->to_send));
    CR_TRY(append_figure(out, "training loss", story->loss, LOSS));
    CR_TRY(append_figure(out, "evaluation loss", story->eval_loss, LOSS));
    CR_TRY(append_figure(out, "accuracy", story->eval_accuracy, SHARE));
    CR_TRY(append_figure(out, "tokens/s", story->tokens_per_second, COUNT));
    CR_TRY(append_figure(out, "learning rate", story->learning_rate, FIGURE));
    CR_TRY(append_figure(out, "rows verified", story->rows_verified, COUNT));
    CR_TRY(append_figure(out, "pads ready", alive ? story->pads_ready : NAN, COUNT));
    CR_TRY(append_figure(out, "time left, about", alive ? cr_story_eta(story, now) : NAN, DURATION));
    return cr_append_format(out, "</dl>\n");
}

static enum cr_status append_charts(struct cr_buffer *out, const struct cr_story *story)
{
    const struct cr_chart_line steps[] = {{"training", &story->train}, {"evaluation", &story->eval}};
    CR_TRY(cr_chart_append(out, "Loss by step", "step", steps, 2));
    CR_FREE struct cr_chart_line *rounds = NULL;
    CR_TRY(cr_allocate(story->silo_count + 1, sizeof *rounds, &rounds));
    rounds[0] = (struct cr_chart_line){"federation", &story->federation};
    for (size_t i = 0; i < story->silo_count; i++)
        rounds[i + 1] = (struct cr_chart_line){story->silos[i].name, &story->silos[i].losses};
    return cr_chart_append(out, "Loss by round", "round", rounds, story->silo_count + 1);
}

static enum cr_status append_cell(struct cr_buffer *out, double value, enum form form)
{
    CR_TRY(cr_append_format(out, "<td>"));
    if (!isnan(value)) CR_TRY(append_number(out, value, form));
    return cr_append_format(out, "</td>");
}

static enum cr_status append_silo(struct cr_buffer *out, const struct cr_story *story,
                                  const struct cr_story_silo *silo, bool alive, bool split, bool sliced,
                                  bool evaluated)
{
    CR_TRY(cr_append_format(out, "<tr><td>"));
    CR_TRY(cr_html_append(out, silo->name));
    CR_TRY(cr_append_format(out, "</td>"));
    if (alive) {
        CR_TRY(cr_append_format(out, "<td class=\"word\">%s</td><td>", cr_story_silo_state(story, silo)));
        CR_TRY(append_of(out, silo->step, silo->steps));
        CR_TRY(cr_append_format(out, "</td>"));
    }
    if (split) {
        CR_TRY(append_cell(out, silo->examples, COUNT));
    } else {
        CR_TRY(append_cell(out, silo->trained, COUNT));
        CR_TRY(append_cell(out, silo->loss, LOSS));
        CR_TRY(append_cell(out, silo->tokens_per_second > 0 ? silo->tokens_per_second : NAN, COUNT));
    }
    if (sliced) CR_TRY(append_cell(out, silo->rows_verified, COUNT));
    if (evaluated) CR_TRY(append_cell(out, silo->eval_loss, LOSS));
    if (evaluated) CR_TRY(append_cell(out, silo->eval_accuracy, SHARE));
    if (alive && cr_story_silo_is_here(silo))
        CR_TRY(cr_append_format(out, "<td>connected</td>"));
    else
        CR_TRY(append_cell(out, silo->seen, TIME));
    return cr_append_format(out, "</tr>\n");
}

static enum cr_status append_silos(struct cr_buffer *out, const struct cr_story *story, bool alive)
{
    if (story->silo_count == 0) return CR_OK;
    bool sliced = false, evaluated = false, split = false;
    for (size_t i = 0; i < story->silo_count; i++) {
        split |= story->silos[i].sending;
        sliced |= !isnan(story->silos[i].rows_verified);
        evaluated |= !isnan(story->silos[i].eval_loss);
    }
    CR_TRY(cr_append_format(out,
                            "<h2>Silos</h2>\n<div class=\"wide\"><table><tr><th>silo</th>%s%s%s%s"
                            "<th>last sign of life</th></tr>\n",
                            alive ? "<th class=\"word\">state</th><th>step</th>" : "",
                            split ? "<th>examples</th>" : "<th>last round</th><th>loss</th><th>tokens/s</th>",
                            sliced ? "<th>rows verified</th>" : "",
                            evaluated ? "<th>evaluation</th><th>accuracy</th>" : ""));
    for (size_t i = 0; i < story->silo_count; i++)
        CR_TRY(append_silo(out, story, &story->silos[i], alive, split, sliced, evaluated));
    return cr_append_format(out, "</table></div>\n");
}

enum cr_status cr_page_append(struct cr_buffer *out, const struct cr_story *story, const char *name,
                              const char *settings, bool alive, double now)
{
    CR_TRY(append_head(out, story, name, cr_story_state(story, alive), alive, now));
    CR_TRY(append_cards(out, story, alive, now));
    CR_TRY(append_charts(out, story));
    CR_TRY(append_silos(out, story, alive));
    if (settings[0] != 0) {
        CR_TRY(cr_append_format(out, "<details><summary>Settings</summary><pre>"));
        CR_TRY(cr_html_append(out, settings));
        CR_TRY(cr_append_format(out, "</pre></details>\n"));
    }
    CR_TRY(cr_append_format(out, "<footer>Written by carrel " CARREL_VERSION ", "));
    CR_TRY(append_time(out, now));
    return cr_append_format(out, "</footer></main></body></html>\n");
}
