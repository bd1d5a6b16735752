"""Bad rows are named, good ones are read, whatever the form of the table."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from ti2v_bench.bench import BenchError, check_bench, load_bench, scenario_of, slug
from ti2v_bench.cli.bench import bench


def picture(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = Image.effect_noise((64, 48), 80).convert("RGB")
    Image.blend(noise, Image.new("RGB", noise.size, colour), 0.3).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three whole pictures in `images/`; the table is the test's own."""
    for name in ("horse1.jpeg", "horse2.PNG", "meadow_pig.jpg"):
        picture(tmp_path / "bench" / "images" / name)
    return tmp_path / "bench"


def table(folder: Path, content: str | bytes) -> Path:
    (folder / "prompt.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def problems(folder: Path) -> dict[int, str]:
    return {problem.row: problem.message for problem in check_bench(folder).problems}


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A horse jumping.", "a_horse_jumping"),
        ("A cartoon-style person turning right.", "a_cartoonstyle_person_turning_right"),
        ("The tree's  shadow\tshifts!", "the_trees_shadow_shifts"),
        ("Ein Pferd läuft über die Brücke", "ein_pferd_läuft_über_die_brücke"),
        ("…!?", ""),
    ],
)
def test_slug_is_lower_case_without_punctuation_and_joined_by_underscores(prompt: str, expected: str) -> None:
    assert slug(prompt) == expected


@pytest.mark.parametrize(
    ("stem", "scenario"),
    [("aerial_car12", "aerial_car"), ("meadow_pig", "meadow"), ("sun", "sun"), ("cat_01", "cat"), ("0007", "0007")],
)
def test_scenario_is_the_stem_without_trailing_digits(stem: str, scenario: str) -> None:
    assert scenario_of(stem) == scenario


def test_real_bench_has_the_published_counts_and_names_every_published_clip(real_dir: Path) -> None:
    result = CliRunner().invoke(bench, ["check", str(real_dir)])
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "320 pairs, 88 images, 133 prompts, 22 scenarios"
    ids = {pair.id for pair in load_bench(real_dir).pairs}
    clips = [clip.stem.removesuffix("_0") for clip in (real_dir / "videos").glob("*/*.mp4")]
    assert clips
    assert set(clips) <= ids


PLAIN = "images/horse1.jpeg,A horse jumping.\nimages/horse2.PNG,A horse running.\nimages/meadow_pig.jpg,A pig sleeps.\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        "image,prompt\n" + PLAIN,
        "\ufeffimage_path,text\n" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("images/", ""),
        PLAIN.replace("images/", "images\\"),
        PLAIN.replace("images/", "TI2V-Bench/"),
        PLAIN.replace(".PNG", ".png").replace(".jpeg", ".JPEG"),
        PLAIN.replace(".PNG", "").replace(".jpeg", "").replace(".jpg", ""),
        '"' + PLAIN.replace(",", '","').replace("\n", '"\n"')[:-1],
        "\n" + PLAIN + "\n,\n",
        "prompt,image\nA horse jumping.,horse1.jpeg\nA horse running.,horse2.PNG\nA pig sleeps.,meadow_pig.jpg\n",
        "id,image,category,prompt\n0,horse1.jpeg,animal,A horse jumping.\n1,horse2.PNG,animal,A horse running.\n"
        "2,meadow_pig.jpg,animal,A pig sleeps.\n",
        "0,horse1.jpeg,A horse jumping.\n1,horse2.PNG,A horse running.\n2,meadow_pig.jpg,A pig sleeps.\n",
    ],
)
def test_any_form_of_the_table_gives_the_same_pairs(folder: Path, content: str) -> None:
    pairs = load_bench(table(folder, content)).pairs
    assert [(pair.id, pair.image_id, pair.scenario, pair.prompt) for pair in pairs] == [
        ("horse1_a_horse_jumping", "horse1", "horse", "A horse jumping."),
        ("horse2_a_horse_running", "horse2", "horse", "A horse running."),
        ("meadow_pig_a_pig_sleeps", "meadow_pig", "meadow", "A pig sleeps."),
    ]
    assert all(pair.image.is_absolute() and pair.image.is_file() for pair in pairs)


def test_quoted_prompts_keep_commas_and_quotes(folder: Path) -> None:
    (pair,) = load_bench(table(folder, 'horse1.jpeg,"A horse, ""Max"", jumping."\n')).pairs
    assert pair.prompt == 'A horse, "Max", jumping.'


