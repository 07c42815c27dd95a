"""The report: it says what the entries say to whoever reads or prints it, and nothing in it can do anything."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from gateway.core.call import Policy
from gateway.core.types import CallKey, Level, Reason, Role, State
from gateway.evidence.guide import guide
from gateway.evidence.markup import Markup, element, escaped, visible
from gateway.evidence.report import report, verdict
from gateway.evidence.timeline import SHAPES
from gateway.evidence.wording import REASONS, length
from tests.evidence.world import EUROPE, STATES, TRANSCRIPTION, World, raw_id

ACTIVE, PAUSED, INACTIVE = State.ACTIVE, State.PAUSED, State.INACTIVE
HOSTILE = [
    "<script>alert(1)</script>",
    "</title></style><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x=\'',
    "&lt;b&gt; &amp; &#x3c;",
    "]]>--><!--",
    "\N{RIGHT-TO-LEFT OVERRIDE}nnA\N{POP DIRECTIONAL FORMATTING}",
    "url(http://example.invalid/x)",
]
VOID = {"meta", "br", "hr"}


class Page(HTMLParser):
    """A page as a browser takes it: which elements, which attributes, which text, and whether all is closed."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID and not str(self.get_starttag_text()).endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """An element ends, the last that began."""
        if not self.open or self.open[-1] != tag:
            return
        self.open.pop()

    def handle_data(self, data: str) -> None:
        """Text."""
        if "style" not in self.open:
            self.text += data


def meeting(name: str = "Ann Exemplar", call: str = "standup") -> World:
    """Ann proves everything, Bob in the States receives, Cyd never connects; recording is paused and stops."""
    world = World(CallKey("contoso", call))
    world.join("ann", name=name)
    world.join("bob", STATES, name="Bob Exemplar")
    world.report("cyd")
    world.at(60)
    world.claim(ACTIVE)
    world.sent(("ann", EUROPE), ("bob", STATES))
    world.at(61)
    world.prove("ann", Level.RECEIVED)
    world.prove("bob", Level.RECEIVED, STATES)
    world.at(62)
    world.prove("ann", Level.DISPLAYED, locale="de")
    world.prove("ann", Level.ACKNOWLEDGED, locale="de")
    world.at(300)
    world.claim(ACTIVE, TRANSCRIPTION)
    world.prove("ann", Level.ACKNOWLEDGED)
    world.at(600)
    world.claim(PAUSED)
    world.prove("ann", Level.ACKNOWLEDGED)
    world.at(900)
    return world


def shown(world: World, opened: tuple[str, ...] = ("europe",)) -> Page:
    """The report as a page."""
    return Page(report(world.story(opened)))


def marks(content: bytes, level: str) -> set[float]:
    """Where the marks of a level stand in the drawings."""
    drawings = content.decode().partition('class="axis"')[2]
    return {float(x) for x in re.findall(rf'<use href="#m-{level}" x="([\d.]+)"', drawings)}


def test_the_page_is_whole() -> None:
    """Every element that begins ends, in order, and its drawings are XML."""
    content = report(meeting().story())
    page = Page(content)
    assert page.open == []
    assert page.tags[:2] == ["html", "head"]
    for drawing in re.findall(r"<svg.*?</svg>", content.decode(), re.DOTALL):
        ElementTree.fromstring(drawing)


def test_nothing_is_fetched_and_nothing_runs() -> None:
    """No script, no link that is followed by itself, no address in the style; the page forbids it besides."""
    content = report(meeting().story())
    page = Page(content)
    assert not {"script", "link", "img", "iframe", "object", "base", "form", "a"} & set(page.tags)
    assert {value[:1] for tag, name, value in page.attributes if name == "href"} == {"#"}
    assert not [name for _, name, _ in page.attributes if name == "src" or name.startswith("on")]
    style = content.decode().partition("<style>")[2].partition("</style>")[0]
    assert set(re.findall(r"url\(([^)]*)", style)) == {"#p-recording", "#p-transcription"}
    assert "@import" not in style
    policy = [value for tag, name, value in page.attributes if (tag, name) == ("meta", "content")]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policy


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_name_stays_a_name(hostile: str) -> None:
    """Of a person or of a call: the page has the same elements, and what can be seen is what was written."""
    tame, wild = shown(meeting()), shown(meeting(hostile, hostile))
    assert wild.tags == tame.tags
    assert [(tag, name) for tag, name, _ in wild.attributes] == [(tag, name) for tag, name, _ in tame.attributes]
    assert wild.open == []
    assert wild.text.count(visible(hostile)) >= 5
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in wild.text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_values_are_escaped_in_text_and_in_attributes(hostile: str) -> None:
    """Only what was built as markup is taken as it is."""
    page = Page(element("p", hostile, Markup("<b>"), Markup("</b>"), title=hostile).encode())
    assert page.tags == ["p", "b"]
    assert page.attributes == [("p", "title", visible(hostile))]
    assert page.text == visible(hostile)
    assert escaped(escaped(hostile)) == escaped(hostile)


@pytest.mark.parametrize("text", ["a\nb", "a\x00b", "a\u202eb", "a\u200bb", "\ud800"])
def test_what_cannot_be_seen_is_spelled_out(text: str) -> None:
    """A name that only looks like another does not."""
    assert visible(text).isprintable()
    assert visible("Ünal 陳 é") == "Ünal 陳 é"


@pytest.mark.parametrize("opened", [(), ("europe",), ("unitedstates",), ("europe", "unitedstates")])
def test_people_are_called_what_may_be_known_of_them(opened: tuple[str, ...]) -> None:
    """By name where the region was opened, else as a participant of it with a number."""
    page = shown(meeting(), opened)
    assert ("Ann Exemplar" in page.text) is ("europe" in opened)
    assert (raw_id("ann") in page.text) is ("europe" in opened)
    assert ("participant in europe 1" in page.text) is ("europe" not in opened)
    assert ("participant in europe 2" in page.text) is ("europe" not in opened)
    assert ("participant in unitedstates 1" in page.text) is ("unitedstates" not in opened)
    assert ("Bob Exemplar" in page.text) is ("unitedstates" in opened)


def test_the_erased_are_called_erased() -> None:
    """One by one, so that two are never taken for one."""
    world = meeting()
    world.erase("ann")
    world.erase("cyd")
    page = shown(world)
    assert "erased participant 1" in page.text
    assert "erased participant 2" in page.text
    assert raw_id("cyd") not in page.text


def test_only_by_the_word_of_an_entry_is_anybody_called_erased() -> None:
    """A name whose key was lost is lost, and whose region was not opened is withheld."""
    world = meeting()
    world.erase("ann")
    world.books.boxes["europe"].clear()
    page = shown(world)
    assert "erased participant 1" in page.text
    assert "participant whose name is lost 1" in page.text
    assert "erased participant 2" not in page.text
    assert "erased participant" not in shown(world, ("unitedstates",)).text


def test_who_is_erased_in_a_call_that_took_in_another_is_called_so() -> None:
    """By whichever call they came into."""
    world = World()
    alias = World(CallKey("contoso", "alias"), world.ids, world.books)
    world.join("ann", name="Ann Exemplar")
    alias.join("cyd", name="Cyd Exemplar")
    alias.claim(ACTIVE)
    world.merge(alias)
    world.erase("cyd")
    page = shown(world)
    assert "erased participant 1" in page.text
    assert "Ann Exemplar" in page.text
    assert "Cyd Exemplar" not in page.text


def test_two_of_one_name_are_told_apart() -> None:
    """The second gets a number."""
    world = meeting()
    world.join("dora", name="Ann Exemplar")
    page = shown(world)
    assert "Ann Exemplar 2" in page.text


def test_a_name_cannot_pass_for_one_that_was_withheld() -> None:
    """What is nobody's name stands in italics, and a name never does."""
    content = report(meeting("participant in unitedstates 1").story(("europe",))).decode()
    assert "<em><bdi>participant in unitedstates 1</bdi></em>" in content
    assert re.search(r'<th scope="row"><bdi>participant in unitedstates 1</bdi>', content)


