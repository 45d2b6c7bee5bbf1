import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.records import principal, secret_of, token

from gateway.access.principal import Principal
from gateway.proxy.field_line import LONGEST_LINE, FieldLine, read_line
from gateway.server.shown_lines import MOST_LINES, MOST_OF_A_TOKEN, Shown, ShownLines

WHO = principal()
OTHER = principal(token(token_id="1" * 32))


def line(number: int, size: int = 0) -> bytes:
    """A credential's line, one of many; of `size` bytes, if that is more."""
    return (b"Authorization: Bearer %d" % number).ljust(size, b"x")


def field(raw: bytes) -> FieldLine:
    found = read_line(raw)
    assert isinstance(found, FieldLine)
    return found


def enter(lines: ShownLines, raw: bytes, who: Principal = WHO) -> None:
    lines.enter(raw, field(raw), who)


def test_a_line_stands_with_what_it_is_and_who_it_proved() -> None:
    lines = ShownLines()
    enter(lines, line(0))
    enter(lines, line(1), OTHER)
    assert lines.lines == {line(0): Shown(field(line(0)), WHO), line(1): Shown(field(line(1)), OTHER)}
    assert lines.lines[line(0)].principal is WHO


def test_a_line_that_proves_somebody_else_stands_with_him_alone() -> None:
    lines = ShownLines()
    again = principal()
    for who in (WHO, OTHER, again):
        enter(lines, line(0), who)
    assert [shown.principal for shown in lines.lines.values()] == [again]
    assert lines.lines[line(0)].principal is again
    for number in range(1, MOST_OF_A_TOKEN + 1):
        enter(lines, line(number), OTHER)  # it holds no place of his any more
    assert line(0) in lines.lines


@pytest.mark.parametrize(
    ("size", "stays"), [pytest.param(LONGEST_LINE, True, id="256 bytes"), pytest.param(257, False, id="257 bytes")]
)
def test_no_line_over_256_bytes_is_remembered(size: int, stays: bool) -> None:  # noqa: FBT001 - a case's data
    lines = ShownLines()
    enter(lines, line(0, size))
    assert LONGEST_LINE == 256
    assert (line(0, size) in lines.lines) is stays


def test_a_token_has_four_lines_and_a_fifth_takes_the_place_of_its_oldest() -> None:
    lines = ShownLines()
    enter(lines, line(100), OTHER)
    for number in range(6):
        enter(lines, line(number))
    assert MOST_OF_A_TOKEN == 4
    assert list(lines.lines) == [line(100), line(2), line(3), line(4), line(5)]


def test_a_line_that_is_shown_again_is_its_token_s_newest() -> None:
    lines = ShownLines()
    for number in (0, 1, 2, 3, 0, 4):
        enter(lines, line(number))
    assert list(lines.lines) == [line(2), line(3), line(0), line(4)]


def test_where_there_is_no_room_the_oldest_of_all_goes() -> None:
    lines = ShownLines(most=3)
    for number in range(5):
        enter(lines, line(number), principal(token(token_id=f"{number:032x}")))
    assert list(lines.lines) == [line(2), line(3), line(4)]
    assert ShownLines()._most == MOST_LINES == 32_768


def test_who_lost_a_line_has_room_for_another_one() -> None:
    lines = ShownLines(most=4)
    for number in range(4):
        enter(lines, line(number))
    enter(lines, line(100), OTHER)
    enter(lines, line(4))
    assert list(lines.lines) == [line(2), line(3), line(100), line(4)]


def test_no_secret_of_it_shows_itself() -> None:
    lines = ShownLines()
    secret = secret_of().reveal()
    enter(lines, b"Authorization: Bearer " + secret.encode())
    assert secret not in repr(list(lines.lines.values()))


class Showing(RuleBasedStateMachine):
    """A table of six lines beside a list: the newest at its end."""

    MOST = 6
    TOKENS = tuple(principal(token(token_id=f"{number:032x}")) for number in range(4))

    def __init__(self) -> None:
        super().__init__()
        self.lines = ShownLines(self.MOST)
        self.newest: list[tuple[bytes, Principal]] = []

    @rule(number=st.integers(0, 12), who=st.sampled_from(TOKENS), size=st.sampled_from([0, 0, 0, 256, 257]))
    def enter(self, number: int, who: Principal, size: int) -> None:
        raw = line(number, size)
        enter(self.lines, raw, who)
        if len(raw) > LONGEST_LINE:
            return
        self.newest = [shown for shown in self.newest if shown[0] != raw]
        of_token = [shown for shown in self.newest if shown[1] is who]
        if len(of_token) == MOST_OF_A_TOKEN:
            self.newest.remove(of_token[0])
        self.newest = [*self.newest, (raw, who)][-self.MOST :]

    @invariant()
    def the_same_lines_prove_the_same(self) -> None:
        assert [(raw, shown.principal) for raw, shown in self.lines.lines.items()] == self.newest
        assert all(shown.field == field(raw) for raw, shown in self.lines.lines.items())

    @invariant()
    def nothing_is_kept_of_lines_that_went(self) -> None:
        kept = sorted(raw for some in self.lines._of_token.values() for raw in some)
        assert kept == sorted(self.lines.lines)
        assert all(self.lines._of_token.values())


TestShowing = Showing.TestCase
