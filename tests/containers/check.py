"""Everything that is promised of the containers, in turn. Called by deploy/test-containers with the folder to work in, and the
names of single parts if not all are wanted. Prints a line per part with its figures; the first thing that is wrong ends it."""

import collections
import json
import os
import sys
import time

from nats_client import Nats
from system import (CLUSTER_FILE, FILES, compose, containers, cpu, docker, is_healthy, inspect, metrics, of_coordinators, scale, until)

SLOTS = 8
STEP_MS = 50
HEAD = "document: { dsl: '1.0.3', namespace: default, name: %s, version: '1.0.0' }\n"


def chain(name, count, kind, pool, ms):
    """A definition of so many steps that give an array of their values."""
    text = HEAD % name + "input: { from: '${ [] }' }\ndo:\n"
    for n in range(count):
        text += "  - s%d:\n      call: %s\n      with: { ms: %d }\n" % (n, kind, ms)
        text += "      metadata: { pool: %s }\n      output: { as: '${ $input + [.] }' }\n" % pool
    return text


class Test:
    def __init__(self, folder):
        self.side = os.path.join(folder, "side")
        os.makedirs(self.side, exist_ok=True)
        os.chmod(self.side, 0o777)
        os.environ["STEPMILL_TEST_SIDE"] = self.side
        os.environ.setdefault("CARGO_PROFILE", "quick")
        self.nats = None

    # --- what the parts share -----------------------------------------------------------------------------------------------

    def begin(self):
        """The image, built as users build it, and the system, started as users start it."""
        began = time.monotonic()
        compose("build", "coordinator", within=3000, quiet=False)
        print("image: built in %.0f s (profile %s), %.0f MB" % (
            time.monotonic() - began, os.environ["CARGO_PROFILE"],
            int(docker("image", "inspect", "--format", "{{.Size}}", "stepmill:latest")) / 1e6), flush=True)
        compose("down", "-v", "--remove-orphans")
        path = os.path.join(self.side, "traces")
        if os.path.exists(path):
            os.remove(path)
        began = time.monotonic()
        compose("up", "-d")
        services = ["nats", "redis", "coordinator", "worker", "llm", "agent"]
        until("everything is healthy", lambda: all(is_healthy(c) for s in services for c in containers(s)), within=120)
        assert len(containers("coordinator")) == 2 and not containers("burst")
        print("compose: everything is healthy after %.0f s" % (time.monotonic() - began), flush=True)
        self.nats = Nats("127.0.0.1", 4222)
        for text in (chain("busy", 10, "sleep", "default", STEP_MS), chain("work", 5, "random", "default", 250),
                     chain("burst", 3, "random", "burst", 200)):
            self.nats.insist("define", {"source": text})

    def submit(self, workflow, label, count):
        self.nats.publish_jobs(workflow, ["%s-%s-%d" % (workflow, label, n) for n in range(count)], {})

    def runs(self, workflow, since_ms):
        """All runs of a workflow that were submitted since then."""
        runs, cursor = [], None
        while True:
            body = {"workflow": workflow, "from": since_ms, "limit": 500}
            page = self.nats.insist("list", dict(body, cursor=cursor) if cursor else body)
            runs += page["runs"]
            cursor = page.get("next")
            if not cursor:
                return runs

    def await_all(self, workflow, since_ms, count, within=180):
        def ended():
            runs = self.runs(workflow, since_ms)
            assert len(runs) <= count, "%d runs of %d submissions" % (len(runs), count)
            return runs if len(runs) == count and all(r["state"] != "running" for r in runs) else None
        runs = until("all %d runs of %s have ended" % (count, workflow), ended, within=within, every=0.5)
        assert all(r["state"] == "completed" for r in runs), collections.Counter(r["state"] for r in runs)
        return [self.nats.insist("get", {"run": r["run"]}) for r in runs]

    def traces(self):
        with open(os.path.join(self.side, "traces")) as file:
            return [json.loads(line) for line in file]

    def check_traces(self, views, steps):
        """Each value was made by its own step, and none began again after its report was stored. Gives how many began again."""
        by_key, made = collections.defaultdict(list), {}
        for trace in self.traces():
            by_key[trace["key"]].append(trace)
            made[trace["value"]] = trace["key"]
        again = 0
        for view in views:
            run = view["run"]
            assert len(view["output"]) == steps, view
            stored = {}
            for entry in self.nats.insist("history", {"run": run, "limit": 500})["entries"]:
                record = entry.get("record", {})
                if entry["event"] == "report" and "succeeded" in record.get("outcome", {}):
                    stored.setdefault("%s:%s:%s" % (run, record["path"], record["visit"]), entry["at"])
            assert len(stored) == steps, (run, stored)
            for n, value in enumerate(view["output"]):
                assert made[value].startswith("%s:/do/%d/" % (run, n)), (run, n, made[value])
            for key, at in stored.items():
                again += len(by_key[key]) - 1
                late = [trace for trace in by_key[key] if trace["at_ms"] > at]
                assert not late, "%s began again after its report was stored" % key
        return again

    def now_ms(self):
        return int(time.time() * 1000)

    # --- the parts ----------------------------------------------------------------------------------------------------------

    def scaling(self):
        """Throughput with 1, 2, 4 and 8 workers, against that many times the first, until the CPU is full."""
        first = None
        for count in (1, 2, 4, 8):
            scale("worker", count)
            since = self.now_ms()
            # Work for 14 seconds at the rate that the slots allow.
            runs = count * SLOTS * 14 * 1000 // STEP_MS // 10
            self.submit("busy", "w%d-%d" % (count, since), runs)
            name = "stepmill_attempts_total{pool=\"default\",kind=\"sleep\",outcome=\"succeeded\"}"
            steps = lambda: sum(metrics(c)[name] for c in containers("worker"))
            base = steps()
            until("the load is on", lambda: steps() > base + count * SLOTS * 20)
            before, at, (busy, total) = steps(), time.monotonic(), cpu()
            time.sleep(6)
            after, took, (busy2, total2) = steps(), time.monotonic() - at, cpu()
            waiting = of_coordinators("stepmill_backlog_tasks{pool=\"default\"}", max)
            rate, used = (after - before) / took, (busy2 - busy) / (total2 - total)
            first = first or rate
            share = rate / (first * count)
            assert waiting, "the slots were not full to the end of the measurement"
            print("scaling: %d workers: %.0f steps/s, %.0f %% of linear, CPU of the machine %.0f %% busy"
                  % (count, rate, share * 100, used * 100), flush=True)
            assert share >= 0.9 or used >= 0.9, "less than linear though the CPU is not full"
            self.await_all("busy", since, runs)
        self.sizes(len(self.runs("busy", 0)))

    def sizes(self, runs):
        """What the servers hold after the load."""
        log = self.nats.request("$JS.API.STREAM.INFO.SM_LOG", {})["state"]
        memory = docker("exec", containers("redis")[0], "redis-cli", "info", "memory")
        used = int(next(line for line in memory.splitlines() if line.startswith("used_memory:")).split(":")[1])
        print("sizes: the log has %.0f bytes a record; Redis uses %.1f MB with %d runs of ten steps that have ended"
              % (log["bytes"] / log["messages"], used / 1e6, runs), flush=True)

    def kills(self):
        """A worker and a coordinator are killed under load, and a worker is without network for 10 s."""
        scale("worker", 4)
        since, count = self.now_ms(), 600
        self.submit("work", "k%d" % since, count)
        workers = containers("worker")
        until("the work has begun", lambda: os.path.exists(os.path.join(self.side, "traces")) and len(self.traces()) > 100)
        docker("kill", "--signal", "KILL", workers[0])
        network = next(iter(json.loads(inspect(workers[1], "{{json .NetworkSettings.Networks}}"))))
        docker("network", "disconnect", network, workers[1])
        cut = time.monotonic()
        coordinator = containers("coordinator")[0]
        docker("kill", "--signal", "KILL", coordinator)
        # The ten seconds of the outage itself: nothing to wait for.
        time.sleep(max(0, cut + 10 - time.monotonic()))
        docker("network", "connect", network, workers[1])
        docker("start", workers[0], coordinator)
        views = self.await_all("work", since, count)
        until("all are healthy again", lambda: all(map(is_healthy, workers + [coordinator])))
        again = self.check_traces(views, 5)
        print("kills: %d runs of 5 steps ended right; %d steps that had not finished ran again, none that had"
              % (count, again), flush=True)

    def upgrade(self):
        """Each container of ours is replaced by one of another image under load: a new one, then the old one goes."""
        scale("worker", 2)
        docker("tag", "stepmill:latest", "stepmill:next")
        os.environ["STEPMILL_IMAGE"] = "stepmill:next"
        since, count = self.now_ms(), 0
        replaced = 0
        for service in ("coordinator", "worker"):
            for old in containers(service):
                self.submit("work", "u%d-%d" % (since, count), 150)
                count += 150
                scale(service, len(containers(service)) + 1)
                docker("stop", "--time", "45", old)
                assert inspect(old, "{{.State.ExitCode}}") == "0", docker("logs", "--tail", "20", old)
                docker("rm", old)
                replaced += 1
        views = self.await_all("work", since, count)
        failed = sum(view["attempts_failed"] for view in views)
        again = self.check_traces(views, 5)
        assert (failed, again) == (0, 0), "%d failed, %d repeated" % (failed, again)
        for service in ("coordinator", "worker"):
            assert all(inspect(c, "{{.Config.Image}}") == "stepmill:next" for c in containers(service))
        print("upgrade: %d containers replaced under %d runs: no failed, no repeated step" % (replaced, count), flush=True)

    def burst(self):
        """A pool without a worker, scaled by what the coordinators say of its backlog, as KEDA would, and back to none."""
        waits = lambda: of_coordinators("stepmill_backlog_seconds{pool=\"burst\"}", max)
        runs = lambda: of_coordinators("stepmill_running_tasks{pool=\"burst\"}", max)
        since, count, most, wanted = self.now_ms(), 150, 4, 0
        assert not waits(), "an idle pool has no backlog: %s" % waits()
        self.submit("burst", "b%d" % since, count)
        until("the backlog is seen without any worker", lambda: waits() and waits() > 0)
        idle_since, peak, began = None, 0, time.monotonic()
        while True:
            backlog, running = waits(), runs()
            if backlog is None or running is None:
                continue
            active = backlog > 0 or running > 0
            if backlog > 1:
                wanted = min(most, wanted + 1)
            elif active:
                wanted = max(1, min(most, wanted))
            idle_since = None if active else idle_since or time.monotonic()
            if idle_since and time.monotonic() - idle_since > 3:
                wanted = 0
            if len(containers("burst")) != wanted:
                compose("up", "-d", "--no-deps", "--no-recreate", "--scale", "burst=%d" % wanted, "burst")
            peak = max(peak, len(containers("burst")))
            if wanted == 0 and peak:
                break
            assert time.monotonic() - began < 240, (backlog, running, wanted)
            time.sleep(0.5)
        views = self.await_all("burst", since, count)
        assert peak > 1 and not containers("burst"), peak
        again = self.check_traces(views, 3)
        assert again == 0 and all(view["attempts_failed"] == 0 for view in views), again
        print("burst: 0 to %d workers and back to 0 by the backlog; %d runs, no failed and no repeated step"
              % (peak, count), flush=True)


    def cluster(self):
        """Three NATS nodes and a Redis replica: the profile `cluster` is accepted, and a node may go."""
        compose("down", "-v", "--remove-orphans")
        FILES.insert(1, CLUSTER_FILE)
        servers = ["nats", "nats-1", "nats-2", "redis", "redis-replica"]
        compose("up", "-d", *servers, "coordinator", "worker")
        until("everything is healthy",
              lambda: all(is_healthy(c) for s in servers + ["coordinator", "worker"] for c in containers(s)), within=120)
        self.nats = Nats("127.0.0.1", 4222)
        self.nats.insist("define", {"source": chain("work", 5, "random", "default", 250)})
        since, count = self.now_ms(), 60
        self.submit("work", "c%d" % since, count)
        until("the work has begun", lambda: of_coordinators("stepmill_running_tasks{pool=\"default\"}", max))
        docker("kill", "--signal", "KILL", containers("nats-2")[0])
        views = self.await_all("work", since, count)
        again = self.check_traces(views, 5)
        print("cluster: %d runs ended right though one of three NATS nodes was killed; %d steps that had not finished ran again"
              % (count, again), flush=True)


def main():
    test = Test(sys.argv[1])
    parts = sys.argv[2:] or ["kills", "upgrade", "burst", "scaling", "cluster"]
    try:
        test.begin()
        for part in parts:
            getattr(test, part)()
    except BaseException:
        print(compose("logs", "--no-color", "--tail", "40"), file=sys.stderr)
        raise
    finally:
        compose("down", "-v", "--remove-orphans", "-t", "5")
    print("containers: all is as promised", flush=True)


main()
