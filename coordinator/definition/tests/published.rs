//! The published schema against the compiler: of what we add, both accept and refuse the same.
#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a test may fail and speak")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stepmill_definition::{SCHEMA, compile};

const STANDARD: &str = "https://open-workflow-specification.org/schemas/1.0.3/workflow.yaml";
const HEAD: &str = "document: { dsl: '1.0.3', namespace: shop, name: orders, version: '1.0.0' }\n";

fn standard() -> Option<Value> {
    let root = std::env::var_os("STEPMILL_CORPORA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"), PathBuf::from);
    let source = std::fs::read_to_string(root.join("open-workflow/schema/workflow.yaml")).ok();
    if source.is_none() {
        println!("skipped in part: the standard's schema is not there; set STEPMILL_CORPORA");
    }
    source.map(|s| yaml(&s))
}

fn yaml(source: &str) -> Value {
    serde_saphyr::from_str_with_options(source, serde_saphyr::options! { strict_booleans: true }).unwrap()
}

/// Gives the standard's schema for its address, or one that takes everything where it is not there.
struct Standard(Value);

impl jsonschema::Retrieve for Standard {
    fn retrieve(&self, uri: &jsonschema::Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        if uri.as_str() == STANDARD { Ok(self.0.clone()) } else { Err(format!("{uri} is not known").into()) }
    }
}

fn published() -> jsonschema::Validator {
    let standard = standard().unwrap_or_else(|| json!({ "$id": STANDARD }));
    jsonschema::options().with_retriever(Standard(standard)).build(&serde_json::from_str(SCHEMA).unwrap()).unwrap()
}

fn definitions(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(definitions(&path));
        } else if path.extension().is_some_and(|e| e == "yaml") {
            let source = std::fs::read_to_string(&path).unwrap();
            if stepmill_definition::looks_like_definition(&source) {
                found.push((path.display().to_string(), source));
            }
        }
    }
    found
}

#[test]
fn it_is_a_schema_and_says_what_each_key_is() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    for (name, group) in schema["$defs"].as_object().unwrap() {
        if ["stepHints", "loopHints", "joinHints", "emitHints", "llm", "budget"].contains(&name.as_str()) {
            for (key, value) in group["properties"].as_object().unwrap() {
                assert!(value["description"].is_string(), "{name}.{key} has no description");
            }
        }
    }
}

#[test]
fn what_compiles_fits() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema = published();
    let mut all = definitions(&here.join("../../examples"));
    all.extend(definitions(&here.join("../../tests")));
    all.extend(definitions(&here.join("../../../shared/corpora/open-workflow/examples")));
    all.push(("whole.yaml".into(), include_str!("whole.yaml").into()));
    let mut seen = 0;
    for (name, source) in all.iter().filter(|(_, source)| compile(source).is_ok()) {
        let errors: Vec<String> = schema.iter_errors(&yaml(source)).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        seen += 1;
    }
    assert!(seen >= 2, "{seen}");
    println!("{seen} of {} definitions compile; all of them fit", all.len());
}

