"""The frame of the page, and its looks in light and dark."""

from __future__ import annotations

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: classification report</title>
<style>
:root {{ color-scheme: light dark; --paper: #ffffff; --ink: #1c2429; --muted: #5b6770;
--line: #8884; --accent: #1f6f8b; --second: #c4532f }}
@media (prefers-color-scheme: dark) {{ :root {{ --paper: #14181b; --ink: #e6eaed; --muted: #a3afb8;
--accent: #62b5d0; --second: #ee9471 }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
background: var(--paper); color: var(--ink) }}
h1 {{ font-size: 1.4rem; overflow-wrap: anywhere }}
h2 {{ font-size: 1.1rem; margin-top: 2rem }}
.figures {{ display: flex; flex-wrap: wrap; gap: 1rem; padding: 0 }}
.figures li {{ list-style: none; border: 1px solid var(--line); border-radius: .5rem;
padding: .6rem 1rem; min-width: 7rem }}
.figures b {{ display: block; font-size: 1.5rem; color: var(--accent) }}
table {{ border-collapse: collapse; width: 100%; margin: .5rem 0 }}
th, td {{ border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left;
overflow-wrap: anywhere }}
th + th, td + td {{ text-align: right; font-variant-numeric: tabular-nums }}
.pairs th:nth-child(2), .pairs td:nth-child(2) {{ text-align: left }}
q {{ overflow-wrap: anywhere }}
small {{ color: var(--muted) }}
summary {{ cursor: pointer; color: var(--muted) }}
svg {{ max-width: 100%; height: auto; margin: .5rem 1rem .5rem 0 }}
svg text {{ font: 12px system-ui, sans-serif; fill: var(--ink) }}
svg text.muted {{ fill: var(--muted) }}
svg text.accent {{ fill: var(--accent) }}
svg .middle {{ text-anchor: middle }}
svg .end {{ text-anchor: end }}
svg .accent {{ fill: var(--accent) }}
svg .second {{ fill: var(--second) }}
svg circle.muted {{ fill: var(--muted) }}
svg .soft {{ fill-opacity: .45 }}
svg .line {{ fill: none; stroke-width: 2; stroke: var(--accent) }}
svg .line.muted {{ stroke: var(--muted); stroke-width: 1.5 }}
svg .dashed {{ stroke-dasharray: 4 4 }}
svg .grid {{ fill: none; stroke: var(--line) }}
svg .grid.fill {{ fill: var(--line); fill-opacity: .35; stroke: none }}
svg .frame {{ fill: none; stroke: var(--line) }}
</style>
</head>
<body>
<h1>{name}</h1>
{body}
</body>
</html>
"""
