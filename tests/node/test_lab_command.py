"""`weft lab` as people and scripts use it: exit codes, JSON, one sentence when something is wrong."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.node

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: by-command}\n"


@pytest.fixture
def weft(lab):
    """Runs `weft lab` on the lab."""

    def run(*words):
        command = [sys.executable, "-m", "agent", "lab", *words]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "WEFT_LAB": lab.paths.name}
        return subprocess.run(command, text=True, capture_output=True, check=False, env=environment, timeout=60)

    return run


def test_exec_passes_words_output_and_exit_code(weft):
    done = weft("exec", "faces/face", "--", "sh", "-c", "echo $POD_NAMESPACE -n; exit 7")
    assert (done.stdout, done.returncode) == ("faces -n\n", 7)


def test_exec_in_a_pod_that_is_not_there(weft, lab):
    done = weft("exec", "faces/nobody", "--", "true")
    assert (done.returncode, done.stderr) == (1, f"weft: there is no pod faces/nobody in lab {lab.paths.name}\n")


def test_pods_as_json(weft):
    found = json.loads(weft("pods", "-o", "json").stdout)["pods"]
    (face,) = (pod for pod in found if pod["pod"].startswith("face-"))
    assert face == {**face, "namespace": "faces", "ready": True, "restarts": 0}
    assert face["ip"].startswith("10.244.0.")


def test_status_says_what_runs(weft):
    found = json.loads(weft("status", "-o", "json").stdout)
    assert (found["daemon"], found["agent"]) == (True, False)
    assert "10.96.0.10" in weft("status").stdout


def test_apply_and_delete_take_a_file_or_a_folder(weft, lab, tmp_path):
    file = tmp_path / "namespace.yaml"
    file.write_text(NAMESPACE)
    for where in (file, tmp_path):
        assert weft("apply", "-f", str(where)).returncode == 0
        assert lab.get("Namespace", "", "by-command")
        assert weft("delete", "-f", str(where)).returncode == 0
        assert lab.get("Namespace", "", "by-command") is None


def test_label_sets_and_removes(weft, lab):
    assert weft("label", "service", "smiley", "-n", "faces", "weft.dev/mode=l7").returncode == 0
    assert lab.get("Service", "faces", "smiley")["metadata"]["labels"] == {"weft.dev/mode": "l7"}
    assert weft("label", "service", "smiley", "-n", "faces", "weft.dev/mode-").returncode == 0
    assert lab.get("Service", "faces", "smiley")["metadata"]["labels"] == {}
    assert weft("label", "service", "nobody", "a=b").returncode == 1


def test_a_lab_that_is_not_up(weft):
    assert weft("pods", "--name", "neverup").stderr == "weft: lab neverup is not up\n"
    assert weft("down", "--name", "neverup").returncode == 0
    assert "only 1 to 20" in weft("down", "--name", "../etc").stderr
