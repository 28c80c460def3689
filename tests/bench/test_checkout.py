from __future__ import annotations

import json
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from bench.__main__ import main
from bench.checkout import Checkout, CheckoutError, checked_out, find_checkout
from bench.contender import ROOT
from bench.peers import OURS
from bench.scenarios import SCENARIOS
from bench.spanning import spanning

if TYPE_CHECKING:
    from pathlib import Path

LISTEN = """\
import os, socket, time
listener = socket.create_server((os.environ["MCP_ACTORS_HOST"], int(os.environ["MCP_ACTORS_PORT"])))
print("another tree", flush=True)
time.sleep(60)
"""


def head() -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory that looks like a checkout; its server listens and does nothing."""
    package = tmp_path / "another" / "mcp_actors"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(LISTEN)
    return package.parent


@pytest.mark.parametrize("revision", ["HEAD", "HEAD^0", "@"])
def test_a_revision_is_named_by_its_short_commit(revision: str) -> None:
    found = find_checkout(revision)
    assert found is not None
    assert (found.commit, found.directory) == (head(), None)
    assert found.name.startswith("mcp_actors@")
    assert head().startswith(found.label)


def test_a_directory_is_named_after_itself(tree: Path) -> None:
    assert find_checkout(str(tree)) == Checkout("another", directory=tree)


def test_a_text_that_is_neither_a_revision_nor_a_checkout_is_not_found(tmp_path: Path) -> None:
    assert find_checkout("no-such-branch") is None
    assert find_checkout(str(tmp_path)) is None
    assert find_checkout("HEAD:mcp_actors") is None, "a folder is no commit"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_files_of_a_commit_are_removed_at_the_end_also_on_errors(error: type[BaseException]) -> None:
    trees = []

    def fail() -> None:
        with checked_out(Checkout("head", head())) as contender:
            trees.append(contender.tree)
            assert (contender.tree / "mcp_actors" / "__main__.py").exists()
            raise error

    with pytest.raises(error):
        fail()
    assert trees != [ROOT]
    assert not trees[0].exists()


def test_a_directory_is_used_as_it_is_and_not_removed(tree: Path) -> None:
    with checked_out(Checkout("another", directory=tree)) as contender:
        assert contender.tree == tree
        assert contender.environment == OURS.environment, "it has no settings of its own"
        with contender.serve() as server:
            socket.create_connection(("127.0.0.1", server.port)).close()
            assert server.said() == "another tree"
    assert tree.exists()


def test_a_checkout_is_measured_with_its_own_settings(tree: Path) -> None:
    (tree / "settings").mkdir()
    (tree / "settings" / "bench.env").write_text("# one\nMCP_ACTORS_DEBUG=True\n")
    with checked_out(Checkout("another", directory=tree)) as contender:
        assert contender.environment == {"MCP_ACTORS_DEBUG": "True"}


def test_a_checkout_that_cannot_be_imported_is_an_error(tree: Path) -> None:
    (tree / "mcp_actors" / "__init__.py").write_text("raise ImportError('no such module')\n")
    with pytest.raises(CheckoutError, match="no such module"), checked_out(Checkout("another", directory=tree)):
        pass


def test_a_contender_with_more_settings_keeps_its_tree(tree: Path) -> None:
    with checked_out(Checkout("another", directory=tree)) as contender:
        more = contender.with_environment({"MCP_ACTORS_RESUME_WINDOW": "0"})
        assert more.environment == {**contender.environment, "MCP_ACTORS_RESUME_WINDOW": "0"}
        assert (more.tree, spanning(more).tree, spanning(more).name) == (tree, tree, "mcp_actors@another")


def test_two_checkouts_of_one_name_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["relay", "--against", "HEAD,@"])
    assert "two of these have the same name" in capsys.readouterr().err


@pytest.fixture
def one_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure candidates only: each variant costs seconds, and other tests measure all of them."""
    for name in ("relay", "relay-processes"):
        monkeypatch.setattr(SCENARIOS[name], "variants", ("candidate",))


@pytest.mark.usefixtures("one_variant")
def test_this_tree_is_compared_with_its_own_last_commit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["relay", "--against", "HEAD", "--seconds", "0.3", "--rounds", "2", "--connections", "4"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0, capsys.readouterr().out
    results = json.loads((tmp_path / "relay" / "results.json").read_bytes())
    before = {one["variant"]: one for one in results["measured"] if one["contender"] != "mcp_actors"}
    assert before.keys() == {"candidate"}
    for one in before.values():
        assert head().startswith(one["contender"].removeprefix("mcp_actors@"))
        assert one["ratios"]["cpu_us"]["rounds"] == 2
        assert 0.1 < one["ratios"]["cpu_us"]["median"] < 10
    assert "relay candidate CPU" in (tmp_path / "relay" / "report.txt").read_text()


@pytest.mark.usefixtures("one_variant")
def test_a_checkout_runs_in_two_processes_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["relay", "--processes", "2", "--against", "HEAD", "--seconds", "0.3", "--rounds", "1"]
    assert main([*arguments, "--connections", "4", "--out", str(tmp_path)]) == 0, capsys.readouterr().out
    assert "relay-processes candidate CPU" in (tmp_path / "relay-processes" / "report.txt").read_text()
