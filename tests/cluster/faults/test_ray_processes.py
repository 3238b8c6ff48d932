"""Ray's own processes, as far as Ray doesn't document them: each says what an upgrade broke."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest
import ray
from ray._private import worker as ray_worker
from ray.exceptions import ActorDiedError

from recalltrap.supervision.lifeline import answers
from recalltrap_cluster.faults import ray_processes
from recalltrap_cluster.faults.log_tails import log_tails, read_tail


def test_what_ray_prints_of_its_processes_goes_through_one_function() -> None:
    before = ray_worker.print_to_stdstream
    assert list(inspect.signature(before).parameters) == ["data", "ignore_prefix"], (
        "a lost raylet's log would be printed, or printing it would raise"
    )
    with ray_processes.no_dumps():
        assert ray_worker.print_to_stdstream is not before
    assert ray_worker.print_to_stdstream is before


def test_who_died_is_read_from_an_error_s_text() -> None:
    text = """ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.
\tclass_name: ImplicitFunc
\tactor_id: 4d6b
\tpid: 4321
\tname: recalltrap
\tnamespace: 6a
\tip: 10.0.0.7
The actor is dead because its worker process has died.
"""
    assert ray_processes.died_processes(text) == [("10.0.0.7", 4321)]
    assert ray_processes.died_processes("RuntimeError: pid: 3 and\nip: 10.0.0.7") == []
    assert log_tails("RuntimeError: nobody died") == ""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
class TestASession:
    def test_a_dead_actor_is_named_and_its_log_is_found(self) -> None:
        @ray.remote(num_cpus=0)
        class Speaker:
            def end(self) -> None:
                print("my last words", flush=True)
                os._exit(3)

        speaker = Speaker.remote()  # type: ignore[attr-defined]
        with pytest.raises(ActorDiedError) as raised:
            ray.get(speaker.end.remote())
        (dead,) = ray_processes.died_processes(str(raised.value))
        assert dead[0] == ray_processes.own_ip()
        assert "my last words" in read_tail(dead[1]), "workers' logs have other names"
        assert "my last words" in log_tails(str(raised.value))
        assert read_tail(0) == "(it wrote nothing)"
        assert Path(ray_processes.logs_folder()).is_dir()

    def test_the_doors_of_the_cluster_answer(self) -> None:
        doors = ray_processes.cluster_doors("local")
        assert [door.what for door in doors] == ["its head (GCS)", "a raylet"], (
            "a lost cluster would be noticed by nobody"
        )
        assert all(map(answers, doors))

    def test_a_task_is_sent_to_the_node_of_an_address(self) -> None:
        node = ray_processes.node_at(ray_processes.own_ip())
        assert node == ray.get_runtime_context().get_node_id()
        assert ray_processes.node_at("192.0.2.1") is None
        where = ray.remote(num_cpus=0, scheduling_strategy=ray_processes.on_node(str(node)))(
            lambda: ray.get_runtime_context().get_node_id()
        )
        assert ray.get(where.remote()) == node
