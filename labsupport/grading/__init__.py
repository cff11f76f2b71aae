"""Scores a student's notebook without trusting anything in it.

    course       the course's own notebooks: their cells, exercises, checks and points
    graft        takes the answers, and only those, from a student's file
    jail         where the student's code runs: a lab of its own, which sees nothing of the teacher's
    plain        the answer as plain data
    driver       the program in the jail that runs the cells
    judge        runs the course's checks in the grader's process
    grade        one notebook from its first cell to its score
    report       the score, for people and for programs
    answers      reference answers and wrong answers: tests/answers/NN.toml
    reference    python -m labsupport.grading.reference: notebooks with outputs, for nbval to compare with
    command      labsupport check
"""
