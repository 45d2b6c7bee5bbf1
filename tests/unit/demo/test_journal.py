import stat
from pathlib import Path

import msgspec
import pytest

from gateway.demo.journal import ENTRIES_KEPT, Entry, Journal, holds_token


def entry(target: str = "/") -> Entry:
    return Entry("GET", target, (("Host", "x"),), 0, body_complete=True, token_seen=False)


def test_entries_are_kept_in_memory_in_their_order() -> None:
    journal = Journal()
    assert journal.entries == []
    journal.record(entry("/1"))
    journal.record(entry("/2"))
    assert [each.target for each in journal.entries] == ["/1", "/2"]


def test_memory_is_bounded() -> None:
    journal = Journal()
    for number in range(ENTRIES_KEPT + 1):
        journal.record(entry(str(number)))
    assert len(journal.entries) == ENTRIES_KEPT
    assert journal.entries[-1].target == str(ENTRIES_KEPT)


def test_each_entry_is_a_line_that_is_there_at_once(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    file.write_text("")
    journal = Journal(file)
    journal.record(entry("/1"))
    assert msgspec.json.decode(file.read_bytes(), type=Entry) == entry("/1")
    journal.record(entry("/2"))
    journal.close()
    assert file.read_bytes().count(b"\n") == 2


def test_an_existing_file_is_appended_to(tmp_path: Path) -> None:
    for _ in range(2):
        journal = Journal(tmp_path / "journal")
        journal.record(entry())
        journal.close()
    assert (tmp_path / "journal").read_bytes().count(b"\n") == 2


def test_nobody_else_reads_the_file(tmp_path: Path) -> None:
    Journal(tmp_path / "journal").close()
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o600


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        Journal(tmp_path / "missing" / "journal")


@pytest.mark.parametrize(
    ("text", "holds"), [(b"xzgt_1", True), (b"zga_", True), (b"zgt", False), (b"zgb_", False), (b"", False)]
)
def test_the_start_of_a_tokens_secret_is_seen(text: bytes, holds: bool) -> None:  # noqa: FBT001
    assert holds_token(text) is holds
