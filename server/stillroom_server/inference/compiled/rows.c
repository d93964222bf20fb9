/* Sums of table rows, text by text: scipy's csr_matvecs in half the time.

   A text's sums stay in registers while its rows pass, 64 columns at a time, and rows that come soon
   are fetched from memory meanwhile. Each product is rounded before it is added, and rows are added
   in their order, so the bits are those of scipy's routine, which serves where this is not compiled. */

#include "kernels.h"

#define LANES 16 /* floats of a vector: a cache line, a register of AVX-512 */
#define BLOCK 4  /* vectors in registers at once: twice as many do not fit without AVX-512 */
#define AHEAD 6  /* rows from the one that is added to the one that is fetched */

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define LOAD(floats) (*(const Vector *)(floats))
#define STORE(floats, vector) (*(Vector *)(floats) = (vector))

typedef struct {
    Py_ssize_t texts, columns;
    const int32_t *ends, *rows; /* (texts + 1), (at least ends[texts]) */
    const float *factors;       /* of each row */
    const float *table;
    float *out; /* (texts, columns) */
} Sums;

/* Adds the rows of entries [begin, end) to ``count`` vectors of ``out`` from ``column`` on, of which
   the last is at ``last`` and held ``tail``: it may overlap vectors that were stored before. */
INLINE void add_block(const Sums *s, int32_t begin, int32_t end, float *out, Py_ssize_t column,
                      int count, Py_ssize_t last, Vector tail)
{
    const int32_t all = s->ends[s->texts];
    Vector sums[BLOCK];
    for (int v = 0; v < count - 1; v++)
        sums[v] = LOAD(out + column + v * LANES);
    sums[count - 1] = tail;
    for (int32_t k = begin; k < end; k++) {
        const float *row = s->table + s->rows[k] * s->columns;
        const float factor = s->factors[k];
        if (column == 0 && all - k > AHEAD) {
            const float *next = s->table + s->rows[k + AHEAD] * s->columns;
            for (Py_ssize_t i = 0; i < s->columns; i += LANES)
                __builtin_prefetch(next + i);
        }
        for (int v = 0; v < count - 1; v++)
            sums[v] += factor * LOAD(row + column + v * LANES);
        sums[count - 1] += factor * LOAD(row + last);
    }
    for (int v = 0; v < count - 1; v++)
        STORE(out + column + v * LANES, sums[v]);
    STORE(out + last, sums[count - 1]);
}

FOR_EVERY_CPU
static void add_wide(const Sums *s)
{
    const Py_ssize_t last = s->columns - LANES, last_of_block = (BLOCK - 1) * LANES;
    for (Py_ssize_t text = 0; text < s->texts; text++) {
        const int32_t begin = s->ends[text], end = s->ends[text + 1];
        float *out = s->out + text * s->columns;
        const Vector tail = LOAD(out + last);
        Py_ssize_t c = 0;
        for (; c + BLOCK * LANES < s->columns; c += BLOCK * LANES)
            add_block(s, begin, end, out, c, BLOCK, c + last_of_block, LOAD(out + c + last_of_block));
        switch ((s->columns - c + LANES - 1) / LANES) {
        case 1: add_block(s, begin, end, out, c, 1, last, tail); break;
        case 2: add_block(s, begin, end, out, c, 2, last, tail); break;
        case 3: add_block(s, begin, end, out, c, 3, last, tail); break;
        default: add_block(s, begin, end, out, c, BLOCK, last, tail);
        }
    }
}

static void add_narrow(const Sums *s)
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
        (s.columns < LANES ? add_narrow : add_wide)(&s);
        if (state != NULL)
            PyEval_RestoreThread(state);
    }
    return done(views, 5, why);
}
