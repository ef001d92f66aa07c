"""Who a pod is, and the numbers of names."""

from agent.internal_errors import InternalErrors
from agent.ir.identity import Identity, Workload, kind_id, name_id
from agent.model.change import Upsert
from agent.model.core import Pod, PodSpec, PodStatus
from agent.model.facts import PodCgroup
from agent.model.meta import Key, ObjectMeta
from agent.node.status import pods
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options

WEB = Workload("shop", "web", "web", "latest")


def identity(account: str) -> Identity:
    """That of a pod whose spec names this service account."""
    pod = Pod(
        ObjectMeta("web", "shop", uid="u", labels={"app": "web"}),
        PodSpec(node_name="here", service_account_name=account),
        PodStatus("Running"),
    )
    translator = Translator(Store(), Options("here"))
    translator.update([Upsert(pod), Upsert(PodCgroup("u", 7))])
    (plan,) = (plan for item in translator.outputs.values() for plan in item.pods.values())
    (document,) = pods(translator.outputs.values(), InternalErrors())
    assert (document["serviceAccount"] or "", document["workload"]) == (plan.service_account, plan.workload.name)
    assert plan.pod == Key("Pod", "shop", "web")
    return plan.identity


def test_a_pod_s_identity_has_its_service_account() -> None:
    assert identity("seller") == Identity("shop", "seller", WEB)
    assert str(identity("seller")) == "shop/seller (web)"


def test_a_pod_whose_spec_names_none_has_no_service_account() -> None:
    assert identity("") == Identity("shop", "", WEB)


def test_names_of_two_kinds_have_two_numbers() -> None:
    numbers = {name_id("shop/web"), kind_id("workload", "shop/web"), kind_id("policy", "shop/web")}
    assert len(numbers) == 3
    assert WEB.id == kind_id("workload", "shop/web")


def test_a_number_is_the_same_on_every_node() -> None:
    """Maps that outlive an upgrade have these numbers."""
    assert (name_id("shop/web"), WEB.id) == (2796021594269642155, 12245601148061624419)
