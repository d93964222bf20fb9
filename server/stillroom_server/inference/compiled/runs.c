/* The counted runs of texts: found_runs.py says what they are, and finds them where this is not
   compiled; both are held to the same constants when this is loaded. */

#include "kernels.h"

#include <math.h>

#define MODULUS 0x7fffffff /* 2**31 - 1 */
#define FIRST 742938285
#define SECOND 950706376

typedef struct {
    Py_ssize_t texts;
    const int32_t *ids;     /* (offsets[texts]) */
    const int64_t *offsets; /* (texts + 1) */
    const int64_t *slots;   /* (mask + 1): row << 31 | print */
    uint64_t mask;
    Py_ssize_t least, most; /* tokens of a run */
    int32_t *ends, *rows;   /* (texts + 1), (as many as there can be) */
    float *factors;         /* of each row */
} Runs;

/* Of what is below 2**61: 2**31 is 1 modulo 2**31 - 1. */
INLINE uint64_t reduced(uint64_t value)
{
    value = (value & MODULUS) + (value >> 31);
    return value >= MODULUS ? value - MODULUS : value;
}

static int32_t find(const Runs *r)
{
    int32_t found = 0;
    r->ends[0] = 0;
    for (Py_ssize_t text = 0; text < r->texts; text++) {
        const int32_t *ids = r->ids + r->offsets[text];
        const Py_ssize_t length = (Py_ssize_t)(r->offsets[text + 1] - r->offsets[text]);
        const int32_t before = found;
        for (Py_ssize_t start = 0; start + r->least <= length; start++) {
            const Py_ssize_t left = length - start, longest = left < r->most ? left : r->most;
            uint64_t hash = 0, print = 0;
            for (Py_ssize_t n = 1; n <= longest; n++) {
                const uint64_t value = (uint64_t)ids[start + n - 1] + 1;
                hash = n == 1 ? value : reduced(hash * FIRST + value);
                print = n == 1 ? value : reduced(print * SECOND + value);
                if (n >= r->least) {
                    const uint64_t entry = (uint64_t)r->slots[hash & r->mask];
                    r->rows[found] = (int32_t)(entry >> 31);
                    found += (entry & MODULUS) == print; /* a branch would be guessed wrong */
                }
            }
        }
        r->ends[text + 1] = found;
        const float factor = (float)(1 / sqrt(found > before ? found - before : 1));
        for (int32_t k = before; k < found; k++)
            r->factors[k] = factor;
    }
    return found;
}

/* Why this would read or write elsewhere; NULL: it would not. */
static const char *wrong(const Runs *r, const Py_buffer *views)
{
    const Py_ssize_t ids = views[0].len / 4, slots = views[2].len / 8, room = views[4].len / 4;
    if (r->least < 1 || r->most < r->least || slots < 1 || slots & (slots - 1))
        return "there are no such runs";
    if (r->texts < 0 || r->offsets[0] != 0 || r->offsets[r->texts] != ids)
        return "texts end outside of the ids";
    for (Py_ssize_t text = 0; text < r->texts; text++)
        if (r->offsets[text] > r->offsets[text + 1])
            return "a text ends before it begins";
    /* One more: a row that does not count is written, too, and then overwritten. */
    if (ids > (INT32_MAX - 1) / (r->most - r->least + 1) ||
        room < ids * (r->most - r->least + 1) + 1 || views[5].len / 4 < room ||
        views[3].len / 4 != r->texts + 1)
        return "the results do not fit";
    return NULL;
}

/* find_runs(ids, offsets, slots, ends, rows, factors, least, most): writes ends, rows and factors.
   Returns how many runs there are. */
PyObject *find_runs(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    (void)module;
    Py_buffer views[6];
    Runs r;
    if (given != 8) {
        PyErr_SetString(PyExc_TypeError, "find_runs takes 8 arguments");
        return NULL;
    }
    if (take_size(args[6], &r.least) < 0 || take_size(args[7], &r.most) < 0 ||
        take_arrays(args, "illIIF", views) < 0)
        return NULL;
    r.texts = views[1].len / 8 - 1;
    r.ids = views[0].buf, r.offsets = views[1].buf, r.slots = views[2].buf;
    r.mask = (uint64_t)(views[2].len / 8 - 1);
    r.ends = views[3].buf, r.rows = views[4].buf, r.factors = views[5].buf;
    const char *why = wrong(&r, views);
    int32_t found = 0;
    if (why == NULL) {
        PyThreadState *state = r.texts > FEW_TEXTS ? PyEval_SaveThread() : NULL;
        found = find(&r);
        if (state != NULL)
            PyEval_RestoreThread(state);
    }
    PyObject *none = done(views, 6, why);
    if (none == NULL)
        return NULL;
    Py_DECREF(none);
    return PyLong_FromLong(found);
}
