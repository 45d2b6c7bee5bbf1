import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.telemetry.numbers import API, ROUTE, snapshot

from gateway.telemetry.board import Board, BoardFault, open_board, worker_name
from gateway.telemetry.snapshot import Snapshot, request_key, sum_of

KEY = request_key(API, ROUTE, "", 200)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with open_board(str(tmp_path)) as found:
        yield found


def told(board: Board) -> tuple[list[int], int]:
    """What the workers tell that are there, and what those that have ended told."""
    living, ended = board.read()
    return sorted(each.requests[KEY] for each in living), ended.requests.get(KEY, 0)


def test_any_worker_reads_what_all_have_put_up_last(board: Board) -> None:
    board.put("1-a", snapshot(1))
    board.put("1-a", snapshot(2))
    board.put("2-a", snapshot(5))
    assert told(board) == ([2, 5], 0)


def test_what_a_worker_has_counted_outlives_it(board: Board) -> None:
    board.put("1-a", snapshot(2))
    board.put("2-a", snapshot(5))
    board.take_in(1)
    assert told(board) == ([5], 2)
    board.put("1-b", snapshot(7))  # the process id has come again
    assert told(board) == ([5, 7], 2)
    board.take_in(1)
    board.take_in(3)  # it never told anything
    assert told(board) == ([5], 9)


def test_a_worker_of_another_number_that_begins_alike_stays(board: Board) -> None:
    board.put("12-a", snapshot(5))
    board.take_in(1)
    assert told(board) == ([5], 0)


def test_who_reads_while_one_is_taken_in_counts_it_once(board: Board, tmp_path: Path) -> None:
    """The file was read, or is there still, when it is named among those that have ended."""
    board.put("1-a", snapshot(2))
    file = next(tmp_path.glob("worker-1-*"))
    content = file.read_bytes()
    board.take_in(1)
    file.write_bytes(content)
    assert told(board) == ([], 2)


def test_a_file_that_was_cut_off_is_taken_in_as_nothing(board: Board, tmp_path: Path) -> None:
    (tmp_path / "worker-1-a.json").write_bytes(b'{"requests":')
    board.take_in(1)
    assert told(board) == ([], 0)


def test_what_is_no_snapshot_hides_none(board: Board, tmp_path: Path) -> None:
    board.put("1-a", snapshot(2))
    (tmp_path / "worker-2-a.json").write_bytes(b"\xff")
    assert told(board) == ([2], 0)


def test_who_knows_his_own_numbers_better_leaves_them_out(board: Board) -> None:
    board.put("1-a", snapshot(2))
    board.put("2-a", snapshot(5))
    assert [each.requests[KEY] for each in board.read(without="1-a")[0]] == [5]


def test_of_a_worker_that_was_killed_in_the_middle_of_a_write_what_it_wrote_before_counts(
    board: Board, tmp_path: Path
) -> None:
    board.put("1-a", snapshot(3))
    (tmp_path / "worker-1-a.new").write_bytes(b'{"requests":')
    board.take_in(1)
    assert board.read()[1].requests == {KEY: 3}
    assert [each.name for each in tmp_path.iterdir()] == ["ended.json"]


def test_no_worker_is_called_as_another_was() -> None:
    assert worker_name(7) != worker_name(7)
    assert worker_name(7).startswith("7-")


# The directory.


def test_nothing_is_left_of_an_earlier_board_and_all_that_is_not_ours_stays(tmp_path: Path) -> None:
    with open_board(str(tmp_path)) as first:
        first.put("1-a", snapshot())
        first.put("2-a", snapshot())
        first.take_in(1)
    (tmp_path / "counter_7.db").write_bytes(b"x")  # prometheus_client's own
    (tmp_path / "notes.txt").write_text("mine")
    with open_board(str(tmp_path)) as board:
        assert board.read() == ([], Snapshot())
        assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_a_directory_that_is_not_there_is_made(tmp_path: Path) -> None:
    with open_board(str(tmp_path / "a" / "b")) as board:
        board.put("1-a", snapshot())
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_directory_of_its_own_goes_with_the_board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_board("") as board:
        board.put("1-a", snapshot())
        assert told(board) == ([1], 0)
        (directory,) = tmp_path.iterdir()
        assert directory.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_no_directory_can_be_is_a_fault_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BoardFault, match=r"\A[^\n]*file[^\n]*\Z"), open_board(str(tmp_path / "file")):
        pytest.fail("it was opened")


def test_what_is_read_is_never_half_of_it(board: Board, tmp_path: Path) -> None:
    """A reader in the middle of a write sees what was there before: the new file takes its place whole."""
    board.put("1-a", snapshot(2))
    with next(tmp_path.glob("worker-1-*")).open("rb") as before:
        board.put("1-a", snapshot(300))
        assert os.fstat(before.fileno()).st_nlink == 0
    assert sum_of(board.read()[0]).requests == {KEY: 300}
