"""Placement groups: made, waited for, used, removed; what is refused."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from .groups import all_free, groups_module, state_of
from .helpers import Ray, wait_until

# ---- making --------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["PACK", "SPREAD", "STRICT_PACK"])
def test_a_group_is_created_where_there_is_room(machine: Ray, strategy: str) -> None:
    group = machine.util.placement_group([{"CPU": 1}, {"CPU": 2}], strategy=strategy)
    assert group.wait(20)
    assert state_of(machine, group) == "CREATED"
    assert machine.util.placement_group_table(group)["strategy"] == strategy


def test_ready_gives_the_group_itself(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}])
    assert machine.get(group.ready(), timeout=120) == group


def test_ready_can_be_waited_for(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}])
    ready, rest = machine.wait([group.ready()], timeout=120)
    assert len(ready) == 1
    assert rest == []


def test_ready_can_be_an_argument(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}])
    count = machine.remote(lambda group: group.bundle_count)
    assert machine.get(count.remote(group.ready()), timeout=120) == 1


def test_specs_are_those_that_were_given(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}, {"CPU": 0.5, "slots": 1}])
    assert group.bundle_specs == [{"CPU": 1.0}, {"CPU": 0.5, "slots": 1.0}]
    assert group.bundle_count == 2
    assert not group.is_empty


def test_the_id_has_18_bytes(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}])
    assert len(group.id.binary()) == 18
    assert group.id == machine.PlacementGroupID.from_hex(group.id.hex())


def test_resources_are_taken_and_given_back(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1, "slots": 1}, {"CPU": 1}])
    assert group.wait(20)
    wait_until(lambda: machine.available_resources()["CPU"] == 2.0)
    assert machine.available_resources()["slots"] == 1.0
    assert machine.cluster_resources()["CPU"] == 4.0
    machine.util.remove_placement_group(group)
    wait_until(lambda: all_free(machine))


def test_reserved_resources_have_names_of_their_own(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1, "slots": 1}, {"CPU": 2}])
    assert group.wait(20)
    name = group.id.hex()
    wait_until(lambda: f"CPU_group_{name}" in machine.available_resources())
    free = machine.available_resources()
    assert free[f"CPU_group_{name}"] == 3.0
    assert free[f"CPU_group_0_{name}"] == 1.0
    assert free[f"CPU_group_1_{name}"] == 2.0
    assert free[f"slots_group_0_{name}"] == 1.0
    assert free[f"bundle_group_{name}"] == 2000.0
    assert f"slots_group_1_{name}" not in free


def test_all_or_nothing(machine: Ray) -> None:
    first = machine.util.placement_group([{"slots": 2}])
    assert first.wait(20)
    second = machine.util.placement_group([{"CPU": 1}, {"slots": 1}])
    assert not second.wait(0.5)
    assert state_of(machine, second) == "PENDING"
    assert machine.available_resources()["CPU"] == 4.0
    machine.util.remove_placement_group(first)
    assert second.wait(20)


def test_a_group_waits_for_tasks_to_end(machine: Ray, gate: Any) -> None:
    door, started = gate("door"), gate("started")

    @machine.remote(num_cpus=3)
    def hold() -> None:
        started.open()
        door.wait()

    ref = hold.remote()
    started.wait()
    group = machine.util.placement_group([{"CPU": 2}])
    ready = group.ready()
    assert machine.wait([ready], timeout=0.3)[0] == []
    door.open()
    assert machine.get(ready, timeout=120) == group
    machine.get(ref)


def test_tasks_outside_wait_for_what_a_group_has(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 4}])
    assert group.wait(20)
    ref = machine.remote(lambda: 1).remote()
    assert machine.wait([ref], timeout=0.3)[0] == []
    machine.util.remove_placement_group(group)
    assert machine.get(ref, timeout=120) == 1


def test_more_than_there_is_stays_pending(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 5}])
    assert not group.wait(0.3)
    assert state_of(machine, group) == "PENDING"
    assert machine.util.placement_group([{"CPU": 4}]).wait(20)


def test_strict_spread_of_one_bundle(machine: Ray) -> None:
    assert machine.util.placement_group([{"CPU": 1}], strategy="STRICT_SPREAD").wait(20)


def test_strict_spread_of_several_needs_several_nodes(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_SPREAD")
    assert not group.wait(0.3)
    assert state_of(machine, group) == "PENDING"


def test_many_at_once(machine: Ray) -> None:
    groups = [machine.util.placement_group([{"CPU": 0.1}, {"CPU": 0.1}]) for _ in range(20)]
    assert machine.get([group.ready() for group in groups], timeout=120) == groups
    for group in groups:
        machine.util.remove_placement_group(group)
    wait_until(lambda: all_free(machine))


def test_from_inside_a_task(machine: Ray) -> None:
    @machine.remote
    def make() -> Any:
        group = machine.util.placement_group([{"CPU": 1}])
        assert group.wait(20)
        return group

    group = machine.get(make.remote())
    assert state_of(machine, group) == "CREATED"
    assert group.bundle_specs == [{"CPU": 1.0}]


# ---- handles -------------------------------------------------------------------------------------


def test_equal_by_id(machine: Ray) -> None:
    one, other = (machine.util.placement_group([{"CPU": 1}]) for _ in range(2))
    again = type(one)(one.id)
    assert one == again
    assert hash(one) == hash(again)
    assert one != other
    assert one != "a group"


def test_pickled(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}])
    copy = pickle.loads(pickle.dumps(group))
    assert copy == group
    assert copy.bundle_specs == [{"CPU": 1.0}]


def test_a_handle_made_of_the_id_knows_the_bundles(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}, {"slots": 1}])
    assert group.wait(20)
    assert type(group)(group.id).bundle_specs == [{"CPU": 1.0}, {"slots": 1.0}]


def test_passed_to_a_task(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}])
    wait = machine.remote(lambda group: group.wait(20))
    assert machine.get(wait.remote(group))


def test_the_empty_one(machine: Ray) -> None:
    group = groups_module(machine).PlacementGroup.empty()
    assert group.is_empty
    assert group.id.is_nil()


# ---- names, lifetime, tables ---------------------------------------------------------------------


def test_found_by_name(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}], name="by name")
    assert machine.util.get_placement_group("by name") == group
    assert machine.util.placement_group_table(group)["name"] == "by name"


def test_names_are_unique(machine: Ray) -> None:
    machine.util.placement_group([{"CPU": 1}], name="taken")
    with pytest.raises(machine.exceptions.RayError, match="already exists"):
        machine.util.placement_group([{"CPU": 1}], name="taken")


def test_a_name_is_free_after_removal(machine: Ray) -> None:
    first = machine.util.placement_group([{"CPU": 1}], name="again")
    assert first.wait(20)
    machine.util.remove_placement_group(first)
    wait_until(lambda: state_of(machine, first) == "REMOVED")
    with pytest.raises(ValueError, match="Failed to look up placement group"):
        machine.util.get_placement_group("again")
    second = machine.util.placement_group([{"CPU": 1}], name="again")
    assert machine.util.get_placement_group("again") == second


@pytest.mark.parametrize("name", ["", None])
def test_a_look_up_needs_a_name(machine: Ray, name: Any) -> None:
    with pytest.raises(ValueError, match="non-empty"):
        machine.util.get_placement_group(name)


def test_the_table_of_one(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}, {"slots": 1}], name="a table")
    assert group.wait(20)
    facts = machine.util.placement_group_table(group)
    node = machine.nodes()[0]["NodeID"]
    assert facts["placement_group_id"] == group.id.hex()
    assert facts["bundles"] == {0: {"CPU": 1.0}, 1: {"slots": 1.0}}
    assert facts["bundles_to_node_id"] == {0: node, 1: node}


def test_the_table_of_all(machine: Ray) -> None:
    groups = [machine.util.placement_group([{"CPU": 1}]) for _ in range(2)]
    table = machine.util.placement_group_table()
    assert all(table[group.id.hex()]["state"] in ("CREATED", "PENDING") for group in groups)


def test_a_removed_group_is_remembered(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}])
    assert group.wait(20)
    machine.util.remove_placement_group(group)
    wait_until(lambda: state_of(machine, group) == "REMOVED")
    machine.util.remove_placement_group(group)


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bundles", "words"),
    [
        ([], "non-empty list"),
        ([{}], "empty dictionary"),
        ([{"CPU": 0}], "only 0 values"),
        ([{"CPU": 1}, {}], "empty dictionary"),
        ("CPU", "must be a list"),
        ({"CPU": 1}, "must be a list"),
        ([{"CPU": "1"}], "resource dictionaries"),
        ([{1: 1}], "resource dictionaries"),
        (["CPU"], "resource dictionaries"),
    ],
)
def test_wrong_bundles(machine: Ray, bundles: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        machine.util.placement_group(bundles)


@pytest.mark.ray_differs("Ray takes it, and the group never comes")
def test_negative_amounts_are_refused(machine: Ray) -> None:
    with pytest.raises(ValueError, match="CPU"):
        machine.util.placement_group([{"CPU": -1}])


def test_unknown_strategy(machine: Ray) -> None:
    with pytest.raises(ValueError, match="Invalid placement group strategy SIDEWAYS"):
        machine.util.placement_group([{"CPU": 1}], strategy="SIDEWAYS")


def test_unknown_lifetime(machine: Ray) -> None:
    with pytest.raises(ValueError, match="lifetime"):
        machine.util.placement_group([{"CPU": 1}], lifetime="short")


def test_selectors_fit_the_bundles(machine: Ray) -> None:
    with pytest.raises(ValueError, match="should equal the length"):
        machine.util.placement_group([{"CPU": 1}], bundle_label_selector=[{}, {}])


def test_a_selector_that_no_node_fulfils(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}], bundle_label_selector=[{"where": "mars"}])
    assert not group.wait(0.3)


def test_a_selector_that_the_node_fulfils(machine: Ray) -> None:
    node = machine.nodes()[0]["NodeID"]
    selector = [{"ray.io/node-id": node}]
    assert machine.util.placement_group([{"CPU": 1}], bundle_label_selector=selector).wait(20)


def test_one_way_to_say_the_strategy(machine: Ray) -> None:
    with pytest.raises(ValueError, match="cannot both be specified"):
        machine.util.placement_group([{"CPU": 1}], strategy="PACK", topology_strategy={"a": "PACK"})


def test_remove_needs_a_group(machine: Ray) -> None:
    with pytest.raises(AssertionError):
        machine.util.remove_placement_group(None)


def test_the_module_and_the_function_have_one_name(machine: Ray) -> None:
    assert callable(machine.util.placement_group)
    assert machine.util.placement_group is groups_module(machine).placement_group


def test_arguments_are_checked_without_a_group(ray: Ray) -> None:
    check = groups_module(ray).validate_placement_group
    check([{"CPU": 1}], strategy="PACK", lifetime="detached")
    for wrong in ({"bundles": []}, {"strategy": "NEAR"}, {"lifetime": "long"}):
        with pytest.raises(ValueError):
            check(**{"bundles": [{"CPU": 1}], **wrong})


def test_the_table_tells_of_the_scheduling(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}])
    assert group.wait(60)
    stats = machine.util.placement_group_table(group)["stats"]
    assert set(stats) == {
        "end_to_end_creation_latency_ms",
        "scheduling_latency_ms",
        "scheduling_attempt",
        "highest_retry_delay_ms",
        "scheduling_state",
    }
    assert stats["scheduling_state"] == "FINISHED"


def test_names_that_are_not_ascii_are_listed(machine: Ray) -> None:
    group = machine.util.placement_group([{"CPU": 1}], name="é" * 100)
    others = machine.util.placement_group_table()
    assert others[group.id.hex()]["name"].startswith("é" * 60)
