"""Jobs and roles as files say them: what is read, in which order it comes, and what is said of what is wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_agent.errors import JobError
from smesh_agent.work import PERSON, task_id
from smesh_agent.workflows.agents import crew_of, demo_job, parse_job, read_job, read_roles, roles_for
from smesh_core import node_id

FILE = """
title: An open night
tasks:
  - {id: leaflet, do: Write half a page., skill: write, after: [history], approve: true, priority: 1, within_s: 30}
  - {id: history, do: Collect what is known., skill: research}
"""


def test_a_file_becomes_tasks_in_an_order_that_can_be_done() -> None:
    job = parse_job(FILE, "f.yaml")
    history, leaflet = job.tasks
    assert (job.title, job.skills) == ("An open night", ["research", "write"])
    assert (history.what, history.skill, history.after) == ("Collect what is known.", "research", ())
    assert leaflet.after == (task_id(history).hex(),)
    assert (leaflet.approver, leaflet.priority, leaflet.run_s_max) == (node_id(PERSON).hex(), 1.0, 30)
    assert (history.approver, history.priority, history.run_s_max) == ("", 0.5, 600)


def test_a_list_alone_is_a_job_and_json_is_as_good() -> None:
    todos = [{"id": "a", "do": "x"}, {"id": "b", "do": "y", "after": ["a", "a"]}]
    as_json, as_yaml = (
        parse_job(json.dumps(todos), "f"),
        parse_job("- {id: a, do: x}\n- {id: b, do: y, after: [a]}", "f"),
    )
    assert as_json.tasks == as_yaml.tasks


def test_equal_files_make_equal_tasks_and_other_words_make_others() -> None:
    ids = [task_id(task) for task in parse_job(FILE, "f").tasks]
    assert ids == [task_id(task) for task in parse_job(FILE, "g").tasks]
    changed = [task_id(task) for task in parse_job(FILE.replace("Collect", "Gather"), "f").tasks]
    assert not set(ids) & set(changed)  # the second comes after the first, and that is another one now


def test_the_demo_is_a_job_of_three_roles() -> None:
    job = demo_job()
    assert len(job.tasks) == 13
    assert [role.name for role in roles_for(job.skills)] == ["research", "write", "review"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks: []", "f: tasks: Expected `array` of length >= 1"),
        ("- {id: a, do: x, after: [b]}", "f: task 'a' comes after 'b', which is not there"),
        (
            "- {id: a, do: x, after: [b]}\n- {id: b, do: y, after: [a]}",
            "f: tasks wait for each other: a after b after a",
        ),
        ("- {id: a, do: x, after: [a]}", "f: tasks wait for each other: a after a"),
        ("- {id: 1, do: x}", "f: tasks[0].id: Expected `str`, got `int`"),
        ("- {id: a, do: x, pritority: 1}", "f: tasks[0]: Object contains unknown field `pritority`"),
        ("- {id: a, do: x}\n- {id: a, do: y}", "f: two tasks have the id 'a'"),
        ("- {id: a, do: x, priority: 2}", "f: tasks[0].priority: Expected `float` <= 1.0"),
        ("\na: [", "f, line 2: expected the node content, but found '<stream end>'"),
        ('{"tasks": [\n1,}', "f, line 2: Expecting value"),
        ("[" * 5000, "f: nested too deeply"),
        ("", "f: Expected `object`, got `null`"),
        ("a: !!python/object:os.system x", "f, line 1: could not determine a constructor for the tag"),
        (f"- {{id: a, do: {'x' * 9000}}}", "f, task 'a': Task.what takes text of 1 to 8192 bytes"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_with_its_place(text: str, said: str) -> None:
    with pytest.raises(JobError) as caught:
        parse_job(text, "f")
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path) -> None:
    (tmp_path / "latin").write_bytes(b"- {id: a, do: caf\xe9}")
    (tmp_path / "large").write_bytes(b" " * (8 * 1024**2 + 1))
    for name, said in (
        ("none", "No such file"),
        (".", "Is a directory"),
        ("latin", "not text in UTF-8 (byte 18)"),
        ("large", "larger than 8 MiB"),
    ):
        with pytest.raises(JobError, match=said.replace("(", r"\(").replace(")", r"\)")):
            read_job(tmp_path / name)


@given(st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=12))
def test_any_order_that_can_be_done_is_found_and_circles_are_named(needs: list[set[int]]) -> None:
    size = len(needs)
    todos = [
        {"id": str(n), "do": "x", "after": [str(m) for m in sorted(after) if m < size]} for n, after in enumerate(needs)
    ]
    done: set[str] = set()
    while ready := [one for one in todos if one["id"] not in done and set(one["after"]) <= done]:
        done.update(one["id"] for one in ready)
    if len(done) < size:
        with pytest.raises(JobError, match="wait for each other"):
            parse_job(json.dumps(todos), "f")
        return
    placed: set[str] = set()
    for todo in parse_job(json.dumps(todos), "f").todos:
        assert set(todo.after) <= placed
        placed.add(todo.id)
    assert len(placed) == size


# Roles


def test_roles_by_skill_and_from_a_file(tmp_path) -> None:
    plain, other = roles_for(["", "research", "dance"])
    assert "facts" in plain.instructions
    assert "one task at a time" in other.instructions
    assert [role.skills for role in roles_for([""])] == [["work"]]
    file = tmp_path / "roles.yaml"
    file.write_text(
        "- {name: historian, skills: [research], model: m}\n- {name: poet, skills: [write], instructions: Rhyme.}"
    )
    historian, poet = read_roles(file)
    assert (historian.model, historian.instructions) == ("m", plain.instructions)
    assert poet.instructions == "Rhyme."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "Expected `array` of length >= 1"),
        ("- {name: a, skills: []}", r"\[0\].skills: Expected `array` of length >= 1"),
        ("- {name: a, skills: [x]}\n- {name: a, skills: [y]}", "two roles have the name 'a'"),
    ],
)
def test_what_is_wrong_with_roles(tmp_path, text: str, said: str) -> None:
    (tmp_path / "r").write_text(text)
    with pytest.raises(JobError, match=said):
        read_roles(tmp_path / "r")


def test_a_crew_has_two_of_each_role_or_as_many_as_are_asked_for() -> None:
    roles = roles_for(["research", "write"])

    def names(agents: int | None) -> list[str]:
        return [one.name for one in crew_of(roles, agents, lambda role: None, max_tokens=9, checks=False)]

    assert names(None) == ["research-1", "write-1", "research-2", "write-2"]
    assert names(3) == ["research-1", "write-1", "research-2"]
    with pytest.raises(JobError, match=r"1 agents for 2 roles \(research, write\): give 2 to 1,000"):
        names(1)
