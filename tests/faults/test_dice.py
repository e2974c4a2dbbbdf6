from __future__ import annotations

from trio_push.faults.dice import Dice


def test_the_same_seed_and_name_roll_the_same() -> None:
    one, other = Dice(7, "a"), Dice(7, "a")
    rolls = [one.roll() for _ in range(1000)]
    assert rolls == [other.roll() for _ in range(1000)]
    assert all(0 <= roll < 1 for roll in rolls)
    assert len(set(rolls)) == 1000
    assert 400 < sum(roll < 0.5 for roll in rolls) < 600


def test_another_seed_or_name_rolls_otherwise() -> None:
    first = Dice(7, "a").roll()
    assert first != Dice(8, "a").roll()
    assert first != Dice(7, "b").roll()


def test_a_text_has_one_number_however_often_was_rolled() -> None:
    dice = Dice(7, "a")
    number = dice.of("c0ffee")
    dice.roll()
    assert dice.of("c0ffee") == number
    assert dice.of("c0ffef") != number
