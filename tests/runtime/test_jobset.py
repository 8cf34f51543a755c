"""The Kubernetes examples: what a pod would be told is what the processes understand."""

from pathlib import Path

import pytest
import yaml

from latentfp.runtime.processes import COORDINATOR, Share, share_of

ROOT = Path(__file__).parents[2]


def pod_of(description, index):
    """The container of pod `index` and its environment, with what Kubernetes adds to an indexed job."""
    [job] = description["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    assert (spec["completionMode"], spec["parallelism"]) == ("Indexed", spec["completions"])
    [container] = spec["template"]["spec"]["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"]}
    return container, given | {"JOB_COMPLETION_INDEX": str(index)}


@pytest.mark.parametrize("name", ["gpu", "tpu"])
def test_every_pod_knows_its_share_and_where_to_meet(name):
    description = yaml.safe_load((ROOT / "launch" / "jobset" / f"{name}.yaml").read_text())
    jobset, job = description["metadata"]["name"], description["spec"]["replicatedJobs"][0]
    count = job["template"]["spec"]["completions"]
    for index in range(count):
        container, environment = pod_of(description, index)
        assert share_of(environment) == Share(index, count)
        host, port = environment[COORDINATOR].split(":")
        assert host == f"{jobset}-{job['name']}-0-0.{jobset}"
        assert [entry["containerPort"] for entry in container["ports"]] == [int(port)]


@pytest.mark.parametrize("name", ["gpu", "tpu"])
def test_the_command_names_a_configuration_that_is_there(name):
    description = yaml.safe_load((ROOT / "launch" / "jobset" / f"{name}.yaml").read_text())
    container, environment = pod_of(description, 0)
    [config] = [word for word in container["command"] if word.startswith("--config=")]
    assert (ROOT / config.removeprefix("--config=")).is_file()
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    [workdir] = [word for word in container["command"] if word.startswith("--workdir=")]
    assert workdir.removeprefix("--workdir=").startswith(tuple(mounts))
    assert environment["LATENTFP_DATA"].startswith(tuple(mounts))
