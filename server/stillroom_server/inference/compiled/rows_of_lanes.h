/* Included by rows.c once for each width of vector: LANES floats of TARGET's instructions, BLOCK
   vectors in registers at once, as NAME(add_rows). A vector that the instructions do not have would
   be taken apart into single floats, and take eight times as long. */

typedef float NAME(Vector) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define LOAD(floats) (*(const NAME(Vector) *)(floats))
#define STORE(floats, vector) (*(NAME(Vector) *)(floats) = (vector))

/* Adds the rows of entries [begin, end) to ``count`` vectors of ``out`` from ``column`` on, of which
   the last is at ``last`` and held ``*tail``: it may overlap vectors that were stored before. */
TARGET INLINE void NAME(add_block)(const Sums *s, int32_t begin, int32_t end, float *out,
                                   Py_ssize_t column, int count, Py_ssize_t last,
                                   const NAME(Vector) *tail)
{
    const int32_t all = s->ends[s->texts];
    NAME(Vector) sums[BLOCK];
    for (int v = 0; v < count - 1; v++)
        sums[v] = LOAD(out + column + v * LANES);
    sums[count - 1] = *tail;
    for (int32_t k = begin; k < end; k++) {
        const float *row = s->table + s->rows[k] * s->columns;
        const float factor = s->factors[k];
        if (column == 0 && all - k > AHEAD) {
            const float *next = s->table + s->rows[k + AHEAD] * s->columns;
            for (Py_ssize_t i = 0; i < s->columns; i += CACHE_LINE)
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

/* For LANES columns or more. */
TARGET static void NAME(add_rows)(const Sums *s)
{
    const Py_ssize_t last = s->columns - LANES, last_of_block = (BLOCK - 1) * LANES;
    for (Py_ssize_t text = 0; text < s->texts; text++) {
        const int32_t begin = s->ends[text], end = s->ends[text + 1];
        float *out = s->out + text * s->columns;
        const NAME(Vector) tail = LOAD(out + last);
        Py_ssize_t c = 0;
        for (; c + BLOCK * LANES < s->columns; c += BLOCK * LANES) {
            const NAME(Vector) own = LOAD(out + c + last_of_block);
            NAME(add_block)(s, begin, end, out, c, BLOCK, c + last_of_block, &own);
        }
        switch ((s->columns - c + LANES - 1) / LANES) {
#define CASE(count) \
    case count: NAME(add_block)(s, begin, end, out, c, count, last, &tail); break;
            CASE(1) CASE(2) CASE(3) CASE(4)
#if BLOCK > 4
            CASE(5) CASE(6) CASE(7) CASE(8)
#endif
        }
    }
}

#undef CASE
#undef LOAD
#undef STORE
#undef NAME
#undef TARGET
#undef LANES
#undef BLOCK
