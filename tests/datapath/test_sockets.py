"""What sockets remember, and what they must forget."""

import pytest
from datapath_node import BACKEND_PORT, BACKENDS, VIP, VIP_PORT, Node, Pod
from decision_cases import TO_FIRST, TO_SECOND, Case, rows_for

from agent.plan.tables import Action, Reason, Word

pytestmark = pytest.mark.bpf
FORWARD = Case("forward", Reason.FORWARDED, protocol="UDP")


@pytest.mark.parametrize("family", ["4", "6"])
def test_second_connect_of_a_descriptor_forgets_the_first(family: str, node: Node, pod: Pod) -> None:
    """The same backend, dialled directly, must not be shown as the frontend it served a moment ago."""
    case = Case("forward", Reason.FORWARDED, protocol="UDP", family=family)
    rows_for(case, pod.cgroup_id, node.levels).write(node.kernel)
    backend = BACKENDS[family][0]
    answer = pod.call(
        call="reconnect",
        family=family,
        protocol="UDP",
        address=VIP[family],
        port=VIP_PORT,
        then=backend,
        then_port=BACKEND_PORT,
    )
    assert answer == {
        "peer": [backend, BACKEND_PORT],
        "source": [backend, BACKEND_PORT],
        "reached": [backend, BACKEND_PORT],
    }


def test_rewritten_connections_are_counted_from_beginning_to_end(node: Node, pod: Pod) -> None:
    rows_for(Case("forward", Reason.FORWARDED), pod.cgroup_id, node.levels).write(node.kernel)
    before = node.kernel.counters()
    pod.calls(call="connect", family="4", protocol="TCP", address=VIP["4"], port=VIP_PORT, times=5)
    pod.calls(call="connect", family="4", protocol="TCP", address=BACKENDS["4"][0], port=BACKEND_PORT, times=5)
    after = node.kernel.counters()
    assert after[Reason.ESTABLISHED] - before[Reason.ESTABLISHED] == 5
    assert after[Reason.CLOSED] - before[Reason.CLOSED] == 5


def test_a_word_flipped_under_load_is_never_half_read(node: Node, pod: Pod) -> None:
    """Two words whose halves, mixed, would name an unwritten slot: every connection lands on one of the two."""
    rows = rows_for(FORWARD, pod.cgroup_id, node.levels)
    rows.write(node.kernel)
    low, high = 20, 200_000
    node.kernel.slots.upsert({low: rows.slots[16], high: rows.slots[17]})
    number = min(rows.words)
    words = [Word(Action.FORWARD, low, 1), Word(Action.FORWARD, high, 1)]
    pod.start(call="connect", family="4", protocol="UDP", address=VIP["4"], port=VIP_PORT, times=3000)
    for flip in range(300_000):
        node.kernel.words.upsert({number: words[flip % 2]})
    answers = pod.finish()
    node.kernel.slots.delete([low, high])
    reached = {tuple(answer.get("reached", (answer.get("errno"),))) for answer in answers}
    assert reached == {(address, BACKEND_PORT) for address in BACKENDS["4"][:2]}


def test_stored_words_are_read_back(node: Node) -> None:
    node.kernel.words.upsert({0: TO_FIRST, 131071: TO_SECOND})
    loaded = node.kernel.words.load()
    assert (loaded[0], loaded[131071]) == (TO_FIRST, TO_SECOND)
    node.kernel.words.delete([0, 131071])
    assert not {0, 131071} & node.kernel.words.load().keys()