def test_the_outcome_is_said_in_one_sentence() -> None:
    """Who proved all that was asked, of how many, how many gaps there are, and whom nothing reached."""
    said = "1 of 3 participants proved all that was asked; 6 gaps."
    assert verdict(meeting().story()).startswith(said)
    assert said in shown(meeting()).text


def test_other_outcomes_are_said_as_plainly() -> None:
    """Nothing known, nobody there, one, all."""
    world = World()
    world.join("eve", role=Role.OBSERVER)
    assert verdict(world.story()).startswith("No recording or transcription was known of")
    world.claim(ACTIVE)
    assert verdict(world.story()) == "Nobody was there who had to be told."
    world.join("ann")
    world.prove("ann", Level.ACKNOWLEDGED)
    assert verdict(world.story()) == "The one participant proved what was asked."
    world.join("bob")
    said = "1 of 2 participants proved all that was asked; 1 gap."
    assert verdict(world.story()) == f"{said} Nothing was sent to 1 of them."
    world.sent(("bob", EUROPE))
    assert verdict(world.story()) == said
    assert "<td>sent</td>" in report(world.story()).decode()
    world.prove("bob", Level.ACKNOWLEDGED)
    assert verdict(world.story()) == "Each of 2 participants proved what was asked."
    assert "1 observer" in shown(world).text


