"""A site's settings come from its TOML, and what is wrong there is named with the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from binventory.book import site
from binventory.book.intake import IntakeSettings
from binventory.book.site import BookSettings, Site
from binventory.deciding.policy import Policy
from binventory.errors import UsageError


def written(folder: Path, text: str) -> str:
    file = folder / "site.toml"
    file.write_text(text)
    return str(file)


def test_a_site_without_a_file_is_the_built_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert site.load(None) == Site(BookSettings(), Policy(), IntakeSettings())


def test_a_file_in_the_current_folder_is_read_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binventory.toml").write_text("[policy]\nbound = 0.2\n")
    assert site.load(None).policy.bound == 0.2
    assert site.load(written(tmp_path, "[policy]\nbound = 0.3\n")).policy.bound == 0.3


def test_every_section_is_read(tmp_path: Path) -> None:
    found = site.load(
        written(
            tmp_path,
            '[book]\nurl = "postgresql://here/book"\nphotos = "s3://bucket/photos"\n'
            '[policy]\nerrors = ["one fewer"]\nvalue_shares = [0.5, 0.9]\n'
            '[intake]\nbin = ["barcode"]\npattern = "IMG_{time}.jpg"\ntimezone = "UTC"\n',
        )
    )
    assert found.book == BookSettings("postgresql://here/book", "s3://bucket/photos")
    assert (found.policy.errors, found.policy.value_shares) == (("one fewer",), (0.5, 0.9))
    assert (found.intake.bin, found.intake.pattern) == (("barcode",), "IMG_{time}.jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[polcy]\n", "In {file}, setting polcy does not exist. A site has book, policy, intake. Try: policy."),
        ("[policy]\nbund = 1\n", "setting policy.bund does not exist"),
        ("[policy]\nbound = 2\n", "setting policy.bound does not fit"),
        ("[policy]\nvalue_shares = [0.9, 0.5]\n", "setting policy.value_shares does not fit. 0.9 is more than 0.5"),
        ('[policy]\nerrors = ["three more"]\n', "setting policy.errors[0] does not fit"),
        ("[book]\nurl = 7\n", "setting book.url does not fit"),
        ('[book]\nurl = ""\n', "leave book.url out"),
        ('[intake]\nbin = ["paht"]\n', "setting intake.bin[0] does not fit"),
        ('[intake]\npattern = "{bins}/{*}"\n', "It has {bins}, and there are {bin}, {time} and {*}"),
        ('[intake]\npattern = "{bin}/{bin}"\n', "setting intake.pattern does not fit"),
        ('[intake]\npattern = "{time}.jpg"\n', "does not name {bin}"),
        ('[intake]\npattern = "{bin/x"\n', "a bracket alone"),
        ('[intake]\nbarcode_pattern = "BIN-(.+"\n', "setting intake.barcode_pattern does not fit"),
        ('[intake]\ntimezone = "Europe/Atlantis"\n', "setting intake.timezone does not fit"),
        ('[intake]\ntimezone = "../../etc/passwd"\n', "setting intake.timezone does not fit"),
        ('[intake]\nquarantine = "filed/"\n', "setting intake.quarantine does not fit"),
        ('[intake]\nfiled = "."\n', "setting intake.quarantine does not fit"),
        ("[intake\n", "Site {file} is not TOML"),
    ],
)
def test_what_does_not_fit_is_named_with_the_file(text: str, message: str, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    with pytest.raises(UsageError) as told:
        site.load(file)
    assert message.replace("{file}", file) in str(told.value)
    assert file in told.value.what


def test_a_file_that_is_named_and_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml does not exist"):
        site.load(str(tmp_path / "none.toml"))


def test_the_book_is_as_given_then_as_the_environment_then_the_site_then_the_user_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("BINVENTORY_BOOK", raising=False)
    told = Site(BookSettings("postgresql://here/book"))
    assert site.book_address(None, Site()) == str(tmp_path / "binventory" / "book.db")
    assert site.book_address(None, told) == "postgresql://here/book"
    monkeypatch.setenv("BINVENTORY_BOOK", "other.db")
    assert site.book_address(None, told) == "other.db"
    assert site.book_address("mine.db", told) == "mine.db"


@pytest.mark.parametrize(
    ("url", "means"),
    [
        ("book.db", "{folder}/book.db"),
        ("../book.db", "{above}/book.db"),
        ("/srv/book.db", "/srv/book.db"),
        ("sqlite:///book.db", "sqlite:///{folder}/book.db"),
        ("sqlite:////srv/book.db", "sqlite:////srv/book.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://here/book", "postgresql://here/book"),
    ],
)
def test_a_relative_path_is_relative_to_the_file(
    url: str, means: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    written(folder, f'[book]\nurl = "{url}"\nphotos = "kept"\n')
    monkeypatch.chdir(tmp_path)
    found = site.load("site/site.toml").book
    assert found.url == means.format(folder=folder, above=tmp_path)
    assert found.photos == str(folder / "kept")
