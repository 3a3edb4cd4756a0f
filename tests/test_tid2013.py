"""Photos with opinion scores: the official folder, made tiny, and what can be wrong with it."""

import numpy as np
import pytest
from PIL import Image

from course_utils.quality.training.tid2013 import (
    ScoresError,
    crop_reference,
    distort_anew,
    load_tid2013,
    read_scores,
)


def picture(seed, size=(64, 64)):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Two references, one type, two levels, with the official folder's odd upper and lower case."""
    (tmp_path / "reference_images").mkdir()
    (tmp_path / "distorted_images").mkdir()
    lines = []
    for reference in (1, 2):
        picture(reference).save(tmp_path / "reference_images" / f"I{reference:02d}.BMP")
        for level in (1, 2):
            picture(10 * reference + level).save(
                tmp_path / "distorted_images" / f"i{reference:02d}_08_{level}.bmp"
            )
            lines.append(f"{level + 0.5} I{reference:02d}_08_{level}.bmp")
    (tmp_path / "mos_with_names.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_the_folder_is_read_with_scores_from_0_to_1(folder):
    scored = load_tid2013(folder)
    assert [(s.reference, s.type, s.level) for s in scored] == [
        (1, 8, 1),
        (1, 8, 2),
        (2, 8, 1),
        (2, 8, 2),
    ]
    assert scored[1].score == pytest.approx(2.5 / 7.21)
    distorted, reference = scored[3].open()
    assert np.array_equal(distorted, picture(22)) and np.array_equal(reference, picture(2))


def test_a_wrong_folder_is_told_what_it_lacks(tmp_path):
    with pytest.raises(
        ScoresError, match="not TID2013's folder: reference_images, distorted_images, mos_with"
    ):
        load_tid2013(tmp_path)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(ScoresError, match="not TID2013's folder"):
        load_tid2013(tmp_path / "nowhere")


def test_missing_pictures_are_named_and_counted(folder):
    (folder / "distorted_images" / "i02_08_1.bmp").unlink()
    with pytest.raises(ScoresError, match=r"lacks 1 pictures: i02_08_1\.bmp"):
        load_tid2013(folder)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "five I01_08_1.bmp",
            "Line 2 of .* cannot be read: 'five I01_08_1.bmp'. It should look like",
        ),
        ("5.1 I01_08.bmp", "cannot be read"),
        ("5.1 I01_25_1.bmp", "out of range"),
        ("nan I01_08_1.bmp", "out of range"),
        ("1.0 I01_08_1.bmp", "for the second time"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, words):
    (tmp_path / "mos_with_names.txt").write_text(f"1.5 I01_08_1.bmp\n{line}\n")
    with pytest.raises(ScoresError, match=words):
        read_scores(tmp_path / "mos_with_names.txt")


def test_an_empty_list_is_said_to_be_so(tmp_path):
    (tmp_path / "mos_with_names.txt").write_text("\n")
    with pytest.raises(ScoresError, match="holds no scores"):
        read_scores(tmp_path / "mos_with_names.txt")