def test_every_bad_row_is_named_with_its_number_and_reason(folder: Path, tmp_path: Path) -> None:
    images = folder / "images"
    whole = picture(images / "cut1.png").read_bytes()
    (images / "cut1.png").write_bytes(whole[: len(whole) // 2])
    whole = picture(images / "cut2.jpg").read_bytes()
    (images / "cut2.jpg").write_bytes(whole[: int(len(whole) * 0.8)])
    (images / "empty1.jpg").touch()
    (images / "text1.jpg").write_text("no picture")
    picture(images / "again" / "horse1.png")
    outside = picture(tmp_path / "outside1.jpg")
    (images / "link1.jpg").symlink_to(outside)
    (images / "dangling1.jpg").symlink_to(images / "nothing.jpg")
    rows = [
        ("image,prompt", None),
        ("horse1.jpeg,A horse jumping.", None),
        ("horse9.jpeg,A horse jumping.", "does not exist"),
        ("cut1.png,It moves.", "cannot be read"),
        ("cut2.jpg,It moves.", "cannot be read"),
        ("empty1.jpg,It moves.", "zero bytes"),
        ("text1.jpg,It moves.", "cannot be read"),
        ("../outside1.jpg,It moves.", "leads out"),
        (f"{outside},It moves.", "leads out"),
        ("link1.jpg,It moves.", "leads out"),
        ("dangling1.jpg,It moves.", "does not exist"),
        ("horse2.PNG,  ", "prompt is empty"),
        ("horse2.PNG", "prompt is empty"),
        (",A horse jumping.", "not named"),
        ("horse2.PNG,...", "no letter or digit"),
        ("horse1.jpeg,A horse jumping.", "same pair as row 2"),
        ("images/horse1.jpeg,a horse jumping", "same pair id as row 2"),
        ("again/horse1.png,A horse sleeps.", "two pictures are called 'horse1'"),
        ("horse2.PNG,A horse jumps, then runs.", "3 columns where 2"),
        ("horse2.PNG," + "very " * 60 + "long", "shorten the prompt"),
        ('horse2.PNG,"A horse', "quote left open"),
        ('runs"', None),
        ("horse2.PNG,A horse runs.", None),
    ]
    table(folder, "\n".join(row for row, _ in rows))
    found = problems(folder)
    expected = {number: why for number, (_, why) in enumerate(rows, 1) if why is not None}
    assert found.keys() == expected.keys()
    for number, why in expected.items():
        assert why in found[number], (number, found[number])
    result = CliRunner().invoke(bench, ["check", str(folder)])
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == len(expected) + 1
    assert result.output.splitlines()[-1] == "2 pairs, 2 images, 2 prompts, 1 scenarios"
    with pytest.raises(BenchError, match=f"{len(expected)} bad rows: row 3:.*row 21:"):
        load_bench(folder)


def test_a_name_that_two_pictures_have_must_be_written_with_its_folder(folder: Path) -> None:
    picture(folder / "other" / "horse1.jpeg")
    assert "could be any of" in problems(table(folder, "horse1.jpeg,A horse jumping.\n"))[1]
    assert len(load_bench(table(folder, "other/horse1.jpeg,A horse jumping.\n")).pairs) == 1


def test_spaces_and_joiners_of_other_scripts_may_stand_in_a_prompt(folder: Path) -> None:
    (pair,) = load_bench(table(folder, "horse1.jpeg,A\u00a0horse \u0915\u094d\u200d\u0937.\n")).pairs
    assert pair.prompt == "A\u00a0horse \u0915\u094d\u200d\u0937."


def test_a_picture_whose_name_cannot_begin_a_videos_name_is_a_bad_row(folder: Path) -> None:
    picture(folder / ".horse.jpeg")
    assert "'.horse.jpeg' cannot begin the name of a video" in problems(table(folder, ".horse.jpeg,A horse.\n"))[1]


def test_one_missing_picture_in_a_table_without_header_is_a_bad_row(folder: Path) -> None:
    assert list(problems(table(folder, "horse9.jpeg,A horse jumping.\nhorse1.jpeg,A horse jumping.\n"))) == [1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image,prompt\nhorse1.jpeg,A caf\xe9.\n", "not UTF-8: line 2 has the byte 0xe9"),
        (PLAIN.encode("utf-16"), "not UTF-8: line 1"),
        (b"", "has no rows"),
        (b"image,prompt\n", "names picture files"),
        (b"a,b\nc,d\n", "names picture files"),
    ],
)
def test_an_unusable_table_is_one_clear_error(folder: Path, content: bytes, message: str) -> None:
    with pytest.raises(BenchError, match=message) as raised:
        check_bench(table(folder, content))
    assert "\n" not in str(raised.value)


def test_an_unusable_folder_is_one_clear_error(folder: Path) -> None:
    for asked, message in (
        (folder / "nowhere", "There is no folder"),
        (folder, "There is no prompt.csv"),
        (folder / "images" / "horse1.jpeg", "is a file"),
    ):
        with pytest.raises(BenchError, match=message):
            check_bench(asked)
    with pytest.raises(BenchError, match="has one: give that folder"):
        check_bench(table(folder, PLAIN) / "images")
