//! The chart, rendered by helm itself (`deploy/get-helm`): what comes out has probes, policies and secrets as promised, and wrong
//! values are refused.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use stepmill_tests::server::repository;

/// Values that use everything.
const VALUES: &str = "\
nats: { urlSecret: { name: servers, key: nats }, workerUrl: 'nats://workers@n:4222' }
redis: { urlSecret: { name: servers, key: redis } }
pools:
  - name: agent
    graceSeconds: 600
    slots: 8
    scaling: { enabled: true, min: 0, max: 4 }
    secrets: [{ name: pet-login, secretName: pets, key: login }]
  - name: greeters
    kinds: [greet]
    image: { repository: registry.example/greeters, tag: '7' }
podMonitor: { enabled: true }
";

/// helm, where it is there: `$STEPMILL_HELM`, `.tools/bin/helm`, the PATH.
fn helm() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("STEPMILL_HELM").filter(|path| !path.is_empty()) {
        return Some(given.into());
    }
    let fetched = repository().join(".tools/bin/helm");
    let path = std::env::var_os("PATH")?;
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("helm"));
    std::iter::once(fetched).chain(on_path).find(|file| file.is_file())
}

/// Runs helm with a file of values; none where there is no helm.
fn with_values(verb: &[&str], values: &str) -> Option<Output> {
    let Some(helm) = helm() else {
        println!("skipped: no helm; run deploy/get-helm");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, values).unwrap();
    let chart = repository().join("deploy/helm/stepmill");
    let mut command = Command::new(helm);
    command.args(verb).arg(chart).arg("--values").arg(file).env("HOME", folder.path());
    Some(command.output().unwrap())
}

fn rendered(values: &str) -> Option<Vec<Value>> {
    let output = with_values(&["template", "t", "--namespace", "flows"], values)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let parts = text
        .split("\n---\n")
        .map(|part| serde_saphyr::from_str::<Value>(part).unwrap_or_else(|e| panic!("{e}: {part}")));
    Some(parts.filter(|part| !part.is_null()).collect())
}

fn the<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = all.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} named {name}"))
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a Value> {
    container["env"].as_array().unwrap().iter().find(|e| e["name"] == name)
}

#[test]
fn the_chart_passes_helms_own_checks() {
    let Some(output) = with_values(&["lint", "--strict"], VALUES) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn every_container_is_locked_down_and_probed() {
    let Some(all) = rendered(VALUES) else { return };
    let deployments: Vec<&Value> = all.iter().filter(|o| o["kind"] == "Deployment").collect();
    assert_eq!(deployments.len(), 3);
    for deployment in deployments {
        let (pod, container) = (&deployment["spec"]["template"]["spec"], container(deployment));
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
        assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/live");
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/ready");
        let name = deployment["metadata"]["name"].as_str().unwrap();
        the(&all, "PodDisruptionBudget", name);
        the(&all, "NetworkPolicy", name);
    }
    the(&all, "PodMonitor", "t");
}

#[test]
fn workers_get_their_own_address_and_never_the_stores() {
    let Some(all) = rendered(VALUES) else { return };
    let coordinator = container(the(&all, "Deployment", "t-coordinator"));
    let reference = &variable(coordinator, "STEPMILL_REDIS_URL").unwrap()["valueFrom"]["secretKeyRef"];
    assert_eq!((&reference["name"], &reference["key"]), (&"servers".into(), &"redis".into()));
    for name in ["t-worker-agent", "t-worker-greeters"] {
        let worker = container(the(&all, "Deployment", name));
        assert!(variable(worker, "STEPMILL_REDIS_URL").is_none());
        assert_eq!(variable(worker, "STEPMILL_NATS_URL").unwrap()["value"], "nats://workers@n:4222");
        let ports = the(&all, "NetworkPolicy", name)["spec"]["egress"].to_string();
        assert!(ports.contains("4222") && !ports.contains("6379"), "{ports}");
    }
    let agent = container(the(&all, "Deployment", "t-worker-agent"));
    let secret = &variable(agent, "STEPMILL_SECRET_PET_LOGIN").unwrap()["valueFrom"]["secretKeyRef"];
    assert_eq!((&secret["name"], &secret["key"]), (&"pets".into(), &"login".into()));
    let own = container(the(&all, "Deployment", "t-worker-greeters"));
    assert_eq!((&own["image"], &own["args"]), (&"registry.example/greeters:7".into(), &Value::Null));
}

#[test]
fn a_pool_is_scaled_by_its_backlog_to_and_from_nothing() {
    let Some(all) = rendered(VALUES) else { return };
    let deployment = the(&all, "Deployment", "t-worker-agent");
    assert_eq!(deployment["spec"]["replicas"], Value::Null, "KEDA has the say");
    assert_eq!(deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 615);
    assert_eq!(variable(container(deployment), "STEPMILL_GRACE_S").unwrap()["value"], "600");
    let scaled = &the(&all, "ScaledObject", "t-worker-agent")["spec"];
    assert_eq!((&scaled["minReplicaCount"], &scaled["maxReplicaCount"]), (&0.into(), &4.into()));
    let triggers = scaled["triggers"].as_array().unwrap();
    let series: Vec<&Value> = triggers.iter().map(|t| &t["metadata"]["valueLocation"]).collect();
    assert_eq!(series, ["stepmill_backlog_seconds{pool=\"agent\"}", "stepmill_running_tasks{pool=\"agent\"}"]);
    assert_eq!(triggers[0]["metadata"]["url"], "http://t-coordinator.flows:8080/metrics");
    assert_eq!(triggers[1]["metadata"]["targetValue"], "8");
    assert!(all.iter().filter(|o| o["kind"] == "ScaledObject").count() == 1, "only where it is asked for");
    let watched = format!("{VALUES}keda: {{ prometheus: 'http://prometheus:9090' }}\n");
    let scaled = &the(&rendered(&watched).unwrap(), "ScaledObject", "t-worker-agent")["spec"].clone();
    assert_eq!(scaled["triggers"][0]["metadata"]["query"], "max(stepmill_backlog_seconds{pool=\"agent\"})");
}

#[test]
fn wrong_values_are_refused() {
    for (wrong, named) in [
        ("redis: { url: 'redis://r' }\n", "nats: give an address"),
        ("nats: { url: 'nats://n' }\nredis: { url: 'redis://r' }\npools: [{ name: a, slot: 4 }]\n", "slot"),
        ("nats: { url: 'nats://n' }\nredis: { url: 'redis://r' }\nprofile: best\n", "profile"),
        ("nats: { url: 'nats://n' }\nredis: { url: 'redis://r' }\npools: [{ name: 'a.b' }]\n", "/pools/0/name"),
    ] {
        let Some(output) = with_values(&["template", "t"], wrong) else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(named), "{wrong}: {said}");
    }
}
