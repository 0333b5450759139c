"""The system in containers: what is asked of Docker and Compose, and of the system's metrics."""

import json
import os
import re
import subprocess
import time
import urllib.request

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
FILES = [os.path.join(ROOT, "deploy", "compose.yaml"), os.path.join(ROOT, "tests", "containers", "compose.test.yaml")]
CLUSTER_FILE = os.path.join(ROOT, "deploy", "compose.cluster.yaml")
PROJECT = "smtest"


def run(*words, within=120, quiet=True):
    done = subprocess.run(words, capture_output=quiet, text=True, timeout=within, cwd=ROOT)
    if done.returncode:
        said = (done.stdout or "") + (done.stderr or "")
        raise AssertionError("%s: %s" % (" ".join(words), said[-3000:]))
    return (done.stdout or "").strip()


def docker(*words, within=120):
    return run("docker", *words, within=within)


def compose(*words, within=300, quiet=True):
    files = [word for file in FILES for word in ("-f", file)]
    return run("docker-compose", "-p", PROJECT, *files, *words, within=within, quiet=quiet)


def until(what, ask, within=60, every=0.2):
    """The first answer that is true."""
    deadline = time.monotonic() + within
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, "it never came true that " + what
        time.sleep(every)


def containers(service):
    """The running containers of a service, oldest name first."""
    return compose("ps", "-q", service).split()


def inspect(container, template):
    return docker("inspect", "--format", template, container)


def is_healthy(container):
    return inspect(container, "{{.State.Health.Status}}") == "healthy"


def scale(service, count):
    """So many containers of a service, all ready."""
    # Compose v1 makes everything else anew where it does not know a container; nothing else is to be touched.
    compose("up", "-d", "--no-deps", "--no-recreate", "--scale", "%s=%d" % (service, count), service)
    until("%d of %s are ready" % (count, service),
          lambda: len(containers(service)) == count and all(map(is_healthy, containers(service))))


def address(container):
    """Where the HTTP of a container is, on its network."""
    networks = json.loads(inspect(container, "{{json .NetworkSettings.Networks}}"))
    found = [n["IPAddress"] for n in networks.values() if n["IPAddress"]]
    return found[0] if found else None


def metrics(container):
    """The metrics of one container by name and labels; nothing while it does not answer."""
    try:
        with urllib.request.urlopen("http://%s:8080/metrics" % address(container), timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    return {name: float(value) for name, value in re.findall(r"^([^#\s]\S*) (\S+)$", text, re.M)}


def of_coordinators(name, combine):
    """One metric of all coordinators; nothing while none says it."""
    said = [metrics(c).get(name) for c in containers("coordinator")]
    said = [value for value in said if value is not None]
    return combine(said) if said else None


def cpu():
    """Busy and total CPU time of the machine, in ticks."""
    with open("/proc/stat") as stat:
        ticks = [int(word) for word in stat.readline().split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)