def test_the_words_are_those_that_were_shown() -> None:
    """The default language and the one Ann's client showed, whole; the others by name."""
    page = shown(meeting())
    assert "Recording has started. This call is being recorded. https://" in page.text
    assert "Die Aufzeichnung hat begonnen." in page.text
    assert "La grabación" not in page.text
    languages = {value for tag, name, value in page.attributes if (tag, name) == ("p", "lang")}
    assert languages == {"en", "de"}
    assert "es" in re.findall(r"Also ready in: ([^(]+)", page.text)[0].strip().split(", ")


def test_every_gap_has_its_reason_in_words_and_its_length() -> None:
    """As the coverage has it, and how far it is proved that the participant was told."""
    page = shown(meeting())
    gap = "participant in unitedstates 11 Recording startedreceivedwas connected, and the deadline passed without proof"
    assert f"{gap}14:01:00.00014 min 0.0 s" in page.text
    assert REASONS[Reason.UNREACHABLE] in page.text


def test_every_reason_and_level_has_words() -> None:
    """A code that the report could not say is found here and not by a reader."""
    assert set(REASONS) == set(Reason)
    assert set(SHAPES) == set(Level)


def test_every_participant_has_a_timeline_and_its_words() -> None:
    """Each drawing has a title and says what it shows; nobody is left out and nobody drawn twice."""
    content = report(meeting().story(("europe",))).decode()
    drawings = re.findall(r'<svg viewBox[^>]* role="img" aria-labelledby="t(\d+) d\1">(.*?)</svg>', content, re.DOTALL)
    assert [number for number, _ in drawings] == ["1", "2", "3"]
    ann = drawings[0][1]
    assert '<title id="t1">Timeline of Ann Exemplar</title>' in ann
    assert "Notice 1 acknowledged at 14:01:02.000." in ann
    assert "In the call from 14:00:00.000 still there." in ann
    assert "Notice 2 not proved for 10 min 0.0 s: was connected" in drawings[1][1]
    assert len(re.findall(r'<use href="#m-acknowledged"', ann)) == 3


def test_the_drawing_is_to_scale() -> None:
    """A quarter of an hour: the notice at one minute stands at a fifteenth."""
    assert marks(report(meeting().story()), "acknowledged") == {
        round(92 + 616 * seconds / 900, 1) for seconds in (62, 300, 600)
    }


@pytest.mark.parametrize("hours", [0, 1, 30, 24 * 90])
def test_any_length_of_call_can_be_drawn(hours: int) -> None:
    """From none at all to three months: a handful of ticks."""
    world = World(CallKey("contoso", "long"))
    world.call.policy = Policy()
    world.join("ann")
    world.claim(ACTIVE)
    world.prove("ann", Level.ACKNOWLEDGED)
    story = world.story(at=hours * 3600)
    content = report(story)
    assert len(set(re.findall(r'<text class="tick"[^>]*>([^<]+)<', content.decode()))) <= 9
    assert all(92 <= place <= 708 for place in marks(content, "acknowledged"))


def test_a_call_of_several_days_has_its_dates() -> None:
    """Else a time would not be known."""
    world = meeting()
    world.at(86_400)
    world.claim(INACTIVE)
    assert "2026-11-23 14:01:00.000" in shown(world).text
    assert "2026-11-23 14:01:00.000" not in shown(meeting()).text


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [(0, "0.000 s"), (7, "0.007 s"), (59_999, "59.999 s"), (60_000, "1 min 0.0 s"), (3_725_500, "1 h 02 min 05 s")],
)
def test_lengths_are_said_as_people_say_them(milliseconds: int, said: str) -> None:
    """And never as nothing when there was something."""
    assert length(timedelta(milliseconds=milliseconds)) == said


def test_the_guide_names_every_file_and_the_outcome() -> None:
    """Whoever has only the pack finds out what is in it."""
    world = meeting(call="line\N{LINE SEPARATOR}feed")
    told = guide(world.story(("europe",))).decode()
    for name in world.files().keys() - {"README.txt"}:
        assert name.partition("/")[0] in told
        assert name.rpartition("/")[2] in told
    assert "1 of 3 participants proved all that was asked; 6 gaps." in told
    assert "line\\u2028feed" in told
    assert "(people are named of: europe)" in told