def test_a_table_is_read_too(tmp_path):
    (tmp_path / "mos.csv").write_text("reference,type,level,mos\n3,10,5,0.25\n")
    assert read_scores(tmp_path / "mos.csv") == {(3, 10, 5): 0.25}


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("mos,reference,type,level\n5,1,2,3\n", {(1, 2, 3): 5}),
        ("Level, Type, Reference, MOS, seen by\n3,2,1,5,40\n", {(1, 2, 3): 5}),
        ("1,2,3,5.5\n1,2,4,5.0\n", {(1, 2, 3): 5.5, (1, 2, 4): 5.0}),
        ("reference;type;level;mos\n1;2;3;5,5\n", {(1, 2, 3): 5.5}),
        ("1;2;3;5,5\n", {(1, 2, 3): 5.5}),
        ('1,2,3,"5,5"\n', {(1, 2, 3): 5.5}),
        ("\n1\t2\t3\t5.5\n", {(1, 2, 3): 5.5}),
        ('"seen; by",mos,reference,type,level\n40,5.5,1,2,3\n', {(1, 2, 3): 5.5}),
        ("sep=;\nreference;type;level;mos\n1;2;3;5,5\n", {(1, 2, 3): 5.5}),
        ("1.0,2.0,3.0,5.5\n", {(1, 2, 3): 5.5}),
        (",,,\n1,2,3,5.5\n , ,,\n1,2,4,5\n,,,\n", {(1, 2, 3): 5.5, (1, 2, 4): 5}),
    ],
    ids=["mos first", "more columns", "no header", "semicolons", "both", "quoted", "tabs", "marks"]
    + ["Excel's mark", "floats", "emptied rows"],
)
@pytest.mark.parametrize("name", ["mos.csv", "MOS.CSV"])
def test_a_table_is_read_by_the_names_of_its_columns(tmp_path, name, text, scores):
    for encoding in ("utf-8-sig", "utf-16"):  # as Notepad and spreadsheets on Windows save it
        (tmp_path / name).write_text(text, encoding=encoding)
        assert read_scores(tmp_path / name) == scores


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("photo,type,level,mos\n1,2,3,5\n", "The first line of .* reference, type, level, mos"),
        ("mos,mos,type,level\n1,2,3,5\n", "once each"),
        ("reference,type,level,mos\n1,2,3,5,5\n", "Line 2 .* cannot be read: '1,2,3,5,5'"),
        ("1,2,3\n", "Line 1 .* cannot be read"),
        ("1.5,2,3,4\n", "Line 1 .* cannot be read"),
        (f"1,2,3,4\n1,2,4,{'5' * 200_000}\n", "Line 2 .* cannot be read: '1,2,4,5{94}[.]{3}'"),
        (f"{'x' * 200_000}\n1,2,3,4\n", "names the columns 'x{100}[.]{3}'"),
        ("1,2,3,4\n1,2,4,5\0\n", "no text, or in an unknown encoding"),
    ],
)
def test_a_table_that_leaves_doubt_is_refused(tmp_path, text, words):
    (tmp_path / "mos.csv").write_text(text)
    with pytest.raises(ScoresError, match=words):
        read_scores(tmp_path / "mos.csv")


def test_a_spreadsheets_own_file_is_told_what_to_save_it_as(tmp_path):
    for name in ("mos.xlsx", "mos.csv"):
        (tmp_path / name).write_bytes(b"PK\x03\x04\x14\x00")
        with pytest.raises(ScoresError, match="spreadsheet's own file: save it as CSV"):
            read_scores(tmp_path / name)


@pytest.mark.parametrize("line", ["5.5 i01_02_3.BMP", "5,5  I01_02_3.bmp"])
def test_a_list_is_read_in_capitals_with_decimal_commas_and_a_byte_order_mark(tmp_path, line):
    (tmp_path / "mos.txt").write_text(f"{line}\r\n", encoding="utf-8-sig")
    assert read_scores(tmp_path / "mos.txt") == {(1, 2, 3): 5.5}


def test_known_crops_are_cut_where_tid2013_cut_them():
    """Reference 4 begins at (x, y) = (0, 206); reference 1 is not known: the centre."""
    portrait, landscape = picture(0, (512, 768)), picture(0, (768, 512))
    assert np.array_equal(crop_reference(portrait, 4), np.asarray(portrait)[206:590])
    assert np.array_equal(crop_reference(landscape, 1), np.asarray(landscape)[64:448, 128:640])


def test_references_are_distorted_anew_where_a_psnr_defines_the_picture(tmp_path):
    picture(5, (768, 512)).save(tmp_path / "kodim01.png")
    scored = distort_anew(tmp_path, {(1, 8, 2): 3.0, (1, 15, 2): 3.0, (2, 8, 2): 3.0})
    assert [(s.reference, s.type) for s in scored] == [(1, 8)]  # 15 cannot be made, 2 is not there
    distorted, reference = scored[0].open()
    assert distorted.size == reference.size == (512, 384)


def test_a_folder_without_references_is_said_to_be_so(tmp_path):
    with pytest.raises(ScoresError, match="holds no photo kodim01.png"):
        distort_anew(tmp_path, {(1, 8, 2): 3.0})
