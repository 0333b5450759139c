//! The example documents: each compiles, or is refused for a feature that is left out, by its name. Those that compile are
//! run, on the input and to the end that [`run`] names for each.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use stepmill_definition::Severity;
use stepmill_protocol::api::RunState;

use super::adapter::Adapter;
use super::attempt::{Attempt, attempt};
use super::scene::Scene;

/// Two examples wait for thirty seconds.
const RUN_WITHIN: Duration = Duration::from_secs(50);
/// Systems at a time.
const TOGETHER: usize = 6;

/// How one document fared when it was read.
pub(super) struct Reading {
    pub(super) name: String,
    pub(super) verdict: Verdict,
}

/// What was said to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    /// For these features, which are left out.
    Refused(Vec<String>),
    /// For something else.
    Mistaken(Vec<String>),
}

/// How the documents of one adapter ran.
pub(super) struct Runs {
    pub(super) ran: usize,
    pub(super) failures: Vec<String>,
}

/// Reads every document of a folder.
pub(super) fn read(folder: &Path) -> Result<Vec<Reading>, String> {
    Ok(texts(folder)?.into_iter().map(|(name, text)| Reading { name, verdict: verdict(&text) }).collect())
}

fn verdict(text: &str) -> Verdict {
    let Err(mistakes) = stepmill_definition::compile(text) else { return Verdict::Accepted };
    let errors = || mistakes.list().iter().filter(|m| m.severity == Severity::Error);
    if errors().all(|m| m.code == "unsupported") {
        let feature = |text: &str| text.split_once(": ").map_or(text, |(_, feature)| feature).to_owned();
        return Verdict::Refused(errors().map(|m| feature(&m.message)).collect());
    }
    Verdict::Mistaken(errors().map(|m| format!("{} at {}: {}", m.code, m.path, m.message)).collect())
}

fn texts(folder: &Path) -> Result<Vec<(String, String)>, String> {
    let wrong = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        texts.push((name, std::fs::read_to_string(&path).map_err(wrong)?));
    }
    texts.sort();
    Ok(texts)
}

/// Runs every document that is accepted.
pub(super) async fn run(examples: &Path, adapter: Adapter) -> Result<Runs, String> {
    let accepted = texts(examples)?.into_iter().filter(|(_, text)| verdict(text) == Verdict::Accepted);
    let each = accepted.map(|(name, text)| async move {
        let failure = run_one(adapter, &name, &text).await.err();
        failure.map(|why| format!("{}: {name}: {why}", adapter.name()))
    });
    let ended: Vec<Option<String>> = futures::stream::iter(each).buffer_unordered(TOGETHER).collect().await;
    let mut failures: Vec<String> = ended.iter().flatten().cloned().collect();
    failures.sort();
    Ok(Runs { ran: ended.len(), failures })
}

async fn run_one(adapter: Adapter, name: &str, text: &str) -> Result<(), String> {
    let Some((input, expected)) = expectation(name) else {
        return Err("it is accepted, but nothing is known of how it should run; say so in `expectation`".into());
    };
    match (attempt(adapter, text, input, RUN_WITHIN, &Scene::of(name)).await?, expected) {
        (Attempt::Refused(problem), _) => Err(format!("it was refused: {problem}")),
        (Attempt::Ran(view, _), Expected::Output(pointer, value)) => {
            let output = view.output.as_ref().and_then(|o| o.pointer(pointer));
            if view.state == RunState::Completed && output == Some(&value) {
                return Ok(());
            }
            Err(format!("{}, {:?} {:?} {:?}", view.state.as_str(), view.output, view.error, view.live))
        }
        (Attempt::Ran(view, order), Expected::Forever(task, times)) => {
            let ran = order.iter().filter(|name| *name == task).count();
            if view.state == RunState::Running && ran == times {
                return Ok(());
            }
            Err(format!("{}, {task} ran {ran} times, {:?}", view.state.as_str(), view.error))
        }
        (Attempt::Ran(view, _), Expected::Error(kind)) => match &view.error {
            Some(error) if view.state == RunState::Faulted && error.kind == kind => Ok(()),
            Some(_) | None => Err(format!("{}, {:?} {:?}", view.state.as_str(), view.output, view.error)),
        },
    }
}