/// Values for each key of ours, right and wrong, in every place where a task can stand.
#[test]
fn both_judge_our_keys_alike() {
    let call = |metadata: &str| format!("{{ call: work, metadata: {{ {metadata} }} }}");
    let loops = |metadata: &str| format!("{{ for: {{ in: .xs }}, do: [], metadata: {{ {metadata} }} }}");
    let llm = |with: &str| format!("{{ call: llm, with: {with} }}");
    let mut tasks = vec![
        "{ call: work }".to_owned(),
        "{ call: work, metadata: 1 }".into(),
        llm("{ prompt: hi, any: 1 }"),
        llm("5"),
    ];
    for pool in ["gpu", "a_b-C9", "''", "'a b'", "a.b", "5", "[]", &"x".repeat(63), &"x".repeat(64)] {
        tasks.push(call(&format!("pool: {pool}")));
        tasks.push(loops(&format!("pool: {pool}")));
        tasks.push(format!("{{ run: {{ shell: {{ command: ls }} }}, metadata: {{ pool: {pool} }} }}"));
        let child = "{ workflow: { namespace: shop, name: w, version: '1.0.0' } }";
        tasks.push(format!("{{ run: {child}, metadata: {{ pool: {pool} }} }}"));
    }
    let emit =
        |metadata: &str| format!("{{ emit: {{ event: {{ with: {{ type: t }} }} }}, metadata: {{ {metadata} }} }}");
    let endpoints = [
        "'https://e.com'",
        "{ uri: 'https://e.com/{a}' }",
        "{ uri: 'https://e.com', more: 1 }",
        "{}",
        "5",
        "[]",
        "null",
    ];
    for endpoint in endpoints {
        tasks.push(emit(&format!("endpoint: {endpoint}")));
        tasks.push(emit(&format!("endpoint: {endpoint}, pool: gpu, priority: high")));
        tasks.push(emit(&format!("endpoint: {endpoint}, pool: 5")));
        tasks.push(call(&format!("endpoint: {endpoint}")));
    }
    tasks.extend([emit("pool: 5"), emit("priority: odd"), call("compensate: 5"), loops("compensate: 5")]);
    for priority in ["high", "normal", "low", "urgent", "''", "1", "null"] {
        tasks.push(call(&format!("priority: {priority}")));
        tasks.push(loops(&format!("priority: {priority}")));
    }
    for n in ["1", "10000", "10001", "0", "-1", "2.5", "3.0", "'2'", "'${ .n }'", "null"] {
        tasks.push(loops(&format!("concurrency: {n}")));
        tasks.push(call(&format!("concurrency: {n}")));
    }
    let joins =
        ["all", "any", "first", "some", "1", "{ count: 1 }", "{ count: 0 }", "{ count: 1, more: 2 }", "{}", "null"];
    for join in joins {
        for on_failure in ["", ", onFailure: fail", ", onFailure: continue", ", onFailure: stop"] {
            for compete in ["", ", compete: true", ", compete: false"] {
                let branches = "branches: [ { b: { set: { a: 1 } } } ]";
                tasks.push(format!("{{ fork: {{ {branches}{compete} }}, metadata: {{ join: {join}{on_failure} }} }}"));
            }
            tasks.push(loops(&format!("concurrency: 2, join: {join}{on_failure}")));
            tasks.push(loops(&format!("join: {join}{on_failure}")));
            tasks.push(call(&format!("join: {join}{on_failure}")));
        }
    }
    for key in ["turns", "toolCalls", "tokens", "money", "mony", "any"] {
        for value in ["1", "0", "-1", "0.5", "2.0", "'1'", "null", "{}"] {
            tasks.push(call(&format!("budget: {{ {key}: {value} }}")));
            tasks.push(loops(&format!("budget: {{ {key}: {value} }}")));
        }
    }
    for budget in ["{}", "5", "[]", "null", "'1'"] {
        tasks.push(call(&format!("budget: {budget}")));
        tasks.push(format!("{{ set: {{ a: 1 }}, metadata: {{ budget: {budget} }} }}"));
    }
    for name in ["agent", "approve", "gate", "ladder", "greet"] {
        tasks.push(format!("{{ call: {name} }}"));
    }
    let places: [fn(&str) -> String; 9] = [
        |task| format!("{HEAD}do: [ {{ t: {task} }} ]"),
        |task| format!("{HEAD}do: [ {{ d: {{ do: [ {{ t: {task} }} ] }} }} ]"),
        |task| format!("{HEAD}do: [ {{ l: {{ for: {{ in: .xs }}, do: [ {{ t: {task} }} ] }} }} ]"),
        |task| format!("{HEAD}do: [ {{ f: {{ fork: {{ branches: [ {{ t: {task} }} ] }} }} }} ]"),
        |task| format!("{HEAD}do: [ {{ y: {{ try: [ {{ t: {task} }} ], catch: {{}} }} }} ]"),
        |task| format!("{HEAD}do: [ {{ y: {{ try: [], catch: {{ do: [ {{ t: {task} }} ] }} }} }} ]"),
        |task| {
            format!(
                "{HEAD}do: [ {{ l: {{ listen: {{ to: {{ any: [], until: .x }} }}, foreach: {{ do: [ {{ t: {task} }} ] }} }} }} ]"
            )
        },
        |task| {
            format!("{HEAD}use: {{ extensions: [ {{ e: {{ extend: wait, before: [ {{ t: {task} }} ] }} }} ] }}\ndo: []")
        },
        |task| format!("{HEAD}use: {{ functions: {{ f: {task} }} }}\ndo: [ {{ t: {{ call: f }} }} ]"),
    ];
    let schema = published();
    let (mut accepted, mut refused, mut apart) = (0, 0, Vec::new());
    for task in &tasks {
        for place in places {
            let source = place(task);
            let (fits, compiled) = (schema.is_valid(&yaml(&source)), compile(&source));
            let errors = compiled.as_ref().err().map(ToString::to_string);
            if fits != compiled.is_ok() {
                apart.push(format!("{source}: {errors:?}"));
            }
            if fits { accepted += 1 } else { refused += 1 }
        }
    }
    assert!(
        apart.is_empty(),
        "{} are judged differently: {:#?}",
        apart.len(),
        apart.iter().step_by(places.len()).collect::<Vec<_>>()
    );
    for budget in ["{ money: 2 }", "{ money: -1 }", "5"] {
        let source = HEAD.replace(" }\n", &format!(", metadata: {{ budget: {budget} }} }}\n")) + "do: []\n";
        assert_eq!(schema.is_valid(&yaml(&source)), compile(&source).is_ok(), "{source}");
    }
    println!("{accepted} accepted and {refused} refused by both");
    assert!(accepted > 300 && refused > 300, "{accepted} {refused}");
}
