"""The mode that the label `weft.dev/mode` of a Namespace, Pod or Service asks for."""

from agent.ir.tables import Mode
from agent.model.change import Keyed
from agent.model.core import Namespace, Pod
from agent.model.multicluster import AnyService

MODE_LABEL = "weft.dev/mode"

LabelledMode = tuple[Mode | None, str]


def labelled_mode(value: Keyed | None) -> LabelledMode | None:
    """The mode of an object's label (no mode: no label), and a warning when its value is unknown.

    None for objects without a mode. An unknown value is as no label. The label's former value does not count: an agent
    that started later would have another mode than the others.
    """
    if not isinstance(value, Namespace | Pod | AnyService):
        return None
    text = value.metadata.labels.get(MODE_LABEL)
    if text is None:
        return None, ""
    if text in ("none", "l4", "l7"):
        return Mode[text.upper()], ""
    return None, f"{value.key}: metadata.labels[{MODE_LABEL}]: {text!r} is none of none, l4, l7; ignored"