/// How a document should end.
enum Expected {
    /// Completed, with this value at this JSON pointer of its output.
    Output(&'static str, Value),
    /// Never ends; this task has run so often.
    Forever(&'static str, usize),
    /// Faulted, with this type of error.
    Error(&'static str),
}

/// The input and the end of each example.
fn expectation(name: &str) -> Option<(Value, Expected)> {
    use Expected::{Error, Forever, Output};
    const EXPRESSION: &str = "https://serverlessworkflow.io/spec/1.0.0/errors/expression";
    let pet = || (json!({ "petId": 7, "token": "a-token" }), Output("/id", json!(7)));
    Some(match name.strip_suffix(".yaml")? {
        "authentication-bearer" => (json!({ "token": "a-token" }), Output("/id", json!(1))),
        "authentication-bearer-uri-format"
        | "authentication-reusable"
        | "authentication-oauth2"
        | "authentication-oidc"
        | "authentication-oauth2-secret"
        | "authentication-oidc-secret"
        | "call-http-endpoint-interpolation"
        | "call-http-endpoint-interpolation-shorthand"
        | "do-single"
        | "try-catch"
        | "try-catch-retry-inline"
        | "try-catch-retry-reusable" => pet(),
        "call-custom-function-inline" => (Value::Null, Output("/id", json!(69))),
        "call-http-query-headers-expressions" | "call-http-query-parameters" | "call-http-redirect" => {
            (json!({ "searchQuery": "luke" }), Output("/results/0/name", json!("Luke Skywalker")))
        }
        "call-mcp" => (Value::Null, Output("/content/0/text", json!("sent to C1234567890"))),
        "run-script-with-stdin-and-arguments" => {
            (Value::Null, Output("", json!("stdin >  Hello Workflow\narg >  hello\nenv >  bar\n")))
        }
        "run-shell-stdin-and-arguments" => {
            (Value::Null, Output("", json!("STDIN was: Hello World\nARGS are Foo Bar\n")))
        }
        "call-openapi" | "call-openapi-redirect" => (Value::Null, Output("/0/id", json!(1))),
        "conditional-task" => {
            (json!({ "customer": { "age": 17 } }), Error("https://superbet-casinos.com/customer/access-forbidden"))
        }
        "do-multiple" | "try-catch-then" => (json!({ "petId": 7 }), Output("/status", json!("sold"))),
        "emit" => (Value::Null, Output("/type", json!("com.petstore.order.placed.v1"))),
        "for-inline-array" => (Value::Null, Output("/processed/2/hex", json!("#0000FF"))),
        "fork" => (
            json!({ "patient": { "fullName": "Ann" }, "room": { "number": 4 } }),
            Output("/received/patientId", json!("Ann")),
        ),
        "mock-service-extension" => (Value::Null, Output("/sample", json!(true))),
        "raise-inline" | "raise-reusable" => {
            (Value::Null, Error("https://serverlessworkflow.io/errors/not-implemented"))
        }
        "star-wars-homeworld" => (json!({ "id": 1 }), Output("/name", json!("Tatooine"))),
        "switch-then-string" => (json!({ "orderType": "physical" }), Output("/address", json!("Elmer St"))),
        "try-catch-then-directive" => (Value::Null, Output("/status", json!("failed"))),
        "wait-duration-inline" | "wait-duration-iso8601" => (json!({ "a": 1 }), Output("/a", json!(1))),
        // What a `listen` gives is a list of events; their outputs read a field of it, which is an error of jq.
        "accumulate-room-readings" => (json!({ "readings": [1] }), Error(EXPRESSION)),
        "for" => (json!({ "pets": [{ "id": 1 }], "vet": "Ann" }), Error(EXPRESSION)),
        "listen-to-one" => (Value::Null, Error(EXPRESSION)),
        // In the order in which they came.
        "listen-to-all" => (Value::Null, Output("/0/bpm", json!(120))),
        "listen-to-any-until-consumed" => (Value::Null, Output("/1/bpm", json!(120))),
        "listen-to-all read-envelope" => (Value::Null, Output("/1/data/temperature", json!(39))),
        "listen-to-any-filter" => (Value::Null, Output("", json!([{ "bpm": 120 }]))),
        "listen-to-any" => (Value::Null, Output("/0/roomId", json!("kitchen"))),
        "listen-to-any-until-condition" => (Value::Null, Output("/3/roomId", json!("kitchen"))),
        "listen-to-any-forever-foreach" => (Value::Null, Forever("postToChatApi", 2)),
        // Without `${ }` its input is a text.
        "run-subflow" => (json!({ "user": { "name": "Ann" } }), Output("/registered", json!(".user"))),
        // Started by hand, with the events that they would have been started by.
        "schedule-event-driven" => {
            let patient = json!({ "id": 9, "name": "Ann", "room": { "number": 4 }, "vitals": { "bpm": 30 } });
            (json!([{ "data": { "patient": patient } }]), Output("/received/patientId", json!(9)))
        }
        "set" => (json!([{ "a": 1 }]), Output("/startEvent/a", json!(1))),
        "set-expression" => (json!([{ "a": 1 }]), Output("/a", json!(1))),
        "schedule-cron" => (json!({ "a": 1 }), Output("/received", Value::Null)),
        _ => return None,
    })
}
