"""The class as an LMS has it: exports come in, marks and pages go back under its own names."""

import csv
import io
import json
import os
import stat
import unicodedata
import zipfile
from pathlib import Path

import pytest
from grading import feedback_zip, lms, roster
from grading.assignment import Assignment, Text
from grading.by_hand import ByHand

from course_checks.part import Part

NAME = "ex04_contrast"
WHY = "ex04_why"
ASSIGNMENT = Assignment(
    NAME, (Part("ex04_a", "a", 15, "a", lambda s: []),), (Text(WHY, 5, "", ""),)
)
MOST = 10_000


def zipped(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for number, (name, content) in enumerate(files.items()):
            out.writestr(zipfile.ZipInfo(name, (2026, 10, 1, 8, number, 0)), content)
    return path


def folder(path: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    return path


def taken(source: Path, submitted: Path) -> dict[str, str]:
    """What lies in submitted/ afterwards: student -> the notebook's text."""
    lms.take(source, NAME, submitted, MOST)
    found = submitted.glob(f"*/{NAME}/{NAME}.ipynb")
    return {path.parent.parent.name: path.read_text() for path in found}


MOODLE_FILES = {
    "Ann Lee_101_assignsubmission_file_/ex04_contrast.ipynb": "ann",
    "Ann Lee_102_assignsubmission_file_/my work.ipynb": "the other ann",
    "Åse Ø_103_assignsubmission_file_/__MACOSX/._a.ipynb": "x",
    "Åse Ø_103_assignsubmission_file_/EX04 contrast.ipynb": "åse",
    "Åse Ø_103_assignsubmission_onlinetext_/onlinetext.html": "words",
    "Bo_104_assignsubmission_file_/essay.pdf": "pdf",
}
CANVAS_FILES = {
    "leeann_201_9001_ex04_contrast.ipynb": "first",
    "leeann_201_9055_ex04_contrast-1.ipynb": "second",
    "boba_LATE_202_9003_homework.ipynb": "late",
    "zoe_203_9004_essay.pdf": "pdf",
}


def test_moodles_folders_come_in(tmp_path):
    source = zipped(tmp_path / "s.zip", MOODLE_FILES)
    assert taken(source, tmp_path / "submitted") == {
        "Ann Lee_101": "ann",
        "Ann Lee_102": "the other ann",
        "Åse Ø_103": "åse",
    }


@pytest.mark.parametrize("root", ["", "CS101-Ex4-99/"])
def test_moodles_flat_files_and_a_folder_around_all(tmp_path, root):
    files = {f"{root}Ann Lee_101_assignsubmission_file_work.ipynb": "ann"}
    assert taken(zipped(tmp_path / "s.zip", files), tmp_path / "s") == {"Ann Lee_101": "ann"}


@pytest.mark.parametrize("made", [zipped, folder])
def test_canvas_flat_files_come_in_and_the_last_attempt_wins(tmp_path, made):
    source = made(tmp_path / "export", CANVAS_FILES)
    assert taken(source, tmp_path / "s") == {"leeann_201": "second", "boba_202": "late"}


@pytest.mark.parametrize(
    "files, wins",
    [
        ({"lee_201_9055_ex04_contrast-1.ipynb": "", "lee_201_9001_ex04_contrast.ipynb": ""}, 0),
        ({"lee_201_9001_ex04_contrast.ipynb": "", "lee_201_9055_notes.ipynb": ""}, 0),
        ({"Lee_7_assignsubmission_file_/a/ex04_contrast.ipynb": "",
          "Lee_7_assignsubmission_file_/b/ex04_contrast.ipynb": ""}, 1),
        ({"Lee_7_assignsubmission_file_/ex04_contrast.ipynb": "",
          "Lee_7_assignsubmission_file_/notes.ipynb": ""}, 0),
    ],
    ids=["the later attempt", "the named one", "the later file", "the named file"],
)  # fmt: skip
def test_of_several_notebooks_one_is_taken(tmp_path, files, wins):
    """Each file of the zip is a minute younger than the one before."""
    source = zipped(tmp_path / "a.zip", {name: str(n) for n, name in enumerate(files)})
    assert list(taken(source, tmp_path / "submitted").values()) == [str(wins)]


def test_of_two_notebooks_of_one_name_the_younger_is_taken(tmp_path):
    """Whatever their folders are called."""
    files = {f"ann/{at}/ex04_contrast.ipynb": at for at in "ab"}
    source = folder(tmp_path / "x", files)
    for name, age in zip(files, (2000, 1000)):
        os.utime(source / name, (age, age))
    assert taken(source, tmp_path / "submitted") == {"ann": "a"}


def test_a_notebook_that_is_too_large_is_not_cut_to_one_that_is_not(tmp_path):
    source = zipped(tmp_path / "a.zip", {"lee_201_9001_ex04_contrast.ipynb": "x" * (MOST + 9)})
    assert len(taken(source, tmp_path / "submitted")["lee_201"]) > MOST


def test_solutions_are_left_out_and_that_is_said(tmp_path):
    files = {"ann/ex04_contrast.ipynb": "ann", "ann/solutions/ex04_contrast.ipynb": "the course's"}
    told = lms.take(folder(tmp_path / "a", files), NAME, tmp_path / "submitted", MOST)
    assert told.said == ["1 files below a folder 'solutions' were left out."]
    told = lms.take(folder(tmp_path / "b", {"bo/ex04_contrast.ipynb": "bo"}), NAME, tmp_path, MOST)
    assert told.said == []


def test_nbgraders_folders_and_its_exchange_come_in(tmp_path):
    plain = folder(
        tmp_path / "a", {f"submitted/ann/{NAME}/{NAME}.ipynb": "a", f"bo/{NAME}/x.ipynb": "b"}
    )
    assert taken(plain, tmp_path / "one") == {"ann": "a", "bo": "b"}
    exchange = {
        f"ann+{NAME}+2026-10-01 09:00:00 UTC/{NAME}.ipynb": "late",
        f"ann+{NAME}+2026-10-01 08:00:00 UTC+abc/{NAME}.ipynb": "early",
        "ann+ex02_gradcam+2026-10-02 08:00:00 UTC/ex02_gradcam.ipynb": "of another",
    }
    assert taken(folder(tmp_path / "b", exchange), tmp_path / "two") == {"ann": "late"}


def test_homes_of_a_hub_come_in_without_solutions_links_and_hidden_folders(tmp_path):
    home = folder(
        tmp_path / "home",
        {
            f"ann/course/exercises/{NAME}/{NAME}.ipynb": "ann's",
            f"ann/course/solutions/{NAME}/{NAME}.ipynb": "the solution",
            f"ann/.local/share/Trash/{NAME}.ipynb": "thrown away",
            "bo/notes.ipynb": "nothing of it",
        },
    )
    (home / "cy" / NAME).mkdir(parents=True)
    (home / "cy" / NAME / f"{NAME}.ipynb").symlink_to(home / "ann/course/solutions" / NAME)
    (home / "dee").symlink_to(home / "ann")
    assert taken(home, tmp_path / "s") == {"ann": "ann's"}


@pytest.mark.parametrize(
    "name", ["../../evil.ipynb", "/etc/evil.ipynb", "a/../../b.ipynb", "..\\x.ipynb", "C:\\x.ipynb"]
)
def test_a_zip_that_leads_elsewhere_is_refused_whole(tmp_path, name):
    source = zipped(tmp_path / "s.zip", MOODLE_FILES | {name: "x"})
    with pytest.raises(lms.Refused, match="leads out of it"):
        lms.take(source, NAME, tmp_path / "s", MOST)
    assert not (tmp_path / "s").exists()


def test_a_link_in_a_zip_is_left_out(tmp_path):
    source = zipped(tmp_path / "s.zip", MOODLE_FILES)
    with zipfile.ZipFile(source, "a") as out:
        entry = zipfile.ZipInfo("Eve_666_assignsubmission_file_/ex04_contrast.ipynb")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        out.writestr(entry, "/etc/passwd")
    done = lms.take(source, NAME, tmp_path / "s", MOST)
    assert "Eve_666" not in done.changes and any("is a link" in one for one in done.said)


def test_a_bomb_is_read_no_further_than_a_notebook_may_be_large(tmp_path):
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(f"Eve_6_assignsubmission_file_/{NAME}.ipynb", b"0" * 50_000_000)
    assert len(taken(path, tmp_path / "s")["Eve_6"]) == MOST + 1


def test_too_many_files_and_too_many_bytes_are_refused(tmp_path, monkeypatch):
    source = zipped(tmp_path / "s.zip", MOODLE_FILES)
    monkeypatch.setattr(lms, "MOST_FILES", 5)
    with pytest.raises(lms.Refused, match="more than 5 files"):
        lms.take(source, NAME, tmp_path / "s", MOST)
    monkeypatch.setattr(lms, "MOST_FILES", 50)
    monkeypatch.setattr(lms, "MOST_BYTES", 10)
    with pytest.raises(lms.Refused, match="unpack to more"):
        lms.take(source, NAME, tmp_path / "s", MOST)


def test_a_students_zip_of_too_many_files_is_not_opened(tmp_path, monkeypatch):
    many = zipped(tmp_path / "i.zip", {f"{n}.txt": "" for n in range(9)}).read_bytes()
    files = {"Eve_1_assignsubmission_file_/x.zip": many, "Bo_2_assignsubmission_file_/a.ipynb": "b"}
    monkeypatch.setattr(lms, "MOST_FILES", 8)
    done = lms.take(zipped(tmp_path / "s.zip", files), NAME, tmp_path / "s", MOST)
    assert done.changes == {"Bo_2": "new"}
    assert "x.zip” was left out: it holds more than 8 files." in "".join(done.said)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no zip", b"text"])
def test_what_is_no_zip_is_a_sentence(tmp_path, content):
    (tmp_path / "s.zip").write_bytes(content)
    with pytest.raises(lms.Refused, match="no zip file"):
        lms.take(tmp_path / "s.zip", NAME, tmp_path / "s", MOST)


def test_an_export_without_hand_ins_names_what_it_holds(tmp_path):
    source = folder(tmp_path / "a", {"readme.txt": "x", "pictures/a.png": "y"})
    with pytest.raises(lms.Refused, match="“pictures/a.png”"):
        lms.take(source, NAME, tmp_path / "s", MOST)


def test_a_zip_that_a_student_handed_in_is_looked_into(tmp_path):
    inner = zipped(tmp_path / "i.zip", {f"work/{NAME}.ipynb": "inner"}).read_bytes()
    bad = zipped(tmp_path / "j.zip", {f"../../{NAME}.ipynb": "out"}).read_bytes()
    files = {
        "ann_1_assignsubmission_file_/work.zip": inner,
        "eve_2_assignsubmission_file_/w.zip": bad,
    }
    assert taken(zipped(tmp_path / "s.zip", files), tmp_path / "s") == {"ann_1": "inner"}
    flat = zipped(tmp_path / "c.zip", {"ann_1_5_work.zip": inner})
    assert taken(flat, tmp_path / "t") == {"ann_1": "inner"}


def test_what_a_mac_leaves_in_a_students_zip_is_no_hand_in(tmp_path):
    inner = zipped(
        tmp_path / "in.zip", {f"work/{NAME}.ipynb": "a", f"__MACOSX/work/._{NAME}.ipynb": "x"}
    )
    for name in ("leeann_201_9001_work.zip", "Ann_101_assignsubmission_file_/work.zip"):
        made = zipped(tmp_path / "e.zip", {name: inner.read_bytes()})
        assert set(taken(made, tmp_path / name[:3]).values()) == {"a"}


def test_a_student_of_one_number_has_one_folder_whatever_the_name(tmp_path):
    names = "Müller", unicodedata.normalize("NFD", "Müller"), "Maier"
    for number, name in enumerate(names):
        files = {f"{name}_101_assignsubmission_file_/{NAME}.ipynb": str(number)}
        found = taken(zipped(tmp_path / "e.zip", files), tmp_path / "submitted")
        assert found == {"Müller_101": str(number)}


def test_collecting_again_says_what_changed(tmp_path):
    lms.take(zipped(tmp_path / "a.zip", MOODLE_FILES), NAME, tmp_path / "s", MOST)
    later = MOODLE_FILES | {"Ann Lee_101_assignsubmission_file_/ex04_contrast.ipynb": "anew"}
    done = lms.take(zipped(tmp_path / "b.zip", later), NAME, tmp_path / "s", MOST)
    assert done.changes == {
        "Ann Lee_101": "changed",
        "Ann Lee_102": "as before",
        "Åse Ø_103": "as before",
    }
    assert any("“Bo_104” has no notebook" in one and "essay.pdf" in one for one in done.said)


@pytest.mark.parametrize(
    ("files", "evil"),
    [
        (
            {f"ann_1_5_{NAME}.ipynb": "ann", f"bo_2_6_{NAME}.ipynb": "bo"},
            "eve_3_7_Bo_2_assignsubmission_file_x.ipynb",
        ),
        (
            {f"ann/{NAME}/{NAME}.ipynb": "ann", f"bo/{NAME}/{NAME}.ipynb": "bo"},
            f"eve/bo+{NAME}+2099-01-01 00:00:00 UTC/{NAME}.ipynb",
        ),
        (
            {f"ann/{NAME}/{NAME}.ipynb": "ann", f"bo/{NAME}/{NAME}.ipynb": "bo"},
            f"eve/bo_2_assignsubmission_file_/{NAME}.ipynb",
        ),
        (
            {f"Ex 4_ann_attempt_2026-11-20-10-11-12_{NAME}.ipynb": "ann"},
            f"Ex 4_eve_attempt_2026-11-20-10-11-12_bo_2_9_{NAME}.ipynb",
        ),
        (
            {f"Ex 4_ann_attempt_2026-11-20-10-11-12_{NAME}.ipynb": "ann"},
            f"Ex 4_eve_attempt_2026-11-20-10-11-12_x_ann_attempt_2026-11-21-10-11-12_{NAME}.ipynb",
        ),
    ],
)
@pytest.mark.parametrize("made", [zipped, folder])
def test_no_name_of_a_students_choice_says_whose_a_file_is(tmp_path, files, evil, made):
    found = taken(made(tmp_path / "export", files | {evil: "eve"}), tmp_path / "s")
    whose = {student.split("_")[0]: text for student, text in found.items()}
    assert whose == {text: text for text in [*files.values(), "eve"]}


def test_of_blackboards_files_the_last_attempt_wins(tmp_path):
    files = {
        f"ex04_ann_attempt_2026-11-20-10-11-12_{NAME}.ipynb": "first",
        "ex04_ann_attempt_2026-11-21-10-11-12_mended.ipynb": "second",
        "ex04_ann_attempt_2026-11-21-10-11-12_ex02 gradcam.ipynb": "of another",
        "ex04_ann_attempt_2026-11-21-10-11-12.txt": "a receipt",
    }
    assert taken(zipped(tmp_path / "s.zip", files), tmp_path / "s") == {"ann": "second"}


def test_blackboards_user_names_may_hold_what_stands_between_its_words(tmp_path):
    files = {
        f"ex04_contrast_{who}_attempt_2026-11-20-10-11-12_{NAME}.ipynb": who
        for who in ("a_lee", "b_lee", "ann")
    }
    found = taken(zipped(tmp_path / "s.zip", files), tmp_path / "s")
    assert found == {"a_lee": "a_lee", "b_lee": "b_lee", "ann": "ann"}


def test_brightspaces_folders_come_in_and_the_last_attempt_wins(tmp_path):
    files = {
        "index.html": "",
        f"12-34 - Ann O'Lee - Sep 9, 2026 1245 PM/{NAME}.ipynb": "first",
        "12-34 - Ann O'Lee - Sep 24, 2026 126 PM/work.ipynb": "last",
        f"12-34 - Ann O'Lee - Sep 24, 2026 945 AM/{NAME}.ipynb": "second",
        f"12-35 - Bo-Li Wu - 24 September, 2026 945 AM/{NAME}.ipynb": "bo",
        f"12-36 - Cy - 24 sept. 2026 0945/{NAME}.ipynb": "cy",
    }
    assert taken(zipped(tmp_path / "s.zip", files), tmp_path / "s") == {
        "12-34 - Ann O'Lee": "last",
        "12-35 - Bo-Li Wu": "bo",
    }
    del files["index.html"]
    cy = {name: text for name, text in files.items() if text == "cy"}
    found = taken(zipped(tmp_path / "t.zip", cy), tmp_path / "t")
    assert found == {"12-36 - Cy - 24 sept. 2026 0945": "cy"}


def test_a_class_in_one_folder_is_told_what_to_do(tmp_path):
    files = {f"Exercise 4/{who}/work/{NAME}.ipynb": who for who in ("Lee, Ann(ann)", "Wu, Bo(bo)")}
    done = lms.take(zipped(tmp_path / "s.zip", files), NAME, tmp_path / "s", MOST)
    assert "put each into a folder of its student's name" in "".join(done.said)
    flat = zipped(tmp_path / "f.zip", {f"Ann Lee - {NAME}.ipynb": "ann"})
    with pytest.raises(lms.Refused, match="put each notebook into a folder of its student's name"):
        lms.take(flat, NAME, tmp_path / "f", MOST)


def test_of_nbgraders_attempts_the_last_one_wins_whatever_its_file_is_called(tmp_path):
    exchange = {
        f"ann+{NAME}+2026-10-01 08:00:00 UTC/{NAME}.ipynb": "early",
        f"ann+{NAME}+2026-10-01 09:00:00 UTC/mended.ipynb": "late",
    }
    assert taken(folder(tmp_path / "b", exchange), tmp_path / "s") == {"ann": "late"}


def test_a_half_saved_notebook_is_none_and_a_copy_is_one(tmp_path):
    files = {
        f"Ann_1_assignsubmission_file_/{NAME}.ipynb": "untouched",
        f"Ann_1_assignsubmission_file_/Copy of {NAME}.ipynb": "worked on",
        f"Ann_1_assignsubmission_file_/.~{NAME}.ipynb": "half",
    }
    assert taken(zipped(tmp_path / "s.zip", files), tmp_path / "s") == {"Ann_1": "worked on"}


def test_an_ending_that_a_browser_added_makes_no_difference(tmp_path):
    files = {
        f"Ann_1_assignsubmission_file_/{NAME}.ipynb.txt": "ann",
        f"Bo_2_assignsubmission_file_/{NAME}.ipynb.json": "bo",
    }
    found = taken(folder(tmp_path / "e", files), tmp_path / "s")
    assert found == {"Ann_1": "ann", "Bo_2": "bo"}


def test_zips_are_looked_into_in_a_folder_and_in_homes_if_so_named(tmp_path, monkeypatch):
    inner = zipped(tmp_path / "i.zip", {f"work/{NAME}.ipynb": "inner"}).read_bytes()
    whole = {f"venv/{n}.py": "" for n in range(1200)} | {
        f"solutions/{NAME}/{NAME}.ipynb": "a solution",
        f"exercises/{NAME}/{NAME}.ipynb": "mine",
    }
    files = {
        "e/Ann_1_assignsubmission_file_/work.zip": inner,
        "e/Bo_2_assignsubmission_file_course.zip": zipped(tmp_path / "c.zip", whole).read_bytes(),
        f"h/cy/{NAME}.zip": inner,
        "h/dee/backup.zip": inner,
    }
    monkeypatch.setattr(f"{__name__}.MOST", 1_000_000)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert taken(tmp_path / "e", tmp_path / "s") == {"Ann_1": "inner", "Bo_2": "mine"}
    assert taken(tmp_path / "h", tmp_path / "t") == {"cy": "inner"}


def test_a_broken_file_of_one_student_stops_no_class(tmp_path):
    inner = bytearray(zipped(tmp_path / "i.zip", {f"{NAME}.ipynb": "inner"}).read_bytes())
    inner[inner.index(b"inner")] ^= 1  # its checksum is another one now
    files = {
        "Eve_1_assignsubmission_file_/work.zip": bytes(inner),
        "Cy_3_assignsubmission_file_/work.zip": b"no zip",
        f"Bo_2_assignsubmission_file_/{NAME}.ipynb": "bo",
    }
    source = zipped(tmp_path / "s.zip", files)
    done = lms.take(source, NAME, tmp_path / "s", MOST)
    assert done.changes == {"Bo_2": "new"}
    said = "\n".join(done.said)
    assert "“Eve_1” was not taken" in said and "Bad CRC" in said
    assert "Cy_3_assignsubmission_file_/work.zip” was left out: File is not a zip file" in said


def test_a_home_full_of_files_hides_nobodys_hand_in(tmp_path, monkeypatch):
    monkeypatch.setattr(lms, "MOST_FILES", 20)
    monkeypatch.setattr(lms, "MOST_ENTRIES", 5)
    files = {f"eve/many/{n}.ipynb": "x" for n in range(9)} | {f"bo/{NAME}.ipynb": "bo"}
    files |= {f"ann/data/{n}.png": "x" for n in range(40)} | {f"ann/work/{NAME}.ipynb": "ann"}
    home = folder(tmp_path / "home", files)
    done = lms.take(home, NAME, tmp_path / "s", MOST)
    assert done.changes == {"ann": "new", "bo": "new"}
    assert any("“eve” holds 9 notebooks: the first 5 were looked at" in one for one in done.said)


def test_what_belongs_to_nobody_is_named(tmp_path):
    source = zipped(tmp_path / "s.zip", MOODLE_FILES | {f"late/{NAME}.ipynb": "whose?"})
    said = lms.take(source, NAME, tmp_path / "s", MOST).said
    assert any(f"no name says whose it is: “late/{NAME}.ipynb”" in one for one in said)


# --- back again ---------------------------------------------------------------------------------

MOODLE_SHEET = (
    "\ufeffIdentifier,\"Full name\",\"Email address\",Status,Grade,\"Maximum Grade\","
    "\"Grade can be changed\",\"Last modified (submission)\",\"Last modified (grade)\"\r\n"
    'Participant 101,"Lee, Ann",ann@uni.example,"Submitted",,20.00,Yes,"Monday, 1 October",-\r\n'
    'Participant 102,"Lee, Ann",ann2@uni.example,"Submitted","",20.00,Yes,-,-\r\n'
    'Participant 103,"Åse ""Ø""",ase@uni.example,"Submitted",3.00,20.00,Yes,-,-\r\n'
    "Participant 104,Bo,bo@uni.example,\"No submission\",,20.00,Yes,-,-\r\n"
)  # fmt: skip
CANVAS_BOOK = (
    "Student,ID,SIS User ID,SIS Login ID,Section,ex02_gradcam (7),ex04 Contrast (8),Final Score\n"
    ",,,,,Manual Posting,,\n"
    "    Points Possible,,,,,20.0,,(read only)\n"
    '"Lee, Ann",201,s1,ann,"A; B",3,,\n'
    '"Bo, B.",202,s2,bo,A,,1,  7.5 \n'
    "\"Student, Test\",999,,,A,,,\n"
)  # fmt: skip


def grade(student: str, marks: float) -> dict:
    return {
        "student": student,
        "key": student,
        "parts": [{"name": "ex04_a", "marks": marks}],
        "texts": {WHY: "words"},
    }


def marked(**marks: float) -> ByHand:
    return ByHand({(key.replace("_", " ", 1), WHY): mark for key, mark in marks.items()})


def filled(tmp_path, text: str, grades, marks, origins, encoding="utf-8") -> roster.Filled:
    path = tmp_path / "roster.csv"
    path.write_bytes(text.encode(encoding))
    return roster.fill(path, grades, ASSIGNMENT, marks, origins)


def moodle(id: str) -> dict[str, str]:
    return {"system": "moodle", "id": id, "place": f"x_{id}_assignsubmission_file_"}


def test_moodles_worksheet_comes_back_with_one_column_changed(tmp_path):
    grades = [grade("Ann 101", 12.5), grade("Ann 102", 15), grade("Åse 103", 9), grade("Eve", 3)]
    marks = marked(Ann_101=4, Ann_102=2.5)  # Åse's words are not marked yet
    origins = {f"Ann {n}": moodle(n) for n in ("101", "102")} | {"Åse 103": moodle("103")}
    done = filled(tmp_path, MOODLE_SHEET, grades, marks, origins)
    wanted = MOODLE_SHEET.replace('"Submitted",,20', '"Submitted",16.5,20')
    wanted = wanted.replace('"Submitted","",20', '"Submitted","17.5",20')
    wanted = wanted.replace('"Submitted",3.00,', '"Submitted",,')
    assert done.content.decode() == wanted and done.filled == 2
    assert "“Eve”" in done.said[0] and "“Bo”" in done.said[1]


def test_a_text_handed_in_online_may_be_as_long_as_it_likes(tmp_path):
    csv.field_size_limit(131072)  # as Python begins
    sheet = MOODLE_SHEET.replace('"Submitted",,', f'"Submitted, {"x" * 140_000}",,')
    origins = {"Ann 101": moodle("101")}
    done = filled(tmp_path, sheet, [grade("Ann 101", 1)], marked(Ann_101=2), origins)
    wanted = sheet.replace('",,20.00,Yes,"M', '",3,20.00,Yes,"M')
    assert done.filled == 1 and done.content.decode() == wanted


def test_canvas_gradebook_comes_back_with_one_column_and_the_points_changed(tmp_path):
    grades = [grade("leeann_201", 12.5), grade("Bo", 15)]
    marks = ByHand({("leeann_201", WHY): 4, ("Bo", WHY): 5})
    origins = {"leeann_201": {"system": "canvas", "id": "201", "place": "x"}}
    done = filled(tmp_path, CANVAS_BOOK, grades, marks, origins)
    wanted = CANVAS_BOOK.replace('"A; B",3,,', '"A; B",3,16.5,')
    wanted = wanted.replace("A,,1,", "A,,20,").replace(",20.0,,(", ",20.0,20,(")
    assert done.content.decode() == wanted and done.filled == 2
    assert len(done.said) == 1 and "“Student, Test”" in done.said[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_mark_that_is_there_already_changes_no_byte(tmp_path, encoding, delimiter):
    rows = list(csv.reader(io.StringIO(MOODLE_SHEET.lstrip("\ufeff"))))
    rows[1][4] = "17,50" if delimiter == ";" else "17.50"
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    text = ("\ufeff" if encoding.startswith("utf-16") else "") + out.getvalue()
    done = filled(
        tmp_path,
        text,
        [grade("a", 12.5)],
        ByHand({("a", WHY): 5}),
        {"a": moodle("101")},
        encoding,
    )
    assert done.content == text.encode(encoding)


def test_students_are_matched_by_number_login_or_address_and_never_by_likeness(tmp_path):
    students = ["BO", "ann@uni.example", "202", "Lee, Ann", "an"]
    grades = [grade(name, 1) for name in students]
    marks = ByHand({(name, WHY): 1 for name in students})
    canvas = filled(tmp_path, CANVAS_BOOK, grades, marks, {})
    assert "more than one row or hand-in fits: “202”, “BO”" in " ".join(canvas.said)
    assert "“Lee, Ann”, “an”, “ann@uni.example”" in canvas.said[0] and canvas.filled == 0
    worksheet = filled(tmp_path, MOODLE_SHEET, grades[1:2], marks, {})
    assert worksheet.filled == 1


def test_where_three_hand_ins_fit_one_row_none_is_filled_in(tmp_path):
    names = ["ann", "ANN", "s1"]
    done = filled(
        tmp_path,
        CANVAS_BOOK,
        [grade(name, number) for number, name in enumerate(names, 1)],
        ByHand({(name, WHY): 1 for name in names}),
        {},
    )
    assert done.filled == 0 and '"Lee, Ann",201,s1,ann,"A; B",3,,' in done.content.decode()
    assert "Not filled, since more than one row or hand-in fits: “ANN”, “ann”, “s1”" in done.said[0]


@pytest.mark.parametrize(
    "column, many",
    [
        ("Exercise ex04: contrasts (8)", 1),
        ("EX04 (8)", 1),
        ("ex040 other (8)", 0),
        ("hex04 (8)", 0),
        ("ex04_contrast (8),Contrast of ex04 (9)", 1),  # the full name is surer than the number
        ("ex04 Contrast (8),ex04_contrast (9)", 2),
        ("ex04 first try (8),ex04 again (9)", 2),
    ],
)
def test_canvas_column_is_told_by_the_full_name_or_by_the_number_as_a_word(tmp_path, column, many):
    text = CANVAS_BOOK.replace("ex04 Contrast (8)", column)
    ask = [grade("bo", 2)], ByHand({("bo", WHY): 1}), {}
    if many == 1:
        assert "A,,3,  7.5" in filled(tmp_path, text, *ask).content.decode()
    else:
        with pytest.raises(roster.NoRoster, match=f"{many or 'no'} columns are called"):
            filled(tmp_path, text, *ask)


@pytest.mark.parametrize(
    "there, other, mark", [("3.00", "20.00", "16.5"), ('"3,00"', '"20,00"', '"16,5"'),
                           ('"3,00"', "20.00", "16.5")],
)  # fmt: skip
def test_a_mark_is_written_as_this_file_writes_numbers(tmp_path, there, other, mark):
    text = MOODLE_SHEET.replace("20.00", other).replace(",3.00,", f",{there},")
    done = filled(tmp_path, text, [grade("a", 12.5)], ByHand({("a", WHY): 4}), {"a": moodle("101")})
    assert done.content.decode() == text.replace('"Submitted",,', f'"Submitted",{mark},')


def test_a_file_that_is_no_export_or_has_no_column_is_a_sentence(tmp_path):
    with pytest.raises(roster.NoRoster, match="neither Moodle's grading worksheet"):
        filled(tmp_path, "name,mark\nann,1\n", [], ByHand(), {})
    with pytest.raises(roster.NoRoster, match="no columns are called ex04_contrast"):
        filled(tmp_path, CANVAS_BOOK.replace("ex04 Contrast", "Essay"), [], ByHand(), {})
    with pytest.raises(roster.NoRoster):
        filled(tmp_path, "", [], ByHand(), {})


def test_a_roster_with_short_rows_and_a_login_in_another_encoding_is_filled(tmp_path):
    text = (
        CANVAS_BOOK.replace(",ann,", ",müller,")
        + "\n\n"
        + '"Short, S.",204,s4,short\n"Two, T.",205\n'
    )
    students = [unicodedata.normalize("NFD", "müller"), "short"]
    marks = ByHand({(name, WHY): 1 for name in students})
    done = filled(tmp_path, text, [grade(name, 2) for name in students], marks, {})
    assert done.filled == 1 and ",3,3,\n" in done.content.decode()
    assert "rows end before the column, or are longer than the first row: “short”" in done.said[1]


def test_a_row_whose_cells_a_stray_quote_moved_is_left_as_it_is(tmp_path):
    text = MOODLE_SHEET.replace('"Lee, Ann",ann@', 'Lee", Ann,ann@')  # the name is two cells now
    marks = marked(Ann_101=4, Ann_102=2)
    grades = [grade("Ann 101", 12), grade("Ann 102", 15)]
    done = filled(tmp_path, text, grades, marks, {f"Ann {n}": moodle(n) for n in ("101", "102")})
    assert done.filled == 1 and done.content.decode() == text.replace('"",20.00', '"17",20.00')
    assert "longer than the first row: “Ann 101”" in " ".join(done.said)


def test_other_points_in_the_lms_are_said(tmp_path):
    done = filled(tmp_path, MOODLE_SHEET.replace("20.00", "100.00"), [], ByHand(), {})
    assert "Moodle counts “100.00” points" in " ".join(done.said)
    done = filled(tmp_path, CANVAS_BOOK.replace("20.0,,(", "20.0,100,("), [], ByHand(), {})
    assert "Canvas counts “100” points" in " ".join(done.said) and b",20.0,20,(" in done.content


def test_feedback_goes_back_under_the_lms_own_names_and_changes_only_when_it_does(tmp_path):
    origins = {
        "Ann_101": {"system": "moodle", "id": "101", "place": "Ann_101_assignsubmission_file_"},
        "leeann_201": {"system": "canvas", "id": "201", "place": "leeann_201_9055_work.ipynb"},
    }
    pages = {"Ann_101": "<p>a", "leeann_201": "<p>b", "cy": "<p>c"}
    path = tmp_path / "feedback.zip"
    feedback_zip.write_zip(path, NAME, pages, origins)
    with zipfile.ZipFile(path) as made:
        assert {name: made.read(name).decode() for name in made.namelist()} == {
            f"Ann_101_assignsubmission_file_/{NAME}.html": "<p>a",
            "leeann_201_9055_work.html": "<p>b",
            f"cy/{NAME}.html": "<p>c",
        }
    before = path.stat().st_mtime_ns
    feedback_zip.write_zip(path, NAME, pages, origins)
    assert path.stat().st_mtime_ns == before


def test_what_the_lms_calls_a_student_is_kept_and_read_from_moodles_own_folders(tmp_path):
    lms.take(zipped(tmp_path / "a.zip", MOODLE_FILES), NAME, tmp_path / "s", MOST)
    (tmp_path / "s" / "Di_109_assignsubmission_file_").mkdir()
    found = lms.origins(tmp_path / "s", NAME)
    assert found["Ann Lee_102"]["place"] == "Ann Lee_102_assignsubmission_file_"
    assert found["Di_109_assignsubmission_file_"]["id"] == "109"
    assert json.loads((tmp_path / "s" / f"{NAME}_collected.json").read_text())["Åse Ø_103"]
