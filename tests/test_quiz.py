"""The quiz: first choices are scored, every choice is explained."""

import re

import pytest

from course_utils.explorers.quiz import Quiz, QuizQuestion
from course_utils.explorers.quiz_questions import QUESTIONS


def question(text="Is it?", right="yes"):
    return QuizQuestion(
        text, {"yes": "Because <it> is.", "no": "It is not."}, right, ("step 1", "a.ipynb#s1")
    )


@pytest.fixture
def quiz():
    return Quiz([question(), question("And this?", right="no")])


def test_a_question_whose_right_answer_is_not_offered_is_refused():
    with pytest.raises(ValueError, match="needs two choices"):
        question(right="perhaps")


def test_every_choice_is_explained_with_a_link_and_markup_is_escaped(quiz):
    quiz.choices[0].value = "yes"
    assert "Right." in quiz.feedback[0].value
    assert "Because &lt;it&gt; is." in quiz.feedback[0].value
    assert "<a href='a.ipynb#s1'>step 1</a>" in quiz.feedback[0].value
    quiz.choices[0].value = "no"
    assert "Not this one." in quiz.feedback[0].value and "It is not." in quiz.feedback[0].value


def test_the_first_choice_counts(quiz):
    quiz.choices[0].value = "no"
    quiz.choices[0].value = "yes"
    assert (quiz.score, quiz.answered) == (0, 1)


def test_the_score_comes_at_the_end_and_names_what_to_read_again(quiz):
    assert "2 of 2 questions to go" in quiz.result.value
    quiz.choices[0].value = "yes"
    assert "1 of 2 questions to go" in quiz.result.value
    quiz.choices[1].value = "yes"
    assert (
        "Your score: 1 of 2." in quiz.result.value
        and "Read again: question 2." in quiz.result.value
    )


def test_a_perfect_score_sends_nobody_back(quiz):
    quiz.choices[0].value, quiz.choices[1].value = "yes", "no"
    assert "Your score: 2 of 2. All of them right." in quiz.result.value


def test_without_a_kernel_the_choices_are_listed_and_the_answers_folded(quiz):
    """What stands outside of <details> is seen at once: every choice, and no verdict on any."""
    page = quiz._repr_mimebundle_()["text/html"]
    seen = re.sub("<details>.*?</details>", "", page)
    assert seen.count("<li>yes</li>") == seen.count("<li>no</li>") == 2
    assert "Right" not in seen and "Because" not in seen
    assert page.count("<details><summary>Answer</summary>") == 2
    assert "<b>Right.</b> yes Because &lt;it&gt; is." in page and "Not: no It is not." in page


def test_a_page_with_a_kernel_gets_the_widget(quiz):
    assert "application/vnd.jupyter.widget-view+json" in quiz._repr_mimebundle_()


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: asked.text[:30])
def test_the_courses_questions_explain_every_choice_and_link_to_a_lecture(asked, root):
    assert all(asked.choices.values())
    file, _, _ = asked.look[1].partition("#")
    assert not file or (root / "lectures" / file).is_file()


def test_the_courses_questions_are_all_different():
    assert len({asked.text for asked in QUESTIONS}) == len(QUESTIONS)
