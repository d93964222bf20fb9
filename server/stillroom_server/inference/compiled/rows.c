/* Sums of table rows, text by text: scipy's csr_matvecs in half the time.

   A text's sums stay in registers while its rows pass, some 64 columns at a time, and rows
   that come soon are fetched from memory meanwhile. Each product is rounded before it is added, and
   rows are added in their order, so the bits are those of scipy's routine, which serves where this is not compiled. */

#include "kernels.h"

#define CACHE_LINE 16 /* floats */
#define AHEAD 6       /* rows from the one that is added to the one that is fetched */

typedef struct {
    Py_ssize_t texts, columns;
    const int32_t *ends, *rows; /* (texts + 1), (at least ends[texts]) */
    const float *factors;       /* of each row */
    const float *table;
    float *out; /* (texts, columns) */
} Sums;

#ifdef __x86_64__
#define NAME(name) name##_16
#define TARGET __attribute__((target("avx512f")))
#define LANES 16
#define BLOCK 4
#include "rows_of_lanes.h"

#define NAME(name) name##_8
#define TARGET __attribute__((target("avx2")))
#define LANES 8
#define BLOCK 8
#include "rows_of_lanes.h"
#endif

#define NAME(name) name##_4
#define TARGET
#define LANES 4
#define BLOCK 8
#include "rows_of_lanes.h"

static void add_few_columns(const Sums *s)
{
    for (Py_ssize_t text = 0; text < s->texts; text++) {
        float *out = s->out + text * s->columns;
        for (int32_t k = s->ends[text]; k < s->ends[text + 1]; k++) {
            const float *row = s->table + s->rows[k] * s->columns;
            for (Py_ssize_t i = 0; i < s->columns; i++)
                out[i] += s->factors[k] * row[i];
        }
    }
}

static Py_ssize_t most_lanes = 16;

/* limit_lanes(lanes): vectors of no more floats than that from now on. For tests: the bits are the
   same. */
PyObject *limit_lanes(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    (void)module;
    if (given != 1) {
        PyErr_SetString(PyExc_TypeError, "limit_lanes takes 1 argument");
        return NULL;
    }
    Py_ssize_t lanes;
    if (take_size(args[0], &lanes) < 0)
        return NULL;
    most_lanes = lanes;
    Py_RETURN_NONE;
}

static void add_rows(const Sums *s)
{
#ifdef __x86_64__
    const Py_ssize_t most = s->columns < most_lanes ? s->columns : most_lanes;
    if (most >= 16 && __builtin_cpu_supports("avx512f"))
        add_rows_16(s);
    else if (most >= 8 && __builtin_cpu_supports("avx2"))
        add_rows_8(s);
    else
#endif
    if (s->columns >= 4)
        add_rows_4(s);
    else
        add_few_columns(s);
}

/* Why this would read or write elsewhere; NULL: it would not. */
static const char *wrong(const Sums *s, Py_ssize_t table_rows, const Py_buffer *views)
{
    const Py_ssize_t entries = views[1].len / 4;
    if (views[0].len / 4 != s->texts + 1 || views[2].len / 4 < entries ||
        views[3].len / 4 != table_rows * s->columns || views[4].len / 4 != s->texts * s->columns)
        return "arrays and sizes do not fit together";
    if (s->ends[0] < 0 || s->ends[s->texts] > entries)
        return "texts end outside of the rows";
    for (Py_ssize_t text = 0; text < s->texts; text++)
        if (s->ends[text] > s->ends[text + 1])
            return "a text ends before it begins";
    for (int32_t k = s->ends[0]; k < s->ends[s->texts]; k++)
        if ((uint32_t)s->rows[k] >= (uint32_t)table_rows)
            return "a row is not in the table";
    return NULL;
}

/* csr_matvecs(texts, table_rows, columns, ends, rows, factors, table, out), as scipy's. */
PyObject *csr_matvecs(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    (void)module;
    Py_buffer views[5];
    Sums s;
    Py_ssize_t table_rows;
    if (given != 8) {
        PyErr_SetString(PyExc_TypeError, "csr_matvecs takes 8 arguments");
        return NULL;
    }
    if (take_size(args[0], &s.texts) < 0 || take_size(args[1], &table_rows) < 0 ||
        take_size(args[2], &s.columns) < 0 || take_arrays(args + 3, "iiffF", views) < 0)
        return NULL;
    s.ends = views[0].buf, s.rows = views[1].buf, s.factors = views[2].buf;
    s.table = views[3].buf, s.out = views[4].buf;
    const char *why = wrong(&s, table_rows, views);
    if (why == NULL) {
        PyThreadState *state = s.texts > FEW_TEXTS ? PyEval_SaveThread() : NULL;
        add_rows(&s);
        if (state != NULL)
            PyEval_RestoreThread(state);
    }
    return done(views, 5, why);
}
