"""How a report looks: on a screen and on paper, without colours that would have to be told apart.

Rules: no address is named, so that nothing is fetched; the page reads the same with no style at all.
"""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root { --ink: #111; --soft: #555; --line: #bbb; --pale: #f4f4f2; }
* { box-sizing: border-box; }
html { font: 15px/1.45 "Source Sans 3", "Segoe UI", "Noto Sans", "Liberation Sans", Arial, sans-serif;
  color: var(--ink); background: #fff; }
body { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
header { border-top: 4px solid var(--ink); padding-top: .9rem; }
header .kind { text-transform: uppercase; letter-spacing: .14em; font-size: .74rem; color: var(--soft); margin: 0; }
h1 { font: 600 2rem/1.2 "Source Serif 4", Georgia, "Noto Serif", "Liberation Serif", serif; margin: .15rem 0 1rem;
  overflow-wrap: anywhere; }
h2 { font: 600 1.25rem/1.3 "Source Serif 4", Georgia, "Noto Serif", "Liberation Serif", serif;
  margin: 2.4rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--ink); }
h3 { font-size: 1.02rem; margin: 0 0 .35rem; }
p { margin: .35rem 0 .7rem; }
code { font: .82em "Source Code Pro", "DejaVu Sans Mono", "Liberation Mono", monospace; overflow-wrap: anywhere; }
.n { white-space: nowrap; }
small { color: var(--soft); font-size: .82em; }
em { color: var(--soft); }
.verdict { border: 2px solid var(--ink); padding: .8rem 1rem; margin: 1.2rem 0; }
.verdict p { margin: 0; }
.verdict .said { font: 600 1.3rem/1.35 "Source Serif 4", Georgia, "Noto Serif", "Liberation Serif", serif; }
.verdict.open { border-left-width: 10px; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 0 1.5rem; margin: 0; }
header dl { grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); }
dl div { display: flex; gap: .6rem; padding: .2rem 0; border-bottom: 1px solid #e4e4e0; }
dt { color: var(--soft); flex: 0 0 5.6rem; }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 1.6rem; font-variant-numeric: tabular-nums;
  font-size: .9rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .28rem .7rem .28rem 0; border-bottom: 1px solid #ddd;
  font-weight: 400; overflow-wrap: anywhere; }
thead th { color: var(--soft); border-bottom: 1px solid var(--ink); font-size: .84rem; white-space: nowrap; }
tbody th { font-weight: 600; min-width: 9rem; }
.notice { border: 1px solid var(--line); padding: .8rem 1rem; margin: 0 0 .9rem; }
.no { display: inline-block; min-width: 1.5em; text-align: center; border: 1px solid var(--ink); border-radius: 1em;
  font-size: .82rem; padding: 0 .35em; }
blockquote { margin: .6rem 0 0; padding: .1rem 0 .1rem .9rem; border-left: 3px solid var(--ink); }
blockquote p { margin: 0; }
.also { color: var(--soft); font-size: .84rem; margin: .5rem 0 0; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.2rem; padding: 0; margin: .4rem 0 .8rem;
  font-size: .84rem; }
.legend svg { width: 30px; height: 15px; vertical-align: -3px; margin-right: .35rem; }
figure { margin: 0; padding: .35rem 0 .1rem; border-top: 1px solid #ddd; break-inside: avoid; }
figcaption { font-size: .86rem; }
figure svg, svg.axis { display: block; width: 100%; height: auto; }
svg.axis { margin-top: .5rem; }
svg.unseen { position: absolute; }
text { font: 7.5px "Source Sans 3", "Segoe UI", "Noto Sans", "Liberation Sans", Arial, sans-serif; fill: #444; }
text.lane { text-anchor: end; }
text.gap, text.number { font-weight: 700; fill: #000; }
text.tick, text.number { text-anchor: middle; }
path.grid { stroke: #e3e3e0; stroke-width: .6; fill: none; }
path.told { stroke: #000; stroke-width: .7; stroke-dasharray: 2 1.4; fill: none; }
rect.recording { fill: url(#p-recording); stroke: #000; stroke-width: .6; }
rect.transcription { fill: url(#p-transcription); stroke: #000; stroke-width: .6; }
rect.paused { fill: #fff; stroke: #000; stroke-width: .6; stroke-dasharray: 2 1.4; }
rect.there { fill: #fff; stroke: #555; stroke-width: .8; }
rect.here { fill: #777; }
rect.gap { fill: #000; }
.check { margin-top: 1rem; font-size: .84rem; color: var(--soft); }
@page { size: A4; margin: 16mm 14mm 18mm; @bottom-right { content: counter(page) " / " counter(pages);
  font: 9px Arial, sans-serif; } }
@media print {
  html { font-size: 10.5px; }
  body { max-width: none; padding: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  th, td { padding-top: .14rem; padding-bottom: .14rem; }
  thead { display: table-header-group; }
  tr, .notice, .verdict { break-inside: avoid; }
  h2, h3, caption, .axis { break-after: avoid; }
}
"""
