"""Numbers become a table, and a lamp is green or grey."""

from pipeline.play.views.status import lamp, table


def test_a_lamp_is_green_when_it_is_lit() -> None:
    assert "#2f9e44" in lamp(True, "At the grasp") and "#2f9e44" not in lamp(False, "On its way")


def test_a_table_has_a_row_for_each_value() -> None:
    html = table([("contact", "none"), ("guard", "free")])
    assert html.count("<tr>") == 2 and "contact</td>" in html and ">free</td>" in html
